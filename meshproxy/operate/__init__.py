"""What is done to a mesh from outside of it, by command: edits of its file, and the files of other programs."""
