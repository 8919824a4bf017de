"""Is `basic`, but ignores SIGTERM and the end of its input, and has a child that does too: only SIGKILL ends them."""

import signal
import subprocess
import sys
import time

from tests.servers import basic
from tests.servers.run import parser, run


def main() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    options = parser(__doc__ or "")
    options.add_argument("--child", action="store_true", help="be the child")
    chosen = options.parse_args()
    if not chosen.child:
        subprocess.Popen(
            [sys.executable, "-m", __spec__.name, "--child"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        run(basic.kit("stubborn").server(), chosen)
    while True:
        time.sleep(1)


if __name__ == "__main__":
    main()
