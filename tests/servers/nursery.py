"""Servers over standard input and output that start in a moment: this process has imported one of them, and forks it for whoever comes.

`python -m tests.servers.nursery NAME [ARGUMENTS]` says on which socket it listens; `python -IS tests/servers/born.py SOCKET` is then the
server, without the second that importing the SDK takes. For tests that start a process for each session, and have sixty of those.
"""

import importlib
import os
import selectors
import signal
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.servers.run import announce, parser


def main() -> None:
    options, arguments = parser(__doc__ or "").parse_known_args()
    name, *rest = arguments
    module = importlib.import_module(f"tests.servers.{name}")
    # Nobody asks how its children end: whoever was forked for somebody tells that one.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(Path(folder, "socket")))
        listener.listen(128)
        announce(options, listener.getsockname())
        with selectors.DefaultSelector() as ready:
            ready.register(listener, selectors.EVENT_READ)
            ready.register(sys.stdin, selectors.EVENT_READ)
            while all(key.fileobj is listener for key, _ in ready.select()):
                connection, _ = listener.accept()
                with connection:
                    if os.fork() == 0:
                        _be_born(connection, module, [name, "--era", options.era, *rest])


def _be_born(connection: socket.socket, module: Any, arguments: list[str]) -> None:
    """Be the server, on the standard streams of whoever is connected, whose end comes with ours."""
    status = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        _, streams, _, _ = socket.recv_fds(connection, 1, 3)
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        sys.argv = arguments
        module.main()
        status = 0
    finally:
        os._exit(status)


if __name__ == "__main__":
    main()
