"""`Route`: where a public name or URI leads. Place: catalog, under `snapshot`."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from meshproxy.catalog.catalog import Mount
from meshproxy.catalog.component import ProxyComponent, Source
from meshproxy.wire.headers import ParamMap

__all__ = ["Judge", "Route"]

Judge: TypeAlias = Callable[[Mapping[str, Any]], tuple[bool, bool]]
"""Says of the arguments of a call whether it may be made, and whether its caller is asked before."""


class Route:
    """See the module. It is not changed once it is made.

    Attributes:
        source: the upstream to ask.
        origin: what it calls the component.
        mount: how its answer is put into the mesh's names.
        component: the listed component; None for a URI that is routed by its namespace alone.
        headers: for a tool, which arguments go into `Mcp-Param-*` headers (SEP-2243), by path.
        needs_task: whether it is a tool that its upstream runs as a task alone (2025-11-25 basic/utilities/tasks).
        confirm: whether its caller is asked before it is used.
        judge: decides by the arguments; None where they decide nothing.
    """

    __slots__ = ("component", "confirm", "headers", "judge", "mount", "needs_task", "origin", "source")

    def __init__(
        self,
        source: Source,
        origin: str,
        mount: Mount,
        component: ProxyComponent | None = None,
        headers: ParamMap | None = None,
        *,
        needs_task: bool = False,
        confirm: bool = False,
        judge: Judge | None = None,
    ) -> None:
        self.source = source
        self.origin = origin
        self.mount = mount
        self.component = component
        self.headers: ParamMap = {} if headers is None else headers
        self.needs_task = needs_task
        self.confirm = confirm
        self.judge = judge

    def __repr__(self) -> str:
        return f"<Route to {self.origin!r} of {self.mount.name!r}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Route) and self._parts() == other._parts()

    def __hash__(self) -> int:
        return hash((self.origin, self.mount.name))

    def called(self, component: ProxyComponent) -> "Route":
        """The same, to a component of another name."""
        return self._but(component, self.judge, confirm=self.confirm)

    def judged(self, judge: Judge) -> "Route":
        """The same, but that arguments decide."""
        return self._but(self.component, judge, confirm=self.confirm)

    def confirmed(self) -> "Route":
        """The same, but that its caller is asked before it is used."""
        return self._but(self.component, self.judge, confirm=True)

    def _but(self, component: ProxyComponent | None, judge: Judge | None, *, confirm: bool) -> "Route":
        return Route(
            self.source,
            self.origin,
            self.mount,
            component,
            self.headers,
            needs_task=self.needs_task,
            confirm=confirm,
            judge=judge,
        )

    def _parts(self) -> tuple[Any, ...]:
        return (
            self.source,
            self.origin,
            self.mount,
            self.component,
            self.headers,
            self.needs_task,
            self.confirm,
            self.judge,
        )
