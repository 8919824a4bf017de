"""What the mesh remembers over a restart: a directory of small files."""
