"""`gather`: the servers that the files of other programs list, found where those are or named. Place: operate; reads files, and a URL if one is named."""

import os
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import quote

from meshproxy.operate.client import Client, expanded
from meshproxy.operate.clients import CLIENTS
from meshproxy.operate.found import Found, Source
from meshproxy.operate.owners import client_of
from meshproxy.operate.servers import UnreadableError, read, tree_of

__all__ = ["gather"]

_MOST: Final = 4 << 20
_PATIENCE: Final = 30.0


def gather(targets: Sequence[str], registry: str | None, *, into: Path) -> tuple[list[Found], list[str]]:
    """What is found, and the files that were read. Without targets, every known client's files that are there.

    A target is a client, a file, the URL of a `server.json`, or with a registry the name of a server there.

    Raises:
        UnreadableError: a target that was named cannot be read.
    """
    found: list[Found] = []
    files: list[str] = []
    for target in targets:
        if target.lower().startswith(("http://", "https://")):
            found += _of_url(target, target)
        elif registry is not None:
            where = f"{registry.rstrip('/')}/v0.1/servers/{quote(target, safe='')}/versions/latest"
            found += _of_url(where, target)
        elif target in CLIENTS and not Path(target).exists():
            client = CLIENTS[target]
            there = _files_of(client)
            if not there:
                places = ", ".join(map(str, client.files()))
                raise UnreadableError(f"{target}: {client.title} has no file here; looked at {places}")
            for file in there:
                found += _of_file(file, client.key)
                files.append(str(file))
            continue
        else:
            found += _of_file(Path(target), None)
        files.append(target)
    if not targets:
        for client in CLIENTS.values():
            for file in _files_of(client):
                if str(file) in files or file.absolute() == into.absolute():
                    continue
                files.append(str(file))
                try:
                    found += _of_file(file, client.key)
                except UnreadableError as error:
                    found.append(Found("", Source(client.key, client.title, str(file), ""), skipped=str(error)))
    return found, files


def _files_of(client: Client) -> list[Path]:
    """The files of a client that are there, its project's in this folder included."""
    there = [path for path in client.files() if path.is_file()]
    for pattern in client.project:
        there += [path for path in sorted(Path().glob(pattern)) if path.is_file()]
    return there


def _of_file(path: Path, client: str | None) -> list[Found]:
    try:
        with path.open("rb") as file:
            data = file.read(_MOST + 1)
    except OSError as error:
        known = ", ".join(CLIENTS)
        hint = f"; name a file, or one of {known}" if isinstance(error, FileNotFoundError) else ""
        raise UnreadableError(f"{path}: {error.strerror or error}{hint}") from None
    if len(data) > _MOST:
        raise UnreadableError(f"{path}: is larger than {_MOST >> 20} MiB")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UnreadableError(f"{path}: is not UTF-8 text; save it as UTF-8") from None
    try:
        tree = tree_of(text, path.suffix)
        owner = client or client_of(path, tree)
        known_client = CLIENTS.get(owner)
        is_project = known_client is not None and any(path.absolute().match(one) for one in known_client.project)
        is_users = known_client is not None and path.absolute() in [
            one for pattern in known_client.user for one in expanded(pattern)
        ]
        folder = path.absolute().parent
        folder = folder.parent if folder.name.startswith(".") else folder
        if is_users:
            folder = Path.cwd()
        title = (
            known_client.title if known_client is not None else "LibreChat" if owner == "librechat" else "its client"
        )
        source = Source(owner, title, str(path), str(folder), starts_there=is_project and not is_users)
        return read(tree, source)
    except UnreadableError as error:
        raise UnreadableError(f"{path}: {error}") from None


def _of_url(url: str, name: str) -> list[Found]:
    request = urllib.request.Request(url, headers={"Accept": "application/json"})  # noqa: S310  # http or https alone get here
    try:
        with urllib.request.urlopen(request, timeout=_PATIENCE) as answer:  # noqa: S310
            data = answer.read(_MOST + 1)
    except urllib.error.HTTPError as error:
        with error:
            raise UnreadableError(
                f"{name}: the server answered with HTTP {error.code}; check the address and the name"
            ) from None
    except (OSError, ValueError) as error:
        raise UnreadableError(f"{name}: cannot be fetched: {getattr(error, 'reason', error)}") from None
    try:
        text = data.decode("utf-8-sig")
        return read(tree_of(text, ".json"), Source("registry", "the registry", name, os.getcwd()))  # noqa: PTH109
    except (UnicodeDecodeError, UnreadableError) as error:
        raise UnreadableError(f"{name}: {error}") from None
