"""What a supervisor does with what it hears late."""

import selectors
import socket

from meshproxy.cluster.supervisor import Supervisor, _Worker
from meshproxy.cluster.upgrade import Successors


def test_what_a_worker_said_last_is_not_read_once_it_is_buried() -> None:
    supervisor = Supervisor(
        1,
        "digest",
        lambda _: 0,
        given=lambda *_: None,
        on_end=lambda: None,
        is_left=lambda: False,
        successors=Successors(lambda: None, lambda _: None),
    )
    ours, theirs = socket.socketpair()
    worker = supervisor._workers[0] = _Worker(0, "000name", 0, ours)
    supervisor._selector.register(ours, selectors.EVENT_READ, worker)
    theirs.close()
    # Its end and that of its line are seen in one look, in whichever order.
    [(key, _)] = supervisor._selector.select(0)
    supervisor._ended(worker, -9)
    supervisor._read(key.data)
    assert supervisor._workers == {}
    supervisor._selector.close()
