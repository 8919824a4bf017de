"""The audit log and the access log of a mesh that serves: what the config says of them, and who tells them what. Place: serving."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from meshproxy.config.models import MeshConfig
from meshproxy.config.secrecy import is_telling
from meshproxy.config.secrets import HIDDEN, without_secrets
from meshproxy.mesh.edits import Edit
from meshproxy.mesh.mesh import Mesh
from meshproxy.observe import decisions
from meshproxy.observe.access_log import AccessLog
from meshproxy.observe.audit import Audit
from meshproxy.observe.line_writer import Keeping
from meshproxy.serving.fastmcp import FastMCP
from meshproxy.wire.scrubbing import scrubbed

__all__ = ["Auditing", "keeping_of", "without_telling"]


class Auditing:
    """The logs of what `server` answers, from `begin` to `end`. `take` is told each config that is in force."""

    def __init__(self, server: FastMCP) -> None:
        self._audit = Audit(server.recorder.listen)
        self._access = AccessLog(server.recorder.listen)
        self._over: list[Callable[[], None]] = []

    def take(self, config: MeshConfig) -> None:
        """Go by a config from now on."""
        self._audit.obey(keeping_of(config), config.source.digest)
        written = config.observe.access_log
        keeping = (
            None if written is None else Keeping(_path(config, written.file), size=written.size, keep=written.keep)
        )
        self._access.obey(keeping, config.source.digest)

    def begin(self, mesh: Mesh) -> None:
        """Hear of what is decided, and know the secrets of a mesh."""
        audit = self._audit
        audit.lines.scrub = self._access.lines.scrub = mesh.scrub
        audit.scrub_arguments = lambda value: scrubbed(
            without_telling(value), lambda text: without_secrets(mesh.scrub(text))
        )
        self._over = [decisions.listen(audit.decide), mesh.edits.on_edit(self._edited)]
        self.take(mesh.config)
        audit.decide("mesh.started", {"name": mesh.config.name})

    def end(self) -> None:
        """Write what is not written yet. It blocks while that takes."""
        self._audit.decide("mesh.ended", {})
        for forget in self._over:
            forget()
        self._audit.close()
        self._access.close()

    def _edited(self, edit: Edit) -> None:
        facts: dict[str, Any] = {"cause": edit.cause, "file_revision": edit.revision[:12]}
        if edit.is_applied:
            facts |= {"changed": [change.key for change in edit.changes], "failed": dict(edit.failed)}
        else:
            facts |= {"problems": [str(problem) for problem in edit.problems]}
        told = {name: value for name, value in facts.items() if value}
        self._audit.decide("config.reloaded" if edit.is_applied else "config.rejected", told)


def keeping_of(config: MeshConfig) -> Keeping | None:
    """What a config says of its audit log. A path is relative to its file."""
    written = config.observe.audit
    if written is None:
        return None
    return Keeping(_path(config, written.file), written.arguments, written.size, written.keep)


def _path(config: MeshConfig, file: str) -> Path:
    directory = config.source.path.parent if config.source.path else Path()
    return directory.joinpath(Path(file).expanduser()).absolute()


def without_telling(value: Any) -> Any:
    """A decoded value without what stands under a name that says that it is a secret."""
    if isinstance(value, Mapping):
        return {key: HIDDEN if is_telling(key) and child else without_telling(child) for key, child in value.items()}
    if isinstance(value, list):
        return [without_telling(child) for child in value]
    return value
