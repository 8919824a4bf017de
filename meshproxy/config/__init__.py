"""What the user wrote: the config file, its models, its secrets, and the watch over it. Imports nothing of the mesh."""
