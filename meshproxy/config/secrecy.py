"""What counts as a secret in a config: the one rule, for what is scrubbed from texts and for what is hidden where a config is shown. Pure.

docs/decisions/secrets.md says why. A text is a secret if it is declared one, or looks like one:

- by its name (`is_telling`): `GITHUB_TOKEN: ...`, and within a text `--api-key=...`, `?token=...`, `"Authorization": "Bearer ..."`;
- as the userinfo of a URL: its password, or the user if there is none, or if it looks like a secret itself;
- by its look (`_issued` and `_is_random`), under whatever name: what well-known issuers give out, a private key, a UUID, and what
  nobody would write by hand.

What is shorter than `SHORTEST` characters, or `ORDINARY`, hides nothing worth it, and would make every other text unreadable.
"""

import base64
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final
from urllib.parse import unquote, unquote_to_bytes

SHORTEST: Final = 6
"""Characters. Shorter texts are not scrubbed."""
ORDINARY: Final = frozenset(
    [
        *(
            "anonymous",
            "application/json",
            "always",
            "bearer",
            "console",
            "critical",
            "default",
            "development",
            "digest",
        ),
        *("disabled", "enabled", "localhost", "notice", "oauth2", "optional", "password", "plaintext"),
        *("production", "required", "staging", "streamable-http", "testing", "text/event-stream", "text/plain"),
        *("verbose", "warning"),
    ]
)
"""What settings consist of. It is not scrubbed, in whatever case."""

Span = tuple[int, int]

_PARTS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_TELLING_PART: Final = re.compile(
    r".*(?:token|secret|password|passwd|passphrase|passcode|credential|cookie)s?"
    r"|(?:access|account|api|app|auth|client|encryption|license|master|pass|private|secret|service|signing|ssh)?keys?"
    r"|(?:db|my|root|user)?pass|(?:o|basic)?auth|authorization|bearer|creds?|jwt|pats?|pin|pwd?"
)

_USERINFO: Final = re.compile(r"(?<![A-Za-z0-9+.-])[A-Za-z0-9+.-]++://([^\s/?#\"'<>]*)@")
_NAME: Final = r"(?<![A-Za-z0-9_.-])([A-Za-z0-9_.-]++)"
_SCHEME: Final = r"(?:(?:ApiKey|Basic|Bearer|Digest|Negotiate|Token)\s+)?"
_ASSIGNMENT: Final = re.compile(rf"{_NAME}(?:=|:\s+){_SCHEME}(\S.*)", re.DOTALL | re.IGNORECASE)
"""The whole of a text: an argument, or a line of a header."""
_NAMED: Final = re.compile(rf"{_NAME}[\"']?\s*[:=]\s*")
_VALUE: Final = re.compile(
    rf"([\"'])?{_SCHEME}((?(1)(?:(?!\1).)+|[^\s\"'&,;<>(){{}}\[\]]+))", re.DOTALL | re.IGNORECASE
)
"""What follows a name within a text: to the quote that ends it, or to what parts it from the next."""

_LOOKS: Final = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    # Issuers that mark what they give out.
    r"(?:sk-|[rsp]k_(?:live|test)_|gh[opsur]_|github_pat_|glpat-|xox[a-z]-|xapp-|AKIA|ASIA|AIza|ya29\.|hf_|npm_|pypi-|dop_v1_"
    r"|shp[a-z]{2}_|SG\.|whsec_|lin_api_|ntn_|tvly-|gsk_|r8_|dckr_pat_)(?=[\w.+/=~-]*[0-9])[\w.+/=~-]{12,}"
    r"|eyJ[\w-]{8,}\.[\w.-]{8,}"  # a JSON Web Token (RFC 7519)
    r"|[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"
    r"|(?=[0-9]*[A-Fa-f])(?=[A-Fa-f]*[0-9])[0-9A-Fa-f]{16,}"
    r")(?![A-Za-z0-9])"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
    re.ASCII | re.DOTALL,
)
_RUNS: Final = (re.compile(r"[A-Za-z0-9_+=~-]{20,}"), re.compile(r"[A-Za-z0-9_+/=~.-]{19,}[A-Za-z0-9_+=~-]"))
_SORTS: Final = re.compile(r"[0-9]+|[A-Z]?[a-z]+|[A-Z]+")
_WORDS: Final = re.compile(r"[A-Za-z0-9]+")
_FEWEST: Final = 20
"""Letters and digits that something random has at least, or nothing can be said of it."""
_LONGEST_SORT: Final = 4
"""Letters and digits of one sort in a row, on average, that something random has at most."""


def is_telling(name: str) -> bool:
    """Say whether a name says that what it names is a secret: of a variable, a header, an option, a query parameter or a JSON key.

    One of its parts does, in any case: a part is what separators, digits or capitals set apart. `GITHUB_TOKEN`, `apiKey`, `--db-password`,
    `PGPASSWORD` and `Authorization` are telling; `MONKEY`, `TOKENIZER` and `AUTHOR` are not.
    """
    return any(_TELLING_PART.fullmatch(part.lower()) for part in _PARTS.findall(name))


def is_worth_hiding(text: str) -> bool:
    """Say whether a secret is scrubbed from other texts."""
    return len(text) >= SHORTEST and text.lower() not in ORDINARY


def secrets_in(text: str) -> tuple[str, ...]:
    """Give the secrets that stand in a text which is none as a whole."""
    return tuple(dict.fromkeys(text[start:end] for start, end in _found(text)))


def secrets_of_variable(name: str, value: str) -> tuple[str, ...]:
    """Give the secrets of an environment variable: the value as a whole if the name is telling, and those in it."""
    return (*([value, without_scheme(value)] if is_telling(name) else []), *secrets_in(value))


def secrets_of_header(value: str) -> tuple[str, ...]:
    """Give the secrets of a header's value: all of it, its credentials without the scheme, and what they are in Base64 (RFC 7617)."""
    credentials = without_scheme(value)
    pair = _from_base64(credentials) if value.strip().lower().startswith("basic ") else ""
    return (value, credentials, pair, pair.partition(":")[2])


def secrets_of_url(url: str) -> tuple[str, ...]:
    """Give the secrets of a URL as they stand in it and as they are sent: decoded, and in Base64 as a header."""
    found = secrets_in(url)
    sent = [
        base64.b64encode(unquote_to_bytes(match[1])).decode() for match in _USERINFO.finditer(url) if ":" in match[1]
    ]
    return (*found, *map(unquote, found), *sent)


def secrets_of_arguments(arguments: Sequence[str]) -> tuple[str, ...]:
    """Give the secrets of a command line: those in each argument, and what follows a telling option."""
    found = [secret for argument in arguments for secret in secrets_in(argument)]
    return (*found, *(value for option, value in pairwise(arguments) if takes_secret(option, value)))


def takes_secret(option: str, value: str) -> bool:
    """Say whether an argument is the value of the telling option before it: `--api-key` and `...`."""
    is_option = option.startswith("-") and "=" not in option and ":" not in option
    return is_option and not value.startswith("-") and is_telling(option)


def without_scheme(value: str) -> str:
    """Give the credentials of a header's value: `abc` of `Bearer abc` (RFC 9110, 11.4), or all of it if it has no scheme."""
    scheme, space, credentials = value.strip().partition(" ")
    return credentials.strip() if space and scheme.replace("-", "").isalpha() else value


def spans(text: str) -> tuple[Span, ...]:
    """Give where the secrets are that stand in a text, in order; those that overlap are one."""
    apart: list[Span] = []
    for start, end in _found(text):
        if apart and start < apart[-1][1]:
            apart[-1] = (apart[-1][0], max(end, apart[-1][1]))
        else:
            apart.append((start, end))
    return tuple(apart)


def _found(text: str) -> list[Span]:
    found = {*_userinfo(text), *_assigned(text), *_issued(text)}
    return sorted((start, end) for start, end in found if start < end)


def _userinfo(text: str) -> Iterator[Span]:
    """The credentials in URLs."""
    for match in _USERINFO.finditer(text):
        user, colon, password = match[1].partition(":")
        at = match.start(1)
        if colon and password:
            yield at + len(user) + 1, match.end(1)
        if not password or _issued(user):
            yield at, at + len(user)


def _assigned(text: str) -> Iterator[Span]:
    """What is assigned to telling names."""
    whole = _ASSIGNMENT.fullmatch(text)
    if whole and is_telling(whole[1]):
        yield whole.span(2)
        return
    for name in _NAMED.finditer(text):
        if is_telling(name[1]) and (value := _VALUE.match(text, name.end())):
            yield value.span(2)


def _issued(text: str) -> list[Span]:
    """What looks as if a machine had given it out."""
    found = [match.span() for match in _LOOKS.finditer(text)]
    for runs in _RUNS:
        found += [match.span() for match in runs.finditer(text) if _is_random(match[0])]
    return found


def _from_base64(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode()
    except ValueError:
        return ""


def _is_random(run: str) -> bool:
    """Whether letters and digits take turns as in nothing that a person writes.

    In words, names, versions, dates and paths, letters of one case and digits come several in a row (a capital belongs to the small
    letters after it). In Base64 and the like, two do on average. What separators part counts as a row each, for the whole length of it.
    """
    words = _WORDS.findall(run)
    count = sum(map(len, words))
    changes = sum(len(_SORTS.findall(word)) - 1 for word in words)
    return count >= _FEWEST and changes * _LONGEST_SORT >= count
