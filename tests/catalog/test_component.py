"""A component keeps the definition as its upstream listed it, and the way to its upstream, whatever it is called here."""

from collections.abc import Mapping
from dataclasses import FrozenInstanceError
from typing import Any, Self

import mcp_types
import pytest
from meshproxy.catalog.component import (
    COMPONENTS,
    ProxyComponent,
    ProxyPrompt,
    ProxyResource,
    ProxyTemplate,
    ProxyTool,
    decoded,
)
from meshproxy.errors import RpcError
from meshproxy.kinds import KINDS, Kind
from meshproxy.wire.codec import Raw

pytestmark = pytest.mark.anyio


class Told:
    """A source that keeps what it is asked and answers with `result`."""

    name = "docs"

    def __init__(self, result: Any = None) -> None:
        self.result = result if result is not None else {"ok": True}
        self.requests: list[tuple[str, dict[str, Any], Any]] = []

    async def request(
        self,
        method: str,
        params: dict[str, Any],
        context: Any = None,
        mount: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        self.requests.append((method, params, context))
        return self.result


DEFINITIONS: dict[Kind, dict[str, Any]] = {
    Kind.TOOL: {"name": "search", "title": "Search", "inputSchema": {"type": "object"}, "x-vendor": None},
    Kind.RESOURCE: {"uri": "x://y", "name": "y", "x-vendor": None},
    Kind.TEMPLATE: {"uriTemplate": "x://{y}", "name": "ys", "mimeType": "text/plain"},
    Kind.PROMPT: {"name": "greet", "arguments": [{"name": "who"}]},
}


@pytest.mark.parametrize("kind", Kind)
def test_a_component_is_its_definition_and_its_origin_never_changes(kind: Kind) -> None:
    made = COMPONENTS[kind].from_mcp(Told(), DEFINITIONS[kind])
    key = KINDS[kind].key
    assert made.kind is kind
    assert made.definition == DEFINITIONS[kind]
    assert made.origin == made.public == DEFINITIONS[kind][key]
    copy = made.model_copy(update={key: "new", "origin": "other", "title": "Title", "name": made.definition["name"]})
    copy = copy.model_copy().model_copy(update={"public": "newer", "description": None})
    assert (copy.public, copy.origin, copy.source) == ("newer", made.origin, made.source)
    assert copy.listed() == {**DEFINITIONS[kind], "title": "Title", key: "newer"}
    assert made.listed() == DEFINITIONS[kind]
    with pytest.raises(FrozenInstanceError):
        made.origin = "other"  # type: ignore[misc]


@pytest.mark.parametrize("definition", [{}, {"name": 1}, {"name": None}])
def test_a_component_needs_its_key(definition: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="a tool needs a string 'name'"):
        ProxyTool.from_mcp_tool(Told(), definition)


def test_models_of_the_sdk_are_definitions_too() -> None:
    source = Told()
    made: list[ProxyComponent] = [
        ProxyTool.from_mcp_tool(source, mcp_types.Tool(name="t", input_schema={"type": "object"})),
        ProxyResource.from_mcp_resource(source, mcp_types.Resource(uri="x://y", name="y")),
        ProxyTemplate.from_mcp_template(source, mcp_types.ResourceTemplate(uri_template="x://{y}", name="ys")),
        ProxyPrompt.from_mcp_prompt(source, mcp_types.Prompt(name="p")),
    ]
    assert [one.origin for one in made] == ["t", "x://y", "x://{y}", "p"]
    assert made[0].definition == {"name": "t", "inputSchema": {"type": "object"}}


def test_a_component_has_a_label_and_forbids_tasks() -> None:
    source = Told()
    tool = ProxyTool.from_mcp(source, DEFINITIONS[Kind.TOOL]).model_copy(update={"name": "docs_search"})
    assert tool.name == "docs_search"
    assert ProxyResource.from_mcp(source, DEFINITIONS[Kind.RESOURCE]).name == "y"
    assert ProxyResource.from_mcp(source, {"uri": "x://z"}).name == "x://z"
    assert tool.task_mode == "forbidden"


def test_a_component_says_in_a_trace_what_it_is() -> None:
    tool = ProxyTool.from_mcp(Told(), DEFINITIONS[Kind.TOOL]).model_copy(update={"name": "docs_search"})
    assert tool.get_span_attributes() == {
        "mcp.method.name": "tools/call",
        "meshproxy.tool": "docs_search",
        "meshproxy.origin": "search",
        "meshproxy.upstream": "docs",
    }


async def test_each_kind_is_used_at_its_upstream_by_its_origin() -> None:
    source = Told()
    update = {"public": "public"}
    await ProxyTool.from_mcp(source, DEFINITIONS[Kind.TOOL]).model_copy(update=update).run({"q": 1}, "context")
    await ProxyTool.from_mcp(source, DEFINITIONS[Kind.TOOL]).run()
    await ProxyResource.from_mcp(source, DEFINITIONS[Kind.RESOURCE]).model_copy(update=update).read()
    await ProxyPrompt.from_mcp(source, DEFINITIONS[Kind.PROMPT]).model_copy(update=update).render({"who": "Ada"})
    await ProxyPrompt.from_mcp(source, DEFINITIONS[Kind.PROMPT]).render()
    assert source.requests == [
        ("tools/call", {"name": "search", "arguments": {"q": 1}}, "context"),
        ("tools/call", {"name": "search", "arguments": {}}, None),
        ("resources/read", {"uri": "x://y"}, None),
        ("prompts/get", {"name": "greet", "arguments": {"who": "Ada"}}, None),
        ("prompts/get", {"name": "greet"}, None),
    ]


async def test_a_template_makes_resources_with_its_labels() -> None:
    source = Told()
    template = ProxyTemplate.from_mcp(source, DEFINITIONS[Kind.TEMPLATE])
    made = template.create_resource("x://1", public="x://ns/1")
    assert made.listed() == {"name": "ys", "mimeType": "text/plain", "uri": "x://ns/1"}
    await made.read()
    assert template.create_resource("x://2").public == "x://2"
    assert source.requests == [("resources/read", {"uri": "x://1"}, None)]


async def test_a_template_makes_a_resource_of_its_variables_as_in_fastmcp() -> None:
    source = Told()
    template = ProxyTemplate.from_mcp(source, DEFINITIONS[Kind.TEMPLATE]).model_copy(
        update={"uri_template": "x://ns/{y}"}
    )
    assert (template.public, template.origin) == ("x://ns/{y}", "x://{y}")
    made = await template.create_resource("x://ns/a%20b", {"y": "a b"})
    assert (made.public, made.origin) == ("x://ns/a%20b", "x://a%20b")
    assert (await made.read()) == {"ok": True}
    assert source.requests == [("resources/read", {"uri": "x://a%20b"}, None)]
    with pytest.raises(TypeError, match="public="):
        template.create_resource("x://1", "x://ns/1")  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", Kind)
def test_a_component_can_be_kept_in_a_set(kind: Kind) -> None:
    one, other = (COMPONENTS[kind].from_mcp(Told(), DEFINITIONS[kind]) for _ in range(2))
    assert one == other
    assert len({one, other, one.model_copy(update={"public": "another"})}) == 2


class OneUse:
    """A client that is entered for one request."""

    entered = 0

    async def __aenter__(self) -> Self:
        OneUse.entered += 1
        return self

    async def __aexit__(self, *_: object) -> None:
        OneUse.entered -= 1

    async def request(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        assert OneUse.entered == 1
        return {"method": method, "params": params}


async def test_a_component_is_used_through_a_factory_of_clients_too() -> None:
    async def later() -> OneUse:
        return OneUse()

    for factory in (OneUse, later):
        tool = ProxyTool.from_mcp_tool(factory, DEFINITIONS[Kind.TOOL])
        assert (await tool.run({"q": 1}))["params"] == {"name": "search", "arguments": {"q": 1}}
        assert OneUse.entered == 0
        assert tool.source.name == "upstream"
        assert not tool.source.completes


class Waiting:
    """A call that waits for what it is carried by."""

    method = "tools/call"
    params: dict[str, Any] = {"name": "search"}  # noqa: RUF012  # one call

    def wait(self, coroutine: Any, go_on: Any) -> None:
        self.awaited, self.go_on = coroutine, go_on

    def end(self, outcome: Any) -> None:
        self.outcome = outcome


async def test_a_call_is_carried_through_a_factory_of_clients_too() -> None:
    call = Waiting()
    ProxyTool.from_mcp_tool(OneUse, DEFINITIONS[Kind.TOOL]).source.carry(call)
    call.go_on(call, await call.awaited)
    assert call.outcome == {"method": "tools/call", "params": {"name": "search"}}


def test_a_component_needs_something_to_be_used_through() -> None:
    with pytest.raises(TypeError, match="ProxyProvider or a factory of clients, not int"):
        ProxyTool.from_mcp_tool(1, DEFINITIONS[Kind.TOOL])  # type: ignore[arg-type]


async def test_a_result_comes_decoded_in_whatever_form_it_travelled() -> None:
    for result in (Raw(b'{"a":[1]}'), {"a": Raw(b"[1]")}, {"a": [1]}):
        assert await ProxyTool.from_mcp(Told(result), DEFINITIONS[Kind.TOOL]).run() == {"a": [1]}
        assert decoded(result) == {"a": [1]}
    with pytest.raises(RpcError, match="no object"):
        decoded(Raw(b"[]"))
