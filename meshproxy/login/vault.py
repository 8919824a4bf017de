"""`Vault`: what has been obtained for the upstreams of one config, a file for each. Place: login.

Several processes may share it, a mesh that serves and a command beside it: who changes a file holds its lock, reads it anew and writes it whole, so
that a refresh token, which is often good for one use, is used by one of them and found by the others; replicas do the same by what they have in `common`. Files are 0600 in a directory that is
0700. What is in use is written before it is used, so that a mesh that is killed finds it.
"""

import asyncio
import contextlib
import copy
import hashlib
import os
import re
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from meshproxy.cluster.store import Away
from meshproxy.login.chest import Chest, is_sealed
from meshproxy.login.common import Common
from meshproxy.login.metadata import AuthorizationServer
from meshproxy.state.files import flush, write

__all__ = ["Client", "Grant", "Record", "Vault", "VaultError", "secrets_of", "seen_of"]

FOLDER: Final = "tokens"
"""Within the state directory."""
PATIENCE: Final = 60.0
"""Seconds to wait for another process that is refreshing the same token."""
LOOK: Final = 0.05
"""Seconds between two looks whether it is done."""
_TICK: Final = 0.001
"""Seconds by which what is written after something is later, whatever the clock says."""


class VaultError(Exception):
    """A file cannot be written or locked: why, in one line."""


class Client(msgspec.Struct, frozen=True):
    """Who we are to one authorization server.

    Attributes:
        id: the `client_id`.
        secret: "" for none.
        method: how it is shown at the token endpoint: `none`, `client_secret_basic`, `client_secret_post` or `private_key_jwt`.
        redirect_uri: what was registered with it; "" if the user did that.
        kind: `configured`, `document` or `registered`.
    """

    id: str
    secret: str = ""
    method: str = "none"
    redirect_uri: str = ""
    kind: str = "configured"

    def __repr__(self) -> str:
        return f"<Client {self.kind} {self.method}>"


class Grant(msgspec.Struct, frozen=True):
    """What one authorization server has given us for one resource. Times are in seconds since 1970."""

    server: AuthorizationServer
    resource: str
    client: Client
    access_token: str = ""
    expires: float | None = None
    refresh_token: str = ""
    scopes: tuple[str, ...] = ()
    """Those that were granted, or asked for if the server does not say."""
    obtained: float = 0.0

    def __repr__(self) -> str:
        return f"<Grant of {self.server.issuer} for {self.resource}>"


class Record(msgspec.Struct, frozen=True):
    """What is known of the login to one upstream.

    Attributes:
        upstream: its configured name.
        url: where it was.
        grants: by issuer, so that what one server gave is never shown to another.
        issuer: whose grant is in use; "" for none.
        wanted: scopes that the upstream has asked for since, for the next login.
        owner: whose account it is; "" for the mesh's.
        changed: when it was written, in seconds since 1970; 0 if that was never.
    """

    upstream: str
    url: str
    grants: dict[str, Grant] = {}
    issuer: str = ""
    wanted: tuple[str, ...] = ()
    owner: str = ""
    changed: float = 0.0

    @property
    def grant(self) -> Grant | None:
        """The one in use; None if nobody is logged in."""
        found = self.grants.get(self.issuer)
        return found if found is not None and found.access_token else None

    def with_grant(self, grant: Grant) -> "Record":
        """With this grant in use."""
        issuer = grant.server.issuer
        return msgspec.structs.replace(self, grants={**self.grants, issuer: grant}, issuer=issuer)

    def __repr__(self) -> str:
        return f"<Record of {self.upstream!r}>"


class Vault:
    """The records of one config. Without a directory they last as long as the process.

    Attributes:
        owner: whose accounts these are; "" for the mesh's.
        common: what replicas have in common; None where there is no store.
    """

    def __init__(self, directory: Path | None) -> None:
        self.owner = ""
        self.common: Common | None = None
        self.folder = None if directory is None else directory / FOLDER
        self._chest = None if self.folder is None else Chest(self.folder)
        self._has_migrated = False
        self._memory: dict[str, Record] = {}
        self._held: dict[Path, tuple[Record, tuple[int, ...] | None]] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    def of(self, owner: str) -> "Vault":
        """The records of one principal's accounts, which are nobody else's."""
        other = copy.copy(self)
        other.owner = owner
        return other

    async def unlock(self) -> None:
        """Ask for what opens the files, before the first of them is read; those from before there was a keyring are sealed now."""
        if self._chest is None:
            return
        await self._chest.unlock()
        if self._chest.has_key and not self._has_migrated:
            self._has_migrated = True
            await self._migrate()

    @property
    def trouble(self) -> str:
        """Why records may be there and cannot be read, in one line; "" otherwise."""
        return "" if self._chest is None else self._chest.trouble

    def path(self, upstream: str, url: str) -> Path | None:
        """The file of an upstream: of its name and its URL, so that neither finds what was given for another."""
        if self.folder is None:
            return None
        digest = hashlib.sha256(self._key(upstream, url).encode("utf-8", "surrogatepass")).hexdigest()[:16]
        return self.folder / f"{re.sub('[^A-Za-z0-9]+', '-', upstream)[:40]}-{digest}.json"

    def read(self, upstream: str, url: str) -> Record:
        """What is known; an empty record if that is nothing, or cannot be read."""
        empty = Record(upstream, url, owner=self.owner)
        path = self.path(upstream, url)
        if path is None:
            return self._memory.get(self._key(upstream, url), empty)
        held, seen = self._held.get(path, (None, None))
        if held is not None and seen == seen_of(path):
            return held
        try:
            found = self._decoded(path)
        except (OSError, msgspec.MsgspecError, ValueError):
            return empty
        return found if (found.upstream, found.url, found.owner) == (upstream, url, self.owner) else empty

    def seen(self, upstream: str, url: str) -> tuple[float, ...] | None:
        """What changes when another record is kept, here or by another process."""
        path = self.path(upstream, url)
        return (self.read(upstream, url).changed,) if path is None else seen_of(path)

    async def write(self, record: Record) -> None:
        """Keep a record; it is on the disk when this returns, and where other replicas find it. Raises `VaultError`."""
        record = msgspec.structs.replace(record, changed=max(time.time(), record.changed + _TICK))
        try:
            await self._put(record)
        except VaultError:
            self.hold(record)
            raise
        finally:
            await self._share(record)

    async def _put(self, record: Record) -> None:
        path = self.path(record.upstream, record.url)
        if path is None:
            self._memory[self._key(record.upstream, record.url)] = record
            return
        try:
            # Not to be given up half-way: what is written is often worth nothing to whoever still has the old one.
            await asyncio.shield(asyncio.to_thread(_write, path, self._sealed(record, path)))
        except OSError as error:
            raise VaultError(f"{path} cannot be written: {error.strerror or error}") from None
        self._held.pop(path, None)

    # --- what replicas have in common

    def follow(self, upstream: str, url: str) -> None:
        """Have here what another replica gets for an upstream, as soon as it has it."""
        if self.common is not None:
            self.common.follow(self._name(upstream, url), partial(self._bring, upstream, url))

    def unfollow(self, upstream: str, url: str) -> None:
        """Nobody here needs it any more."""
        if self.common is not None:
            self.common.unfollow(self._name(upstream, url))

    async def bring(self, upstream: str, url: str) -> None:
        """Have the same record here and in common: the one that was written later. Where that cannot be, for now, it stays as it is."""
        with contextlib.suppress(Away):
            await self._bring(upstream, url)

    async def _bring(self, upstream: str, url: str) -> None:
        """As `bring`. Raises `Away`."""
        if self.common is None:
            return
        found = await self.common.pull(self._name(upstream, url))
        text = found.text
        ours = self.read(upstream, url)
        theirs = None if text is None else self._told(text)
        is_ours = theirs is not None and (theirs.upstream, theirs.url, theirs.owner) == (upstream, url, self.owner)
        if theirs is not None and is_ours and theirs.changed > ours.changed:
            try:
                await self._put(theirs)
            except VaultError:
                self.hold(theirs)
        elif ours.grants and (theirs is None or ours.changed > theirs.changed):
            await self._share(ours, is_over_sealed=found.is_sealed)

    async def lose(self, upstream: str, url: str) -> None:
        """A record was taken away here: it is to be so for all."""
        await self._share(Record(upstream, url, owner=self.owner, changed=time.time()))

    async def _share(self, record: Record, *, is_over_sealed: bool = False) -> None:
        if self.common is not None:
            name = self._name(record.upstream, record.url)
            # Where it is away, it is told when it is back (`bring`).
            with contextlib.suppress(Away):
                text = msgspec.json.encode(record)
                await asyncio.shield(self.common.push(name, text, record.changed, is_over_sealed=is_over_sealed))

    @staticmethod
    def _told(text: bytes) -> Record | None:
        try:
            return msgspec.json.decode(text, type=Record)
        except msgspec.MsgspecError:
            # Of another version of the program.
            return None

    def _name(self, upstream: str, url: str) -> str:
        return Common.name(self._key(upstream, url))

    async def _migrate(self) -> None:
        """Seal the records that are not."""
        for path in sorted(self.folder.glob("*.json")) if self.folder is not None else ():
            with contextlib.suppress(OSError, ValueError, VaultError):
                if not is_sealed(path.read_bytes()):
                    record = self._decoded(path)
                    async with self.of(record.owner).locked(record.upstream, record.url):
                        # By now it may be another one.
                        await self.of(record.owner).write(self._decoded(path))

    def _decoded(self, path: Path) -> Record:
        """The record in a file. Raises `OSError`, and `ValueError` for what is none or cannot be opened."""
        data = path.read_bytes()
        return msgspec.json.decode(data if self._chest is None else self._chest.open(data, path.name), type=Record)

    def _sealed(self, record: Record, path: Path) -> bytes:
        content = msgspec.json.encode(record)
        return content if self._chest is None else self._chest.seal(content, path.name)

    def _key(self, upstream: str, url: str) -> str:
        return f"{upstream}\n{url}" + (f"\n{self.owner}" if self.owner else "")

    def hold(self, record: Record) -> None:
        """Keep a record that cannot be written as long as the process lasts, or until somebody else changes its file."""
        path = self.path(record.upstream, record.url)
        if path is not None:
            self._held[path] = (record, seen_of(path))

    async def forget(self, upstream: str, url: str) -> None:
        """Keep nothing of an upstream any more. Raises `VaultError`."""
        self._memory.pop(self._key(upstream, url), None)
        path = self.path(upstream, url)
        if path is not None:
            try:
                await asyncio.to_thread(path.unlink, missing_ok=True)
            except OSError as error:
                raise VaultError(f"{path} cannot be removed: {error.strerror or error}") from None

    @contextlib.asynccontextmanager
    async def locked(self, upstream: str, url: str) -> AsyncIterator[None]:
        """Be the only one who changes a record, in this process and among those that share the directory.

        Raises:
            VaultError: another process holds it for too long, or the directory cannot be written.
        """
        async with self._locks.setdefault(self._key(upstream, url), asyncio.Lock()):
            if self.common is None:
                async with self._locked_here(upstream, url):
                    yield
                return
            async with contextlib.AsyncExitStack() as stack:
                try:
                    await stack.enter_async_context(self.common.locked(self._name(upstream, url)))
                except TimeoutError:
                    raise VaultError("another replica is at it for more than a minute") from None
                # Where nothing can be kept here, it is in common all the same.
                with contextlib.suppress(VaultError):
                    await stack.enter_async_context(self._locked_here(upstream, url))
                await self.bring(upstream, url)
                yield

    @contextlib.asynccontextmanager
    async def _locked_here(self, upstream: str, url: str) -> AsyncIterator[None]:
        """Among the processes that share the directory."""
        path = self.path(upstream, url)
        if path is None:
            yield
            return
        try:
            _prepare(path.parent)
            descriptor = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise VaultError(f"{path.parent} cannot be written: {error.strerror or error}") from None
        try:
            await _lock(descriptor, path)
            yield
        finally:
            # Closing it gives the lock up, as the end of the process does.
            os.close(descriptor)


def seen_of(path: Path | None) -> tuple[int, ...] | None:
    """What changes when a file is written or replaced; None if it is not there."""
    try:
        found = path.stat() if path is not None else None
    except OSError:
        return None
    return None if found is None else (found.st_ino, found.st_size, found.st_mtime_ns)


async def _lock(descriptor: int, path: Path) -> None:
    import fcntl  # noqa: PLC0415  # not on every platform

    deadline = asyncio.get_running_loop().time() + PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if asyncio.get_running_loop().time() > deadline:
                raise VaultError(f"{path} is held by another process for more than {PATIENCE:g} s") from None
            await asyncio.sleep(LOOK)
        except OSError as error:
            raise VaultError(f"{path} cannot be locked: {error.strerror or error}") from None
        else:
            return


def _prepare(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def _write(path: Path, content: bytes) -> None:
    _prepare(path.parent)
    write(path, content)
    # A refresh token that was good for one use is lost with its successor.
    flush(path.parent)


def secrets_of(record: Record) -> list[str]:
    """The texts of a record that must not appear anywhere."""
    return [
        text
        for grant in record.grants.values()
        for text in (grant.access_token, grant.refresh_token, grant.client.secret)
        if text
    ]
