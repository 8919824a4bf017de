"""The files of `server.tls`: as the config names them, and as its edits do. Place: cli."""

from pathlib import Path

import structlog

from meshproxy.config.models import MeshConfig
from meshproxy.errors import ConfigError, Problem
from meshproxy.http.server_tls import ServerTls

__all__ = ["certificate_told", "need_files", "take_files", "tls_of"]

log = structlog.get_logger(__name__)


def tls_of(config: MeshConfig) -> ServerTls | None:
    """What the files that a config names hold; None if it names none.

    Raises:
        ValueError: one cannot be used; says which, and why.
    """
    files = _files(config)
    return None if files is None else ServerTls(*files)


def need_files(config: MeshConfig) -> None:
    """Refuse an edit whose files cannot be used.

    Raises:
        ConfigError: they cannot.
    """
    try:
        tls_of(config)
    except ValueError as error:
        raise ConfigError(
            (Problem(str(config.source.path or ""), None, None, "server.tls", str(error), None),)
        ) from None


def take_files(tls: ServerTls | None, config: MeshConfig) -> None:
    """Go by the files of a config from now on. Whether there is TLS at all is decided at the start."""
    files = _files(config)
    if tls is None or files is None:
        return
    try:
        if tls.take(*files):
            certificate_told(None)
    except ValueError as error:
        certificate_told(str(error))  # somebody has replaced it since it was looked at


def certificate_told(reason: str | None) -> None:
    """Log that files were taken up, or why they cannot be used."""
    if reason is None:
        log.info("tls.certificate_replaced")
    else:
        log.error("tls.certificate_unusable", reason=reason, consequence="the one from before stays in use")


def _files(config: MeshConfig) -> tuple[Path, Path | None, Path | None] | None:
    written = config.server.tls
    if written is None:
        return None
    directory = config.source.path.parent if config.source.path else Path()
    key, client_ca = (None if name is None else directory / name for name in (written.key, written.client_ca))
    return directory / written.certificate, key, client_ca
