"""References in config values: `${VAR}`, `${VAR:-default}`, `${env:VAR}`, `${file:path}`, and `$$` for a dollar.

`${cmd:program ...}` and `${keyring:service/name}` are asked of somebody else (`elsewhere`).

`parse` takes a text apart, `interpolate` puts what the references stand for in their places. As in a shell, the default is
taken if the variable is not set or empty. A default is literal and ends at the first `}`; references do not nest. A file's content loses the line breaks at
its end, as in `$(<file)`. A dollar that starts none of these stands for itself. What was put in is never interpolated again.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from meshproxy.config.elsewhere import kept_in_keyring, printed_by
from meshproxy.config.secrecy import is_telling, secrets_in

MAX_FILE_BYTES: Final = 1 << 20

_TOKEN: Final = re.compile(r"\$\$|\$\{([^}]*)(\}|\Z)", re.DOTALL)
_REFERENCE: Final = re.compile(r"(?:env:)?([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL | re.ASCII)
_UNSET: Final = re.compile(r"environment variable \w+ is not set")
_FILE: Final = re.compile(r"\$\$|\$\{file:([^{}\n]+)\}")


class Interpolated(str):
    """A text that references took part in. YAML could not see its type, so numbers and booleans are read from it late."""

    __slots__ = ()


@dataclass(frozen=True)
class Literal:
    """Text between references. `text` has its `$$` resolved."""

    text: str


@dataclass(frozen=True)
class Reference:
    """One `${...}`. `variable`, `file`, `command` or `keyring` is set, or `error` says why none is."""

    written: str
    variable: str | None = None
    default: str | None = None
    file: str | None = None
    error: str | None = None
    command: str | None = None
    keyring: str | None = None

    @property
    def sensitive(self) -> bool:
        """Whether what it stands for is a secret wherever it is used: all but a variable whose name is not telling."""
        is_secret = self.file is not None or self.command is not None or self.keyring is not None
        return is_secret or (self.variable is not None and is_telling(self.variable))


@dataclass(frozen=True, repr=False)
class Interpolation:
    """What `interpolate` found. `value` is whole only if there are no `errors`; `secrets` are never shown."""

    value: str
    errors: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()


def parse(text: str) -> Iterator[Literal | Reference]:
    """The parts of `text`, in order."""
    at = 0
    literal = ""
    for match in _TOKEN.finditer(text):
        literal += text[at : match.start()]
        at = match.end()
        if match[0] == "$$":
            literal += "$"
            continue
        if literal:
            yield Literal(literal)
            literal = ""
        yield _reference(match[0], match[1], closed=bool(match[2]))
    literal += text[at:]
    if literal:
        yield Literal(literal)


def escape(text: str) -> str:
    """The text that interpolates to `text`."""
    return text.replace("$", "$$")


def interpolate(
    text: str, directory: Path, environ: Mapping[str, str], asked: dict[str, str] | None = None
) -> Interpolation:
    """Put in what the references of `text` stand for.

    Paths are relative to `directory`, the config file's. `asked` is what commands have printed in this load, so that each runs once.
    """
    asked = {} if asked is None else asked
    values: list[str] = []
    errors: list[str] = []
    secrets: list[str] = []
    for part in parse(text):
        if isinstance(part, Literal):
            values.append(part.text)
            continue
        try:
            value = _look_up(part, directory, environ, asked)
        except ValueError as error:
            errors.append(str(error))
            continue
        values.append(value)
        secrets += [value] if part.sensitive else secrets_in(value)
    return Interpolation("".join(values), tuple(errors), tuple(secrets))


def referenced_files(text: str, directory: Path) -> tuple[Path, ...]:
    """The files that a config file's text refers to, found without parsing it, so that a broken config is followed too."""
    found = (match[1] for match in _FILE.finditer(text) if match[1])
    return tuple(dict.fromkeys(_path(name, directory) for name in found))


def is_unset(message: str) -> bool:
    """Whether this is what is said of a variable that is not set, which another environment may mend."""
    return _UNSET.match(message) is not None


def _reference(written: str, body: str, *, closed: bool) -> Reference:
    if not closed:
        return Reference(written, error="a ${ has no closing brace; write $${ for a literal ${")
    if "${" in body:
        return Reference(written, error=f"{_quoted(written)}: references do not nest")
    if body.startswith("file:"):
        if name := body.removeprefix("file:").strip():
            return Reference(written, file=name)
        return Reference(written, error="${file:} names no file")
    if body.startswith("cmd:"):
        return Reference(written, command=body.removeprefix("cmd:").strip())
    if body.startswith("keyring:"):
        return Reference(written, keyring=body.removeprefix("keyring:").strip())
    match = _REFERENCE.fullmatch(body)
    if match is None:
        return Reference(
            written,
            error=f"{_quoted(written)} is no reference; write ${{VAR}}, ${{VAR:-default}}, ${{env:VAR}}, ${{file:path}}, "
            "${cmd:program ...} or ${keyring:service/name}, "
            "and $${ for a literal ${",
        )
    default = match[2]
    return Reference(written, variable=match[1], default=None if default is None else default.replace("$$", "$"))


def _look_up(reference: Reference, directory: Path, environ: Mapping[str, str], asked: dict[str, str]) -> str:
    if reference.error is not None:
        raise ValueError(reference.error)
    if reference.file is not None:
        return _read(reference.file, _path(reference.file, directory))
    if reference.command is not None or reference.keyring is not None:
        return _asked(reference, directory, asked)
    name = reference.variable or ""
    value = environ.get(name)
    if reference.default is not None:
        return value or reference.default
    if value is None:
        raise ValueError(f"environment variable {name} is not set; set it, or give a default: ${{{name}:-...}}")
    return value


def _asked(reference: Reference, directory: Path, asked: dict[str, str]) -> str:
    """What somebody else says, whom each load asks once."""
    if reference.written not in asked:
        try:
            if reference.command is not None:
                asked[reference.written] = printed_by(reference.command, directory)
            else:
                asked[reference.written] = kept_in_keyring(reference.keyring or "")
        except ValueError as error:
            kind = "cmd" if reference.command is not None else "keyring"
            raise ValueError(f"${{{kind}:...}}: {error}") from None
    return asked[reference.written]


def _read(name: str, path: Path) -> str:
    try:
        if not path.is_file():
            what = "is a directory" if path.is_dir() else "is not a regular file" if path.exists() else "does not exist"
            raise ValueError(f"${{file:{name}}}: {path} {what}")
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ValueError(f"${{file:{name}}}: {path} cannot be read: {error.strerror or error}") from error
    if len(content) > MAX_FILE_BYTES:
        raise ValueError(f"${{file:{name}}}: {path} is larger than {MAX_FILE_BYTES} bytes")
    try:
        return content.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError:
        # The error would quote the content.
        raise ValueError(f"${{file:{name}}}: {path} is not UTF-8 text") from None


def _path(name: str, directory: Path) -> Path:
    path = Path(name.strip())
    with suppress(RuntimeError):  # no such user: then it is the name of a file
        path = path.expanduser()
    return directory / path


def _quoted(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "..."
