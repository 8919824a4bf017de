"""`server.auth`: who may come in, as the file says it."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, field_validator

from meshproxy.config.upstream import Section, refusal
from meshproxy.config.values import Flag, Name

__all__ = ["AuthConfig", "KeyConfig", "digests_of"]

_HASH: Final = re.compile(r"sha256:([0-9a-f]{64})", re.ASCII)
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


def digests_of(text: str) -> tuple[bytes, ...]:
    """The hashes in a text, one a line; what stands behind a # is a comment.

    Raises:
        ValueError: a line holds something else, or there is no hash.
    """
    found = []
    for line in text.splitlines():
        if written := line.partition("#")[0].strip():
            match = _HASH.fullmatch(written)
            if match is None:
                # The line is not shown: it may be a key, and not its hash.
                raise ValueError("must be sha256: and 64 hexadecimal digits; `meshproxy key new` prints it")
            found.append(bytes.fromhex(match[1]))
    if not found:
        raise ValueError("holds no hash; `meshproxy key new` prints one")
    return tuple(found)


def _hash(text: str) -> str:
    digests_of(text)
    return text


def _moment(value: Any) -> Any:
    """A day or a moment as seconds since 1970. A day lasts to its end, in UTC."""
    if not isinstance(value, str):
        raise ValueError("must be a day such as 2027-06-30 or a time such as 2027-06-30T12:00:00Z")
    try:
        if _DATE.fullmatch(value):
            day = datetime.fromisoformat(value).date() + timedelta(days=1)
            moment = datetime.combine(day, time(), UTC)
        else:
            moment = datetime.fromisoformat(value)
    except (ValueError, OverflowError):
        raise ValueError("must be a day such as 2027-06-30 or a time such as 2027-06-30T12:00:00Z") from None
    if moment.tzinfo is None:
        raise ValueError("needs a time zone, as in 2027-06-30T12:00:00Z")
    return moment.timestamp()


Moment = Annotated[
    float,
    BeforeValidator(_moment),
    WithJsonSchema({"type": "string", "examples": ["2027-06-30", "2027-06-30T12:00:00Z"]}),
]
Words = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(strict=False)]


class KeyConfig(Section):
    """A key that clients show: only its hash stands here."""

    name: Name = Field(description="The name of the principal, for rules, the log and `meshproxy key revoke`.")
    hash: Annotated[str, AfterValidator(_hash)] = Field(
        description="sha256: and the hash of the key in hexadecimal, as `meshproxy key new` prints it; several, one a line, as from ${file:keys.txt}, "
        "are keys of one principal.",
        repr=False,
    )
    rights: Annotated[tuple[Literal["use", "view", "admin"], ...], Field(strict=False)] = Field(
        default=("use",),
        description="use: MCP. view: read the status. admin: act on the mesh, and all that view may.",
    )
    profiles: Words | None = Field(
        default=None, description="The only profiles whose addresses the key opens. Default: every address."
    )
    groups: Words = Field(default=(), description="Groups that rules may name.")
    expires: Moment | None = Field(
        default=None, description="The last day of the key, in UTC, or the moment of its end. Default: it has none."
    )

    @property
    def digests(self) -> tuple[bytes, ...]:
        """The SHA-256 hashes, 32 bytes each."""
        return digests_of(self.hash)


class AuthConfig(Section):
    """Who may come in. With this section, even an empty one, a request without a valid credential is refused."""

    keys: Annotated[tuple[KeyConfig, ...], Field(strict=False)] = Field(
        default=(), description="Keys that clients show in Authorization: Bearer; made by `meshproxy key new NAME`."
    )
    anonymous: Flag = Field(
        default=False, description="true: callers that show no credential come in as the principal anonymous."
    )

    @field_validator("keys")
    @classmethod
    def _are_distinct(cls, keys: tuple[KeyConfig, ...]) -> tuple[KeyConfig, ...]:
        names: Mapping[str, int] = {}
        digests: dict[bytes, str] = {}
        for index, key in enumerate(keys):
            if key.name in names:
                raise refusal(f"another key is called {key.name!r} already; give each its name", index, "name")
            names = {**names, key.name: index}
            for digest in key.digests:
                if (other := digests.setdefault(digest, key.name)) != key.name:
                    raise refusal(f"is the hash of key {other!r} too; make a key for each with key new", index, "hash")
        return keys
