"""Secrets of the config: how they are shown, and how they are kept out of what others say.

The values in `headers` and `env`, everything from `${file:}`, the password in a URL, and what a variable stands for whose name says
that it is a secret (`..._TOKEN`, `..._KEY`, `..._PASSWORD` and the like) are secrets. They are shown as they are written
(`Bearer ${DOCS_TOKEN}`), and a `Scrubber` replaces what they stand for in any other text.

Texts of fewer than four characters, and a few words that settings consist of (`true`, `info`, `production`), are not scrubbed: `env: {LOG: "1"}` would
take every 1 out of every error, and hide nothing.
"""

import json
import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote, quote_plus, urlsplit

from meshproxy.config.env import Literal, escape, parse

HIDDEN: Final = "***"
SHORTEST: Final = 4
"""Characters. Shorter texts are not scrubbed."""
ORDINARY: Final = frozenset(
    [
        "true",
        "false",
        "null",
        "none",
        "auto",
        "always",
        "never",
        "debug",
        "info",
        "notice",
        "warn",
        "warning",
        "error",
        "critical",
        "production",
        "development",
        "staging",
        "test",
        "utf-8",
        "localhost",
    ]
)
"""Not scrubbed, whatever their case."""

_SCHEME: Final = re.compile(r"\s*[A-Za-z][A-Za-z-]*\s+")
_PUNCTUATION: Final = re.compile(r"\W{1,3}")


class Scrubber:
    """Replaces secrets by `***`. Immutable, and its repr counts them only; `a | b` knows the secrets of both."""

    __slots__ = ("_pattern", "_secrets")

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets = frozenset(form for secret in secrets for form in _forms(secret) if _worth_hiding(form))
        # Longest first, and behind a lookahead: of secrets that begin at one place the longest is found, and secrets
        # that overlap are all found.
        longest_first = sorted(self._secrets, key=lambda secret: (-len(secret), secret))
        self._pattern = re.compile(f"(?=({'|'.join(map(re.escape, longest_first))}))") if longest_first else None

    def scrub(self, text: str) -> str:
        """`text` without the secrets."""
        if self._pattern is None or (match := self._pattern.search(text)) is None:
            return text
        parts: list[str] = []
        end = 0
        while match is not None:
            start, stop = match.span(1)
            if start >= end:
                parts += (text[end:start], HIDDEN)
            end = max(end, stop)
            match = self._pattern.search(text, start + 1)
        parts.append(text[end:])
        return "".join(parts)

    def __or__(self, other: "Scrubber") -> "Scrubber":
        return self if self._secrets >= other._secrets else Scrubber(self._secrets | other._secrets)

    def __bool__(self) -> bool:
        return bool(self._secrets)

    def __repr__(self) -> str:
        return f"Scrubber({len(self._secrets)} texts)"


def shown_secret(written: str) -> str:
    """A value of `headers` or `env` as it may be shown: its references, an authentication scheme, and `***` for the rest."""
    parts = list(parse(written))
    shown = []
    for index, part in enumerate(parts):
        if not isinstance(part, Literal):
            shown.append(f"${{{part.variable}:-{HIDDEN}}}" if part.default else HIDDEN if part.error else part.written)
        elif _PUNCTUATION.fullmatch(part.text) or (index == 0 and len(parts) > 1 and _SCHEME.fullmatch(part.text)):
            shown.append(part.text)
        else:
            shown.append(HIDDEN)
    return "".join(shown)


def shown_text(written: str) -> str:
    """Any other value as it may be shown: as written, less the defaults of references to secrets."""
    return "".join(
        escape(part.text)
        if isinstance(part, Literal)
        else f"${{{part.variable}:-{HIDDEN}}}"
        if part.sensitive and part.default
        else part.written
        for part in parse(written)
    )


def shown_url(written: str) -> str:
    """A URL as it may be shown: as written, less a literal password."""
    password = url_password(written)
    return written.replace(f":{password}@", f":{HIDDEN}@", 1) if password and "$" not in password else written


def url_password(url: str) -> str | None:
    """The password in a URL's authority, still percent-encoded."""
    try:
        return urlsplit(url).password
    except ValueError:
        return None


def header_secrets(value: str) -> tuple[str, ...]:
    """What to hide of a header's value: all of it, and its credentials without the scheme."""
    scheme = _SCHEME.match(value)
    return (value,) if scheme is None else (value, value[scheme.end() :])


def _worth_hiding(text: str) -> bool:
    return len(text) >= SHORTEST and text.lower() not in ORDINARY


def _forms(secret: str) -> Iterable[str]:
    """A secret, its lines (stderr is read by the line), and what encoders make of each."""
    for text in {secret, secret.strip(), *(line.strip() for line in secret.splitlines())}:
        yield text
        yield json.dumps(text)[1:-1]
        yield json.dumps(text, ensure_ascii=False)[1:-1]
        yield quote(text, safe="")
        yield quote_plus(text, safe="")
        yield quote(text)
