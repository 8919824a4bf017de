"""What a task is called in the mesh (SEP-2663), and whose it is. Place: mesh, under `router`.

The id leads to the upstream by its name, and before that to the process that runs it, where there are several and it is a program. For a principal that showed a credential it has a seal, which is of no use to another: a mark of the owner, and one over
owner, upstream and id, so that somebody else's is told from one that was made up.
"""

from collections import OrderedDict
from hashlib import blake2b
from hmac import compare_digest
from secrets import token_bytes
from typing import Any, Final
from urllib.parse import quote

from meshproxy.catalog.catalog import Mount
from meshproxy.relay.principal import Visitor
from meshproxy.relay.strangers import Strangers
from meshproxy.wire.codec import opened

__all__ = ["is_task_of", "public_id", "public_task"]

_SECRET: Final = token_bytes(32)
_OWNER: Final = 16
"""Digits of the mark of an owner."""
_MOST: Final = 4096
_OWNERS: Final[OrderedDict[str, str]] = OrderedDict()
"""Those who got ids last, by their marks: without them a theft is refused all the same, and not told."""
_STRANGERS: Final = Strangers()


def public_task(result: dict[str, Any], mount: Mount, visitor: Visitor) -> dict[str, Any]:
    """A result that names a task, with the id that leads back to its upstream."""
    return {**result, "taskId": public_id(mount, opened(result["taskId"]), visitor)}


def public_id(mount: Mount, origin: Any, visitor: Visitor) -> str:
    """What a task is called, by its upstream and what that calls it."""
    name, principal = quote(mount.name, safe=""), visitor.principal
    if not principal.is_known:
        return f"{mount.home}{name}/{origin}"
    owner = _owner(principal.identity)
    _OWNERS[owner] = principal.identity
    if len(_OWNERS) > _MOST:
        _OWNERS.popitem(last=False)
    return f"{mount.home}{name}:{owner}{_mark(owner, name, origin)}/{origin}"


def is_task_of(visitor: Visitor, mount: Mount, origin: str, public: str) -> bool:
    """Whether this id names a task of a visitor's; that it is another principal's is told."""
    if public_id(mount, origin, visitor) == public:
        return True
    name, _, seal = public.removeprefix(mount.home).partition("/")[0].partition(":")
    owner, mark = seal[:_OWNER], seal[_OWNER:]
    identity = _OWNERS.get(owner)
    if identity is not None and mark.isascii() and compare_digest(mark, _mark(owner, name, origin)):
        _STRANGERS.note("task", identity, visitor.principal.identity)
    return False


def _owner(identity: str) -> str:
    return blake2b(identity.encode("utf-8", "surrogatepass"), key=_SECRET, digest_size=_OWNER // 2).hexdigest()


def _mark(owner: str, name: str, origin: Any) -> str:
    text = f"{owner}\0{name}/{origin}".encode("utf-8", "surrogatepass")
    return blake2b(text, key=_SECRET, digest_size=12).hexdigest()
