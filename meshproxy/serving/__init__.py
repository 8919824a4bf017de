"""One endpoint: the server that clients talk to, and its transports."""
