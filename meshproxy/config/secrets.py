"""Secrets of the config: how they are shown, and how they are kept out of what others say. What counts as one is for `secrecy` to say.

They are shown as they are written (`Bearer ${DOCS_TOKEN}`), and a `Scrubber` replaces what they stand for in any other text.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import Final
from urllib.parse import quote, quote_plus

from meshproxy.config.env import Literal, Reference, escape, parse
from meshproxy.config.secrecy import SHORTEST, is_worth_hiding, secrets_in, spans, takes_secret
from meshproxy.observe.spelling import CUT

HIDDEN: Final = "***"

_REFERENCE: Final = re.compile(r"\$\{[^}]*\}")
_SCHEME: Final = re.compile(r"\s*[A-Za-z][A-Za-z-]*\s+")
_PUNCTUATION: Final = re.compile(r"\W{1,3}")


class Scrubber:
    """Replaces secrets by `***`. Immutable, and its repr counts them only; `a | b` knows the secrets of both.

    Many texts were cut to a length before they come here, and half of a secret is more than nobody should read: the beginning of one that an ellipsis follows is hidden as well.
    """

    __slots__ = ("_beginnings", "_forms", "_heads", "_pattern")

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._hide({secret: frozenset(_forms(secret)) for secret in secrets})

    def _hide(self, forms: Mapping[str, frozenset[str]]) -> None:
        self._forms = forms
        # Longest first, and behind a lookahead: of secrets that begin at one place the longest is found, and secrets
        # that overlap are all found.
        longest_first = sorted(frozenset().union(*forms.values()), key=lambda form: (-len(form), form))
        self._pattern = _any_of(longest_first)
        self._beginnings: dict[str, list[str]] = {}
        for form in longest_first:
            self._beginnings.setdefault(form[:SHORTEST], []).append(form)
        self._heads = _any_of(self._beginnings)

    def of(self, secrets: Iterable[str]) -> "Scrubber":
        """One of these secrets alone, for which less has to be done the more of them are known here."""
        wanted = frozenset(secrets)
        if wanted == self._forms.keys():
            return self
        made = Scrubber()
        made._hide({secret: self._forms.get(secret) or frozenset(_forms(secret)) for secret in wanted})
        return made

    def scrub(self, text: str) -> str:
        """`text` without the secrets."""
        if self._pattern is None:
            return text
        if CUT in text:
            text = self._without_beginnings(text)
        if (match := self._pattern.search(text)) is None:
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

    def _without_beginnings(self, text: str) -> str:
        parts: list[str] = []
        end = 0
        # Each place where a secret may begin is compared once, so that a text of many ellipses costs no more than another.
        for match in () if self._heads is None else self._heads.finditer(text):
            start = match.start()
            forms = self._beginnings[match[1]]
            stop = text.find(CUT, start, start + len(forms[0]))
            if start >= end and stop >= 0 and any(form.startswith(text[start:stop]) for form in forms):
                parts += (text[end:start], HIDDEN)
                end = stop
        return "".join([*parts, text[end:]])

    def __or__(self, other: "Scrubber") -> "Scrubber":
        return self if self._forms.keys() >= other._forms.keys() else self.of({*self._forms, *other._forms})

    def __bool__(self) -> bool:
        return self._pattern is not None

    def __repr__(self) -> str:
        return f"Scrubber({len(frozenset().union(*self._forms.values()))} texts)"


def _any_of(texts: Iterable[str]) -> re.Pattern[str] | None:
    """Matches before each of these, the first of those that begin at one place."""
    return re.compile(f"(?=({'|'.join(map(re.escape, texts))}))") if texts else None


def shown_secret(written: str) -> str:
    """A value of `headers` or `env` as it may be shown: its references, an authentication scheme, and `***` for the rest."""
    parts = list(parse(written))
    shown = []
    for index, part in enumerate(parts):
        if not isinstance(part, Literal):
            shown.append(
                f"${{{part.variable}:-{HIDDEN}}}" if part.default else HIDDEN if part.error else _reference(part)
            )
        elif _PUNCTUATION.fullmatch(part.text) or (index == 0 and len(parts) > 1 and _SCHEME.fullmatch(part.text)):
            shown.append(part.text)
        else:
            shown.append(HIDDEN)
    return "".join(shown)


def _reference(part: Reference) -> str:
    """A reference as it may be shown: a command line may hold what is secret."""
    return "${cmd:***}" if part.command is not None and secrets_in(part.command) else part.written


def shown_text(written: str) -> str:
    """Any other value as it may be shown: as written, less the secrets in it and the defaults of references to secrets."""
    return "".join(
        escape(part.text)
        if isinstance(part, Literal)
        else f"${{{part.variable}:-{HIDDEN if part.sensitive else without_secrets(part.default)}}}"
        if part.default
        else _reference(part)
        for part in parse(without_secrets(written))
    )


def shown_arguments(
    arguments: Sequence[str], secret: Callable[[str], str] = shown_secret, other: Callable[[str], str] = shown_text
) -> list[str]:
    """A command line as it may be shown: `secret` shows what follows a telling option, and `other` the rest."""
    return [
        secret(argument) if takes_secret(option, argument) else other(argument)
        for option, argument in zip(chain([""], arguments), arguments, strict=False)
    ]


def without_secrets(text: str) -> str:
    """A text less the secrets that stand in it; what a reference is part of stays."""
    references = [match.span() for match in _REFERENCE.finditer(text)]
    shown, at = "", 0
    for start, end in spans(text):
        if not any(begin < end and start < stop for begin, stop in references):
            shown, at = f"{shown}{text[at:start]}{HIDDEN}", end
    return shown + text[at:]


def _forms(secret: str) -> Iterable[str]:
    """A secret, its lines (stderr is read by the line), and what encoders make of each."""
    for text in filter(is_worth_hiding, {secret, secret.strip(), *(line.strip() for line in secret.splitlines())}):
        yield text
        yield json.dumps(text)[1:-1]
        yield json.dumps(text, ensure_ascii=False)[1:-1]
        yield quote(text, safe="")
        yield quote_plus(text, safe="")
        yield quote(text)
