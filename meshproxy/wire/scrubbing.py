"""An upstream's error without the secrets of the config. Place: wire, pure."""

from collections.abc import Callable
from typing import Any

from meshproxy.errors import RpcError, UpstreamError
from meshproxy.wire.codec import JsonError, Raw, dumps, loads

__all__ = ["scrubbed", "without_secrets"]


def without_secrets(error: RpcError | UpstreamError, scrub: Callable[[str], str]) -> RpcError | UpstreamError:
    """An upstream's error, scrubbed."""
    if isinstance(error, UpstreamError):
        return error.reworded(scrub(error.reason))
    return RpcError(error.code, scrub(error.message), scrubbed(error.data, scrub))


def scrubbed(data: Any, scrub: Callable[[str], str]) -> Any:
    """`data` as it is if no secret is in it, else the same with its texts, keys and numbers scrubbed one by one.

    Not as one text: a secret may be a number, or have a quotation mark in it, and what is left of an encoded value without it would be
    no JSON. What has a secret in it and cannot be read is left out: None.
    """
    if data is None:
        return None
    encoded = dumps(data)
    text = encoded.decode()
    if scrub(text) == text:
        return data
    try:
        return _clean(loads(encoded), scrub)
    except JsonError:
        return None


def _clean(value: Any, scrub: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return scrub(value)
    if isinstance(value, dict):
        return {scrub(key): _clean(item, scrub) for key, item in value.items()}
    if isinstance(value, list):
        return [_clean(item, scrub) for item in value]
    text = dumps(value).decode()
    clean = scrub(text)
    return Raw(text) if clean == text else clean
