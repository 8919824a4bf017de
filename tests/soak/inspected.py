"""`meshproxy`, with a window into it: on SIGUSR1 it writes what lives in its event loop, as JSON, to the file named in SOAK_INSPECTED.

`python -m tests.soak.inspected serve FILE ...` takes what `meshproxy` takes.
"""

import asyncio
import gc
import json
import os
import signal
import threading
from collections import Counter
from pathlib import Path
from typing import Any

from meshproxy.cli import main


def look(_signal: int, _frame: Any) -> None:
    """Runs between two callbacks of the loop, in its thread."""
    gc.collect()
    tasks = Counter(getattr(task.get_coro(), "__qualname__", "?") for task in asyncio.all_tasks())
    found = {"tasks": tasks, "threads": threading.active_count()}
    file = Path(os.environ["SOAK_INSPECTED"])
    part = file.with_suffix(".part")
    part.write_text(json.dumps(found))
    part.rename(file)


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, look)
    main()
