"""What a server says in `WWW-Authenticate` about the token that it wants (RFC 9110, 11.6.1; RFC 6750, 3; RFC 9728, 5.1). Pure."""

import re
from dataclasses import dataclass
from typing import Final

__all__ = ["Challenge", "bearer"]

_SCHEME: Final = re.compile(r"(?:^|,)\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?:\s+(?![\s=])|\s*(?=,|$))")
_PARAMETER: Final = re.compile(r'([!#$%&\'*+.^_`|~0-9A-Za-z-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')
_ESCAPED: Final = re.compile(r"\\(.)")


@dataclass(frozen=True)
class Challenge:
    """A challenge of the scheme `Bearer`.

    Attributes:
        resource_metadata: the URL of the protected-resource metadata; None if it is not said.
        scope: the scopes that are wanted, in their order; none if it is not said.
        error: the code, such as `invalid_token` or `insufficient_scope`; "" for none.
    """

    resource_metadata: str | None = None
    scope: tuple[str, ...] = ()
    error: str = ""


def bearer(header: str) -> Challenge | None:
    """The first challenge for a bearer's token in a `WWW-Authenticate`, which may hold several; None if there is none."""
    quoted = [match.span() for match in re.finditer(r'"(?:[^"\\]|\\.)*"', header)]
    schemes = [
        match for match in _SCHEME.finditer(header) if not any(start < match.start(1) < end for start, end in quoted)
    ]
    for index, match in enumerate(schemes):
        if match[1].lower() != "bearer":
            continue
        end = schemes[index + 1].start() if index + 1 < len(schemes) else len(header)
        found: dict[str, str] = {}
        for name, text, token in _PARAMETER.findall(header[match.end() : end]):
            # What is said twice is said as at first: a parameter must not be repeated (RFC 9110, 11.2).
            found.setdefault(name.lower(), _ESCAPED.sub(r"\1", text) or token)
        return Challenge(
            found.get("resource_metadata") or None,
            tuple(dict.fromkeys(found.get("scope", "").split())),
            found.get("error", ""),
        )
    return None
