"""How the mesh gets in elsewhere: credentials for upstreams that are obtained, refreshed and kept."""
