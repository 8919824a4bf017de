"""Names of tools and prompts, and the namespaces before them.

A public name is looked up, never split: a namespace may end in what another one's names begin with.
"""

import re
from hashlib import blake2s
from typing import Final

MAX_NAME: Final = 64
"""Characters of a public name. The specification allows 128 (2025-11-25, server/tools, "Tool Names"); SEP-986 and the
function calling of several model vendors stop at 64."""

NAMESPACE_PATTERN: Final = r"[A-Za-z0-9_-]{1,64}"
"""What a namespace is made of; besides, it may be "", for an upstream without a prefix."""

_DIGITS: Final = 8
"""Hexadecimal ones of a hash."""
_NAME: Final = re.compile(rf"[A-Za-z0-9_.-]{{1,{MAX_NAME}}}")
_NOT_IN_NAME: Final = re.compile(r"[^A-Za-z0-9_.-]")
_NOT_IN_NAMESPACE: Final = re.compile(r"[^A-Za-z0-9_-]")
_RUN_NOT_IN_NAMESPACE: Final = re.compile(r"[^A-Za-z0-9_-]+")


def public_name(namespace: str, separator: str, origin: str) -> str:
    """Name in the mesh what its upstream calls `origin`: `namespace + separator + origin`, or `origin` without a namespace.

    What that makes too long, empty, or unfit for the alphabet of names (2025-11-25, server/tools: `[A-Za-z0-9_.-]`) is cleaned, cut
    and told apart by a hash of all three parts. The answer has 1 to `MAX_NAME` characters of that alphabet, and is the same in
    every process.
    """
    if not namespace:
        separator = ""
    plain = f"{namespace}{separator}{origin}"
    if _NAME.fullmatch(plain):
        return plain
    suffix = "_" + _digest(namespace, separator, origin)
    return _NOT_IN_NAME.sub("_", plain[: MAX_NAME - len(suffix)]) + suffix


def may_be_public(namespace: str, separator: str, public: str) -> bool:
    """Say whether `public` may be what `public_name` makes in a namespace: it begins like that, as far as a name that is cut does."""
    return not namespace or public.startswith(f"{namespace}{separator}"[: MAX_NAME - len("_") - _DIGITS])


def default_namespace(name: str) -> str:
    """Name the namespace of an upstream called `name` that says nothing else. The answer depends on `name` alone, and matches `NAMESPACE_PATTERN`.

    In ASCII, each character that a namespace cannot have becomes `_`. A name with other characters, empty or too long keeps what can
    be read of it and gets a hash, since names that differ in such characters alone would look alike ("日本" and "中文").
    """
    if name.isascii() and 0 < len(name) <= MAX_NAME:
        return _NOT_IN_NAMESPACE.sub("_", name)
    digest = _digest(name)
    readable = _RUN_NOT_IN_NAMESPACE.sub("_", name).strip("_-")[: MAX_NAME - len(digest) - 1]
    return f"{readable or 'ns'}_{digest}"


def _digest(*parts: str) -> str:
    """`_DIGITS` hexadecimal digits that stand for `parts`."""
    return blake2s("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=_DIGITS // 2).hexdigest()
