"""`ProxyTool`, `ProxyResource`, `ProxyTemplate` and `ProxyPrompt`: one thing that an upstream offers, and the way to use it.

A component is frozen. It keeps the definition as its upstream listed it, the name or URI that it has there (`origin`) and the
one that it has here (`public`); whatever is copied or renamed, the origin stays, so that a call always finds its way.
"""

import inspect
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Final, Protocol, Self, cast

from meshproxy.errors import INTERNAL_ERROR, RpcError
from meshproxy.kinds import KINDS, Kind, KindSpec
from meshproxy.naming import expanded
from meshproxy.wire.codec import Raw, dumps, loads

TASKS_FORBIDDEN: Final = "forbidden"


class Source(Protocol):
    """Whatever carries a request to the upstream of a component."""

    @property
    def name(self) -> str:
        """The upstream's configured name."""
        ...

    @property
    def completes(self) -> bool:
        """Whether it can be asked to complete arguments, as far as is known."""
        ...

    async def request(
        self,
        method: str,
        params: dict[str, Any],
        context: Any = None,
        mount: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Raw | dict[str, Any]:
        """Send a request in the upstream's own names and URIs; the result comes as a shallow dictionary or `Raw`."""
        ...

    def carry(self, call: Any) -> None:
        """Carry a `meshproxy.relay.call.Call`, likewise, which then ends with its outcome."""
        ...


Factory = Callable[[], Any]
"""Makes a `ProxyClient`, which this room does not know, or an awaitable of one."""


class OnDemand:
    """A `Source` that asks a factory for a client at each use, enters it, and leaves it. Nobody is asked what the upstream asks meanwhile."""

    completes = False

    def __init__(self, factory: Factory) -> None:
        self.name = getattr(factory, "name", None) or "upstream"
        self._factory = factory

    async def request(
        self,
        method: str,
        params: dict[str, Any],
        context: Any = None,
        mount: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        made = self._factory()
        client = await made if inspect.isawaitable(made) else made
        async with client:
            result: dict[str, Any] = await client.request(method, params)
        return result

    def carry(self, call: Any) -> None:
        call.wait(self.request(call.method, call.params), lambda call, result: call.end(result))


@dataclass(frozen=True, slots=True)
class ProxyComponent:
    """What all four kinds share.

    Attributes:
        definition: the component as its upstream lists it, whole, in the upstream's own names.
        source: where it is used.
        origin: its name, URI or URI template at the upstream.
        public: the same in the mesh.
    """

    kind: ClassVar[Kind]

    definition: Mapping[str, Any] = field(hash=False)
    source: Source = field(repr=False, compare=False)
    origin: str
    public: str

    @classmethod
    def from_mcp(cls, source: Source | Factory, definition: Any) -> Self:
        """Make a component of a listed definition: a mapping, or a model of the SDK's (`mcp_types.Tool` and the like).

        It is used through `source`: a `ProxyProvider`, or a factory of `ProxyClient`s, sync or async, which is asked for one at each use.

        Raises:
            ValueError: the definition has no name or URI.
            TypeError: `source` is neither.
        """
        if not isinstance(definition, Mapping):
            definition = definition.model_dump(mode="json", by_alias=True, exclude_none=True)
        origin = definition.get(KINDS[cls.kind].key)
        if not isinstance(origin, str):
            raise ValueError(f"a {cls.kind} needs a string {KINDS[cls.kind].key!r}")
        return cls(definition=definition, source=_source_of(source), origin=origin, public=origin)

    @property
    def spec(self) -> KindSpec:
        """The row of its kind."""
        return KINDS[self.kind]

    @property
    def task_mode(self) -> str:
        """Whether a client may run it as a task of 2025-11-25: never. One that can do nothing else is called like any other all the same."""
        return TASKS_FORBIDDEN

    @property
    def name(self) -> str:
        """Its label: what it is called in a listing that names things."""
        name = self.definition.get("name")
        return self.public if not self.spec.by_uri else str(name or self.public)

    def model_copy(self, *, update: Mapping[str, Any] | None = None) -> Self:
        """A copy with other fields. `name`, `uri` or `uriTemplate` in `update` changes the public key; the origin never changes."""
        changes = {"uriTemplate" if key == "uri_template" else key: value for key, value in (update or {}).items()}
        changes.pop("origin", None)
        public = changes.pop(self.spec.key, changes.pop("public", self.public))
        definition = {**self.definition, **{key: value for key, value in changes.items() if value is not None}}
        return replace(self, definition=definition, public=public)

    def listed(self) -> dict[str, Any]:
        """The definition as the mesh lists it."""
        return {**self.definition, self.spec.key: self.public}

    def get_span_attributes(self) -> dict[str, str]:
        """OpenTelemetry attributes of a use of it (semantic conventions for MCP)."""
        return {
            "mcp.method.name": self.spec.use_method,
            f"meshproxy.{self.kind}": self.public,
            "meshproxy.origin": self.origin,
            "meshproxy.upstream": self.source.name,
        }

    async def _use(self, params: dict[str, Any], context: Any) -> dict[str, Any]:
        return decoded(await self.source.request(self.spec.use_method, params, context))


@dataclass(frozen=True, slots=True)
class ProxyTool(ProxyComponent):
    """A tool of an upstream."""

    kind = Kind.TOOL

    @classmethod
    def from_mcp_tool(cls, source: Source | Factory, tool: Any) -> "ProxyTool":
        """See `ProxyComponent.from_mcp`."""
        return cls.from_mcp(source, tool)

    @property
    def needs_task(self) -> bool:
        """Whether its upstream runs it as a task alone (2025-11-25 basic/utilities/tasks): a call of it has a `task` then, for the way there."""
        execution = self.definition.get("execution")
        return isinstance(execution, Mapping) and execution.get("taskSupport") == "required"

    async def run(self, arguments: Mapping[str, Any] | None = None, context: Any = None) -> dict[str, Any]:
        """Call it. The result is that of `tools/call`, decoded; `isError` in it is the tool's own word.

        Raises:
            RpcError: the upstream refused the call.
            UpstreamError: it could not be reached, or its answer was lost.
        """
        params = {"name": self.origin, "arguments": dict(arguments or {})}
        return await self._use(params | ({"task": {}} if self.needs_task else {}), context)


@dataclass(frozen=True, slots=True)
class ProxyResource(ProxyComponent):
    """A resource of an upstream."""

    kind = Kind.RESOURCE

    @classmethod
    def from_mcp_resource(cls, source: Source | Factory, resource: Any) -> "ProxyResource":
        """See `ProxyComponent.from_mcp`."""
        return cls.from_mcp(source, resource)

    async def read(self, context: Any = None) -> dict[str, Any]:
        """Read it: the result of `resources/read`, decoded. Errors as `ProxyTool.run`."""
        return await self._use({"uri": self.origin}, context)

    def __await__(self) -> Generator[None, None, Self]:
        """It is there at once; but what makes it of a template is awaited in FastMCP, and may be here."""
        yield from ()
        return self


@dataclass(frozen=True, slots=True)
class ProxyTemplate(ProxyComponent):
    """A resource template of an upstream."""

    kind = Kind.TEMPLATE

    @classmethod
    def from_mcp_template(cls, source: Source | Factory, template: Any) -> "ProxyTemplate":
        """See `ProxyComponent.from_mcp`."""
        return cls.from_mcp(source, template)

    def create_resource(
        self, uri: str, params: Mapping[str, Any] | None = None, context: Any = None, *, public: str | None = None
    ) -> ProxyResource:
        """The resource at an expansion of the template; it inherits the template's labels. Nothing is read before `read` is.

        Args:
            uri: the expansion. Without `params` it is one of the origin template.
            params: the values of the template's variables, from which the URI at the upstream is made; `uri` is then the public one.
            context: nobody needs one to make a resource; it is for `read`.
            public: its URI in the mesh, if not `uri`.

        Raises:
            TypeError: `params` are no mapping.
        """
        if params is not None and not isinstance(params, Mapping):
            raise TypeError(
                "params are the values of the template's variables, by name; give the public URI as public=..."
            )
        origin = uri if params is None else expanded(self.origin, params)
        labels = {key: value for key, value in self.definition.items() if key != self.spec.key}
        return ProxyResource(
            definition={**labels, "uri": origin}, source=self.source, origin=origin, public=public or uri
        )


@dataclass(frozen=True, slots=True)
class ProxyPrompt(ProxyComponent):
    """A prompt of an upstream."""

    kind = Kind.PROMPT

    @classmethod
    def from_mcp_prompt(cls, source: Source | Factory, prompt: Any) -> "ProxyPrompt":
        """See `ProxyComponent.from_mcp`."""
        return cls.from_mcp(source, prompt)

    async def render(self, arguments: Mapping[str, str] | None = None, context: Any = None) -> dict[str, Any]:
        """Render it: the result of `prompts/get`, decoded. Errors as `ProxyTool.run`."""
        params: dict[str, Any] = {"name": self.origin}
        if arguments:
            params["arguments"] = dict(arguments)
        return await self._use(params, context)


COMPONENTS: Final[dict[Kind, type[ProxyComponent]]] = {
    cls.kind: cls for cls in (ProxyTool, ProxyResource, ProxyTemplate, ProxyPrompt)
}


def _source_of(source: Any) -> Source:
    new = getattr(source, "new", None)  # of a client, which makes another for each use
    if new is None and hasattr(source, "request") and not isinstance(source, type):
        return cast("Source", source)
    if callable(new or source):
        return OnDemand(new or source)
    raise TypeError(f"a component is used through a ProxyProvider or a factory of clients, not {type(source).__name__}")


def decoded(result: Any) -> dict[str, Any]:
    """A result as a decoded dictionary, whatever form it travelled in.

    Raises:
        RpcError: it is no object.
    """
    value = loads(result if isinstance(result, Raw) else dumps(result))
    if not isinstance(value, dict):
        raise RpcError(INTERNAL_ERROR, "the upstream's result is no object")
    return value
