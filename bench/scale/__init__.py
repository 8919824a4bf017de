"""How far the mesh scales: what a fleet of replicas needs, from measured costs (`model`), and those that nothing else measures (`measure`)."""
