"""`python -IS born.py SOCKET`: one of the servers of `nursery`, from the first moment on."""

import socket
import sys

with socket.socket(socket.AF_UNIX) as nursery:
    nursery.connect(sys.argv[1])
    socket.send_fds(nursery, [b"!"], [0, 1, 2])
    # It ends when the server does.
    nursery.recv(1)
