"""The home of what a client sends back: the process that has it. Place: cluster, at its bottom.

Where several processes serve one endpoint, each has a short name, and what it gives out and keeps the other half of (a session, a parked call, a link to a page) begins
with it. So whoever is shown such a thing knows by looking at it whose it is. Where one process serves alone it has no name, and what it gives out begins with none.

A name says where to ask and proves nothing: what comes after it is what nobody can guess or forge.
"""

import re
from typing import Final

__all__ = ["bare", "here", "home_of", "named", "settle"]

_NAMED: Final = re.compile(r"([0-9a-z]{4,16}(?:\.[0-9a-z]{4,16})?)~")
"""No base64, and no upstream's name as it stands in a task's id, has such a beginning unless somebody wants it to: then it is of no home that there is."""


class _Here:
    name = ""
    mark = ""


def settle(name: str) -> None:
    """This process goes by a name from now on: 4 to 16 small letters and digits, once, or for a worker of a replica that of the replica, a dot and its own; "" for none. Before it has given anything out."""
    _Here.name = name
    _Here.mark = f"{name}~" if name else ""


def here() -> str:
    """The name of this process; "" for none."""
    return _Here.name


def named(text: str) -> str:
    """What this process gives out, so that it leads back here."""
    return _Here.mark + text


def bare(text: str) -> str:
    """What `named` was given. What it did not make, another's or one without a name, is "", which nothing is called."""
    mark = _Here.mark
    if not mark:
        return text
    return text[len(mark) :] if text.startswith(mark) else ""


def home_of(text: str) -> str:
    """The name that a text begins with, if it is another's; "" for our own and for none."""
    found = _NAMED.match(text)
    return found[1] if found is not None and found[1] != _Here.name else ""
