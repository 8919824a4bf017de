"""`Chest`: seals what is kept on the disk with a key that the platform's keyring has, where there is one. Place: login, under `vault`.

Whoever gets at the files, in a backup or on a disk that was given away, has nothing without the keyring of the user. Where there is no keyring, or the package
`keyring` is not installed (`meshproxy[keyring]`), they are as they are, readable by their user alone.

A sealed file is a line that says so, a nonce and AES-256-GCM (NIST SP 800-38D), bound to the name of the file. Each folder has a key of its own,
which is made once; the file `keyring` in it says under which name.
"""

import asyncio
import base64
import os
import secrets
from pathlib import Path
from typing import Any, Final

import structlog

from meshproxy.state.files import write

__all__ = ["Chest"]

log = structlog.get_logger(__name__)

SERVICE: Final = "meshproxy"
"""Under which the keyring keeps the keys."""
NAME: Final = "keyring"
"""The file with the name of a folder's key."""
MARK: Final = b"meshproxy sealed 1\n"
NONCE: Final = 12
KEY: Final = 32
RECOMMENDED: Final = 1
"""The least priority of a keyring that its package calls recommended: others are no safer than a file."""
PATIENCE: Final = 15.0
"""Seconds for the keyring to answer; some ask their user first."""


class Chest:
    """The key of one folder. `unlock` comes before anything else, or nothing is sealed and nothing sealed can be read.

    Attributes:
        trouble: why the keyring cannot be asked, in one line; "" if it can, or if there is none.
    """

    def __init__(self, folder: Path) -> None:
        self.trouble = ""
        self._folder = folder
        self._key: bytes | None = None
        self._asking: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Chest {'with' if self.has_key else 'without'} a key>"

    @property
    def has_key(self) -> bool:
        """Whether what is written is sealed."""
        return self._key is not None

    async def unlock(self) -> None:
        """Ask the keyring for the key, once; a new one is made where there is none."""
        if self._asking is None or (self._asking.done() and self.trouble):
            self._asking = asyncio.create_task(self._ask(), name="keyring")
        await asyncio.shield(self._asking)

    async def _ask(self) -> None:
        before = self.trouble
        try:
            async with asyncio.timeout(PATIENCE):
                self._key, self.trouble = await asyncio.to_thread(_key_of, self._folder)
        except TimeoutError:
            self.trouble = f"the platform's keyring has not answered within {PATIENCE:g} s"
        if self.trouble and self.trouble != before:
            log.warning(
                "login.no_keyring",
                reason=self.trouble,
                consequence="logins that are kept there cannot be read, and new ones are kept in files that are not encrypted",
            )

    def seal(self, content: bytes, name: str) -> bytes:
        """What is to be written into the file of a name."""
        if self._key is None:
            return content
        nonce = secrets.token_bytes(NONCE)
        sealed: bytes = _cipher(self._key).encrypt(nonce, content, name.encode())
        return MARK + nonce + sealed

    def open(self, data: bytes, name: str) -> bytes:
        """What was written into the file of a name.

        Raises:
            ValueError: it is sealed, and not by this key or not for this name.
        """
        if not is_sealed(data):
            return data
        if self._key is None:
            raise ValueError("it is sealed")
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415

        nonce, sealed = data[len(MARK) : len(MARK) + NONCE], data[len(MARK) + NONCE :]
        try:
            opened: bytes = _cipher(self._key).decrypt(nonce, sealed, name.encode())
        except InvalidTag:
            raise ValueError("it is sealed by another key") from None
        return opened


def is_sealed(data: bytes) -> bool:
    """Whether the content of a file was sealed."""
    return data.startswith(MARK)


def _cipher(key: bytes) -> Any:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415  # where there is a keyring alone

    return AESGCM(key)


def _key_of(folder: Path) -> tuple[bytes | None, str]:
    """The key of a folder, and what keeps one from having it. Blocks."""
    try:
        import keyring  # noqa: PLC0415  # an extra
    except ImportError:
        return None, ""
    import fcntl  # noqa: PLC0415  # not on every platform

    try:
        if getattr(keyring.get_keyring(), "priority", 0) < RECOMMENDED:
            return None, ""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(folder / f"{NAME}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            # Of two who make the first key at once, one would seal with what the other replaces.
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            return _made_or_found(keyring, folder), ""
        finally:
            os.close(descriptor)
    except OSError as error:
        return None, f"{folder} cannot be used: {error.strerror or error}"
    except Exception:  # noqa: BLE001  # backends raise what they like, and may say in it what nobody should read
        return None, "the platform's keyring cannot be asked; unlock it, or see what `keyring diagnose` says"


def _made_or_found(keyring: Any, folder: Path) -> bytes:
    """The key that the keyring keeps for a folder; another one if it keeps none."""
    file = folder / NAME
    name = file.read_text().strip() if file.exists() else f"tokens-{secrets.token_hex(8)}"
    found = keyring.get_password(SERVICE, name)
    key = base64.urlsafe_b64decode(str(found)) if found else b""
    if len(key) != KEY:
        key = secrets.token_bytes(KEY)
        keyring.set_password(SERVICE, name, base64.urlsafe_b64encode(key).decode())
    if not file.exists():
        write(file, f"{name}\n".encode())
    return key
