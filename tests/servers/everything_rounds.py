"""The tools and the prompt of SEP-2322, for `everything`: the client is asked by the call's result, and calls again.

A client of the legacy era cannot be asked so, and is refused by the SDK.
"""

import json
from typing import Any

from mcp_types import (
    CreateMessageRequest,
    CreateMessageRequestParams,
    ElicitRequest,
    ElicitRequestFormParams,
    InputRequest,
    InputRequiredResult,
    ListRootsRequest,
    SamplingMessage,
    TextContent,
)
from pydantic import BaseModel


class Response(BaseModel):
    """What the user of these servers is asked for."""

    response: str


def form(message: str, field: str, kind: str = "string") -> ElicitRequest:
    schema = {"type": "object", "properties": {field: {"type": kind}}, "required": [field]}
    return ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=schema))


def sampling(prompt: str) -> CreateMessageRequest:
    messages = [SamplingMessage(role="user", content=TextContent(type="text", text=prompt))]
    return CreateMessageRequest(params=CreateMessageRequestParams(messages=messages, max_tokens=100))


def required(state: str | None = None, /, **questions: InputRequest) -> InputRequiredResult:
    return InputRequiredResult(input_requests=questions, request_state=state)


def accepted(ctx: Any, key: str, field: str) -> Any:
    """The field of an accepted form; None if the answer is anything else, or not there."""
    content = getattr((ctx.input_responses or {}).get(key), "content", None)
    return content.get(field) if isinstance(content, dict) else None


def offer_rounds(server: Any, context: Any) -> None:
    """Offer them on the SDK's server or FastMCP's; `context` is the type by which theirs is asked for."""

    @server.tool()
    async def test_input_required_result_elicitation(ctx: context) -> str | InputRequiredResult:
        """Asks for a form"""
        name = accepted(ctx, "user_name", "name")
        return f"Hello, {name}!" if isinstance(name, str) else required(user_name=form("What is your name?", "name"))

    @server.tool()
    async def test_input_required_result_sampling(ctx: context) -> str | InputRequiredResult:
        """Asks the client's model"""
        answer = (ctx.input_responses or {}).get("capital_question")
        if answer is None:
            return required(capital_question=sampling("What is the capital of France?"))
        return f"The model said: {getattr(answer.content, 'text', None)}"

    @server.tool()
    async def test_input_required_result_list_roots(ctx: context) -> str | InputRequiredResult:
        """Asks for the client's roots"""
        answer = (ctx.input_responses or {}).get("client_roots")
        if answer is None:
            return required(client_roots=ListRootsRequest())
        return f"The client has {len(answer.roots)} root(s)"

    @server.tool()
    async def test_input_required_result_request_state(ctx: context) -> str | InputRequiredResult:
        """Asks with a state"""
        if ctx.request_state == "a state" and accepted(ctx, "confirm", "ok") is not None:
            return "state-ok: confirmed"
        return required("a state", confirm=form("Please confirm", "ok", "boolean"))

    @server.tool()
    async def test_input_required_result_multiple_inputs(ctx: context) -> str | InputRequiredResult:
        """Asks for everything at once"""
        asked: dict[str, InputRequest] = {
            "user_name": form("What is your name?", "name"),
            "greeting": sampling("Write a greeting"),
            "client_roots": ListRootsRequest(),
        }
        if asked.keys() <= (ctx.input_responses or {}).keys():
            return "All inputs were received"
        return required("all at once", **asked)

    @server.tool()
    async def test_input_required_result_multi_round(ctx: context) -> str | InputRequiredResult:
        """Asks twice"""
        state = json.loads(ctx.request_state or "{}")
        if "name" in state and (color := accepted(ctx, "step2", "color")):
            return f"{state['name']} likes {color}"
        if state and (name := accepted(ctx, "step1", "name")):
            return required(json.dumps({"name": name}), step2=form("Step 2: What is your favorite color?", "color"))
        return required(json.dumps({"round": 1}), step1=form("Step 1: What is your name?", "name"))

    @server.tool()
    async def test_input_required_result_tampered_state(ctx: context) -> str | InputRequiredResult:
        """A state that comes back changed does not get as far as this"""
        if ctx.request_state is None:
            return required("sealed", confirm=form("Please confirm", "ok", "boolean"))
        return f"state-ok: {ctx.request_state}"

    @server.tool()
    async def test_input_required_result_capabilities(ctx: context) -> str | InputRequiredResult:
        """Asks only for what the client can do"""
        if ctx.input_responses:
            return f"The client answered {', '.join(ctx.input_responses)}"
        able = ctx.session.client_capabilities
        asked: dict[str, InputRequest] = {}
        if able is not None and able.sampling is not None:
            asked["sample"] = sampling("Say hello")
        if able is not None and able.elicitation is not None:
            asked["ask"] = form("What is your name?", "name")
        return required("by capability", **asked)

    @server.prompt()
    async def test_input_required_result_prompt(ctx: context) -> str | InputRequiredResult:
        """Asks before it is rendered"""
        told = accepted(ctx, "user_context", "context")
        if told is None:
            return required(user_context=form("What context should the prompt use?", "context"))
        return f"Use the following context: {told}"
