"""Is `basic`, and floods stderr, and with `--stdout` the client too, with lines of log from its start on."""

import os
import threading

from tests.servers import basic
from tests.servers.run import parser, run

LINE = b'{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"%s"}}\n' % (b"flood " * 100)


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--megabytes", type=int, default=8)
    options.add_argument("--stdout", action="store_true")
    chosen = options.parse_args()

    def flood() -> None:
        for _ in range(chosen.megabytes * 1024 * 1024 // len(LINE)):
            os.write(2, LINE)

    # Its own thread: whoever does not read its stderr sees `basic` answer nonetheless, until it exits.
    threading.Thread(target=flood, daemon=True).start()
    if chosen.stdout:
        for _ in range(chosen.megabytes * 1024 * 1024 // len(LINE)):
            os.write(1, LINE)
    run(basic.kit("flood").server(), chosen)


if __name__ == "__main__":
    main()
