"""The addresses that a mesh of a config will listen on: whether they can be had. Place: doctor; opens each for a moment."""

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterable
from typing import Final

from meshproxy.config.login import OAuth
from meshproxy.config.models import MeshConfig
from meshproxy.doctor.finding import Finding, place_of
from meshproxy.http.loopback import resolvable
from meshproxy.serving.server import CannotListen, listen

__all__ = ["taken"]

_PATIENCE: Final = 5.0
_PRIVILEGED: Final = 1024


def taken(config: MeshConfig) -> tuple[list[Finding], list[str]]:
    """The addresses that cannot be had, and those that a mesh has already, which is as it should be where it runs."""
    findings: list[Finding] = []
    meshes: list[str] = []
    server = config.server
    for key, host, port in _addresses(config):
        try:
            sockets = listen(host, port)
        except CannotListen as error:
            if key == "server.port" and _is_mesh(host, port, is_tls=server.tls is not None):
                meshes.append(f"{host}:{port}")
                continue
            # A mesh that runs has its other addresses, too.
            if meshes and error.in_use:
                continue
            findings.append(
                Finding(
                    "port", f"{config.source.path}: {key}", str(error), _remedy(host, port, key, in_use=error.in_use)
                )
            )
        else:
            for one in sockets:
                one.close()
    findings += _redirects(config)
    return findings, meshes


def _addresses(config: MeshConfig) -> Iterable[tuple[str, str, int]]:
    yield "server.port", config.server.host, config.server.port
    metrics = None if config.server.metrics is None else config.server.metrics.listen
    for key, listen_at in (("server.metrics.listen", metrics), ("cluster.listen", config.cluster.listen)):
        if listen_at is not None:
            host, _, port = str(listen_at).rpartition(":")
            yield key, host, int(port)


def _redirects(config: MeshConfig) -> Iterable[Finding]:
    """Ports that a browser is sent back to after a login, and that another program has."""
    for spec in config.enabled:
        port = spec.auth.redirect_port if isinstance(spec.auth, OAuth) else None
        if port:
            try:
                sockets = listen("127.0.0.1", port)
            except CannotListen as error:
                remedy = "end the other program before `meshproxy auth login`, or register another port"
                yield Finding("port", place_of(config, spec.name, "auth.redirect_port"), str(error), remedy)
            else:
                for one in sockets:
                    one.close()


def _remedy(host: str, port: int, key: str, *, in_use: bool) -> str:
    if in_use:
        return f"end the other program (ss -ltnp 'sport = :{port}' shows it), or choose another {key}"
    if port and port < _PRIVILEGED:
        return f"choose a port from {_PRIVILEGED} on, or let the mesh have the capability CAP_NET_BIND_SERVICE"
    return f"choose an address of this machine in place of {host}"


def _is_mesh(host: str, port: int, *, is_tls: bool) -> bool:
    """Whether what listens there is a mesh."""
    plain = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(resolvable(host), resolvable(host))  # noqa: S104  # compared, not bound
    authority = f"[{plain}]" if ":" in plain else plain
    # Who it is is not asked: nothing is told it, and what it says decides about a line of this report alone.
    context = ssl._create_unverified_context() if is_tls else None  # noqa: S323, SLF001
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if context is not None:
        handlers.append(urllib.request.HTTPSHandler(context=context))
    url = f"{'https' if is_tls else 'http'}://{authority}:{port}/healthz"
    try:
        with urllib.request.build_opener(*handlers).open(url, timeout=_PATIENCE) as answer:
            return bool(json.load(answer) == {"status": "ok"})
    except (OSError, ValueError, urllib.error.URLError):
        return False
