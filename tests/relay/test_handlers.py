"""The five default handlers ask and tell the one whose call it is, and nobody else; and only what it declared."""

from typing import Any

import pytest
from meshproxy.catalog.catalog import Mount
from meshproxy.errors import METHOD_NOT_FOUND, RpcError
from meshproxy.relay.call import Call
from meshproxy.relay.handlers import (
    Handlers,
    default_proxy_elicitation_handler,
    default_proxy_log_handler,
    default_proxy_progress_handler,
    default_proxy_roots_handler,
    default_proxy_sampling_handler,
    require,
)
from meshproxy.wire.codec import Raw
from tests.kit.clients import SAMPLED, Client, Context, Legacy, Modern, decoded
from tests.kit.handlers import Quiet

pytestmark = pytest.mark.anyio

SAMPLE = {"messages": [], "maxTokens": 1, "x-unknown": None}
URL = {"mode": "url", "url": "https://x/", "message": "m", "elicitationId": "e"}


def request(client: Client, token: int | str | None = None) -> Context:
    return Context(client, client.caller(), token, {})


@pytest.mark.parametrize(
    ("handler", "params", "method", "result"),
    [
        (default_proxy_roots_handler, {}, "roots/list", {"roots": [{"uri": "file:///here"}]}),
        (default_proxy_sampling_handler, SAMPLE, "sampling/createMessage", SAMPLED),
        (
            default_proxy_elicitation_handler,
            {"message": "m"},
            "elicitation/create",
            {"action": "accept", "content": {"answer": "m"}},
        ),
        (
            default_proxy_elicitation_handler,
            URL,
            "elicitation/create",
            {"action": "accept", "content": {"answer": "m"}},
        ),
    ],
)
async def test_a_question_goes_to_the_client_as_it_is_and_so_does_its_answer(
    handler: Any, params: dict[str, Any], method: str, result: Any
) -> None:
    client = Legacy(Quiet())
    assert decoded(await handler(request(client), params)) == result
    assert client.asked.all == [(method, params)]


@pytest.mark.parametrize(
    ("handler", "params", "capabilities", "missing"),
    [
        (default_proxy_roots_handler, {}, {}, "roots"),
        (default_proxy_sampling_handler, SAMPLE, {"roots": {}}, "sampling"),
        (default_proxy_sampling_handler, {**SAMPLE, "tools": []}, {"sampling": {}}, "sampling.tools"),
        (default_proxy_sampling_handler, {**SAMPLE, "toolChoice": {}}, {"sampling": {"tools": 3}}, "sampling.tools"),
        (default_proxy_elicitation_handler, {"message": "m"}, {"elicitation": 3}, "elicitation"),
        (default_proxy_elicitation_handler, URL, {"elicitation": {}}, "elicitation.url"),
        (default_proxy_elicitation_handler, {**URL, "mode": Raw(b'"url"')}, {"elicitation": {}}, "elicitation.url"),
    ],
)
async def test_a_client_is_not_asked_what_it_did_not_declare(
    handler: Any, params: dict[str, Any], capabilities: dict[str, Any], missing: str
) -> None:
    client = Legacy(Quiet(), capabilities=capabilities)
    with pytest.raises(RpcError, match=f"capability '{missing}'") as refused:
        await handler(request(client), params)
    assert refused.value.code == METHOD_NOT_FOUND
    assert client.asked.all == []


async def test_a_client_with_the_feature_is_asked() -> None:
    require(request(Legacy(Quiet(), capabilities={"sampling": {"tools": {}}})), "sampling", "tools")


@pytest.mark.parametrize(
    ("client", "level", "heard"),
    [
        (Legacy, None, ["debug", "info", "error", "odd"]),
        (Legacy, "info", ["info", "error", "odd"]),
        (Modern, None, []),
        (Modern, "error", ["error", "odd"]),
    ],
)
async def test_a_log_line_is_told_if_the_client_wants_to_hear_its_level(
    client: type[Client], level: str | None, heard: list[str]
) -> None:
    made = client(Quiet())
    context = request(made)
    context.downstream.log_level = level
    for one in ("debug", "info", "error", "odd"):
        default_proxy_log_handler(context, {"level": Raw(b'"%b"' % one.encode()), "data": one})
    assert [told["data"] for told in made.heard.of("notifications/message")] == heard


async def test_progress_is_told_under_the_clients_own_token() -> None:
    client = Legacy(Quiet())
    told = {"progressToken": 99, "progress": Raw(b"1.0"), "message": "m", "x": None}
    default_proxy_progress_handler(request(client, "mine"), told)
    default_proxy_progress_handler(request(client, 0), told)
    default_proxy_progress_handler(request(client, None), told)
    assert [heard["progressToken"] for heard in client.heard.of("notifications/progress")] == ["mine", 0]
    assert client.heard.all[0][1] == {"progressToken": "mine", "progress": 1.0, "message": "m", "x": None}


def relayed(client: Client, token: int | None = None, namespace: str = "up", **handlers: Any) -> tuple[Call, list[Any]]:
    elsewhere: list[Any] = []
    call = Call(request(client, token), "tools/call", {})
    call.mount, call.handlers, call.timeout = Mount("up", namespace), Handlers(**handlers), 5.0
    call.elsewhere = lambda _owner, *told: elsewhere.append(told)
    return call, elsewhere


async def test_a_call_hands_each_message_to_its_handler() -> None:
    client = Legacy(Quiet())
    call, elsewhere = relayed(client, 7)
    call.on_notification("notifications/progress", {"progress": 1})
    call.on_notification("notifications/message", {"level": "info", "data": 1})
    call.on_notification("notifications/resources/updated", {"uri": "x://y"})
    assert client.heard.methods() == ["notifications/progress", "notifications/message"]
    assert elsewhere == [("notifications/resources/updated", {"uri": "x://y"})]
    assert await call.on_request("roots/list", {}) == {"roots": Raw(b'[{"uri": "file:///here"}]')}
    with pytest.raises(RpcError, match="Method not found: tools/list"):
        await call.on_request("tools/list", {})


async def test_a_handler_of_ones_own_answers_in_the_clients_place() -> None:
    async def here(_context: Any, params: Any) -> Any:
        return {"roots": [params]}

    client = Legacy(Quiet())
    call, _ = relayed(client, roots=here)
    assert await call.on_request("roots/list", {"x": 1}) == {"roots": [{"x": 1}]}
    assert client.asked.all == []


async def test_a_call_knows_what_its_caller_can_do_and_wants() -> None:
    legacy, modern = Legacy(Quiet(), capabilities={"roots": {}, "vendor": {}}), Modern(Quiet())
    call, _ = relayed(legacy)
    assert (call.capabilities, call.wants_progress, call.timeout) == ({"roots": {}}, False, 5.0)
    # A legacy client that set no level leaves it to the server.
    assert call.log_level == "info"
    legacy.session.log_level = "debug"
    assert call.log_level == "debug"
    asked_for_nothing, _ = relayed(modern, 0)
    assert asked_for_nothing.log_level is None
    assert asked_for_nothing.wants_progress
    assert asked_for_nothing.owner != relayed(modern)[0].owner
    assert call.owner == relayed(legacy)[0].owner
