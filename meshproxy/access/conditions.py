"""`Condition`: the `when` of a rule, ready to be asked. Place: access, under `rules`.

Names: `jwt` has the claims of the caller's token, and is empty for whoever showed none. `mcp.tool`, `mcp.prompt` or `mcp.resource` is what it wants to use: `name` is what
the upstream calls it, `target` the upstream, and `arguments` those of a call. These are the names of agentgateway's rules.
"""

from collections.abc import Mapping
from typing import Any, Final

import structlog

from meshproxy.config.condition import claims_of, compiled, kinds_of, needs_arguments
from meshproxy.kinds import KINDS, Kind

__all__ = ["Condition"]

log = structlog.get_logger(__name__)

_WORDS: Final = {Kind.TOOL: "tool", Kind.PROMPT: "prompt", Kind.RESOURCE: "resource", Kind.TEMPLATE: "resource"}


class Condition:
    """One condition.

    Attributes:
        needs_arguments: it can be decided for each call alone.
        claims: the claims that it looks at; None for any.
    """

    def __init__(self, text: str) -> None:
        self.needs_arguments = needs_arguments(text)
        self.claims = claims_of(text)
        self._kinds = kinds_of(text)
        self._program = compiled(text)
        self._text = text
        self._is_logged = False

    def is_about(self, kind: Kind) -> bool:
        """Whether it names anything that a component of this kind has."""
        return self._kinds is None or KINDS[kind].plural in self._kinds

    def holds(
        self, claims: Mapping[str, Any], kind: Kind, name: str, target: str, arguments: Mapping[str, Any] | None
    ) -> bool | None:
        """Whether it holds; None if that cannot be said, as for a claim that is not there. `arguments` are None where there is no call."""
        about: dict[str, Any] = {"name": name, "target": target}
        if arguments is not None:
            about["arguments"] = arguments
        try:
            found = self._program.execute({"jwt": dict(claims), "mcp": {_WORDS[kind]: about}})
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001  # whatever a foreign library does, nobody comes in by it; a panic of Rust is no Exception
            self._log(type(error).__name__)
            return None
        if isinstance(found, bool):
            return found
        self._log(f"gives {type(found).__name__}, and not true or false")
        return None

    def _log(self, reason: str) -> None:
        """Say once that it cannot be decided, without what it was asked about, which may be secret."""
        if not self._is_logged:
            self._is_logged = True
            log.warning(
                "access.condition_failed", when=self._text, reason=reason, consequence="what it is about is forbidden"
            )
