"""What the mesh says of itself to whoever runs it: its logs."""
