"""What the official conformance suite expects of a server: the names, texts and behaviours that its scenarios call for.

Over HTTP it keeps events, so that a stream can be resumed. `kit()` gives the same in process.
"""

import itertools
import json
from typing import Any

import anyio
from mcp.server.streamable_http import EventCallback, EventMessage, EventStore
from mcp.shared.exceptions import MCPError
from mcp_types import JSONRPCMessage
from tests.servers.kit import Asked, Call, Json, Kit, text
from tests.servers.run import parser, run

IMAGE = {
    "type": "image",
    "mimeType": "image/png",
    "data": "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==",
}
AUDIO = {
    "type": "audio",
    "mimeType": "audio/wav",
    "data": "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA=",
}
CONTACT = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}
DEFAULTS = {
    "name": {"type": "string", "description": "User name", "default": "John Doe"},
    "age": {"type": "integer", "description": "User age", "default": 30},
    "score": {"type": "number", "description": "User score", "default": 95.5},
    "status": {
        "type": "string",
        "description": "User status",
        "enum": ["active", "inactive", "pending"],
        "default": "active",
    },
    "verified": {"type": "boolean", "description": "Verification status", "default": True},
}
ENUMS = {
    "untitledSingle": {"type": "string", "enum": ["option1", "option2", "option3"]},
    "titledSingle": {"type": "string", "oneOf": [{"const": f"value{n}", "title": f"Option {n}"} for n in (1, 2, 3)]},
    "legacyEnum": {
        "type": "string",
        "enum": ["opt1", "opt2", "opt3"],
        "enumNames": ["Option One", "Option Two", "Option Three"],
    },
    "untitledMulti": {"type": "array", "items": {"type": "string", "enum": ["option1", "option2", "option3"]}},
    "titledMulti": {
        "type": "array",
        "items": {"anyOf": [{"const": f"value{n}", "title": f"Choice {n}"} for n in (1, 2, 3)]},
    },
}


def form(message: str, *required: str, **properties: Json) -> Json:
    schema = {"type": "object", "properties": properties} | ({"required": list(required)} if required else {})
    return {"method": "elicitation/create", "params": {"mode": "form", "message": message, "requestedSchema": schema}}


def name_form(message: str = "What is your name?") -> Json:
    return form(message, "name", name={"type": "string"})


def sampling(prompt: str) -> Json:
    messages = [{"role": "user", "content": text(prompt)}]
    return {"method": "sampling/createMessage", "params": {"messages": messages, "maxTokens": 100}}


ROOTS = {"method": "roots/list", "params": {}}
CONFIRM = form("Please confirm", "ok", ok={"type": "boolean"})


def embedded(uri: str, mime_type: str, content: str) -> Json:
    return {"type": "resource", "resource": {"uri": uri, "mimeType": mime_type, "text": content}}


def accepted(answer: Any, field: str) -> Any:
    """The field of an accepted form; None if the answer is anything else."""
    content = answer.get("content") if isinstance(answer, dict) and answer.get("action") == "accept" else None
    return content.get(field) if isinstance(content, dict) else None


def kit() -> Kit:
    kit = Kit("mcp-conformance-test-server", version="1.0.0")
    _contents(kit)
    _questions(kit)
    _rounds(kit)
    _resources_and_prompts(kit)
    return kit


def _contents(kit: Kit) -> None:
    """Tools that answer at once, or say something while they run."""

    @kit.tool()
    def test_simple_text(call: Call) -> str:
        return "This is a simple text response for testing."

    @kit.tool()
    def test_image_content(call: Call) -> list[Json]:
        return [IMAGE]

    @kit.tool()
    def test_audio_content(call: Call) -> list[Json]:
        return [AUDIO]

    @kit.tool()
    def test_embedded_resource(call: Call) -> list[Json]:
        return [embedded("test://embedded-resource", "text/plain", "This is an embedded resource content.")]

    @kit.tool()
    def test_multiple_content_types(call: Call) -> list[Json]:
        mixed = embedded("test://mixed-content-resource", "application/json", '{"test":"data","value":123}')
        return [text("Multiple content types test:"), IMAGE, mixed]

    @kit.tool()
    def test_error_handling(call: Call) -> Json:
        return {"content": [text("This tool intentionally returns an error for testing")], "isError": True}

    @kit.tool()
    async def test_tool_with_logging(call: Call) -> str:
        for line in ("Tool execution started", "Tool processing data", "Tool execution completed"):
            await call.log("info", line)
        return "Tool with logging executed successfully"

    kit.tool(name="test_logging_tool")(test_tool_with_logging)

    @kit.tool()
    async def test_tool_with_progress(call: Call) -> str:
        for step in (0, 50, 100):
            await call.progress(step, 100, f"Completed step {step} of 100")
        return str(call.meta.get("progressToken"))

    @kit.tool()
    async def test_reconnection(call: Call) -> str:
        """Ends the stream of its own call; the client comes back for the rest"""
        if call.ctx.close_sse_stream is not None:
            await call.ctx.close_sse_stream()
            # The answer must not be there before the client is: what is tested is that it polls.
            await anyio.sleep(0.2)
        else:
            # Whoever is in between has the client's stream. The suite waits on it for ten seconds, and then polls, too.
            await anyio.sleep(10.5)
        return "Reconnection test completed successfully"

    @kit.tool(name="json_schema_2020_12_tool", inputSchema=CONTACT)
    def _contact(call: Call, **_fields: Any) -> str:
        """Its schema uses what JSON Schema 2020-12 has"""
        return "accepted"

    region = {"type": "string", "x-mcp-header": "Region"}

    @kit.tool(inputSchema={"type": "object", "properties": {"region": region}})
    def test_x_mcp_header(call: Call, region: str = "<none>") -> str:
        return f"region={region}"

    changes = itertools.count()

    async def change(kind: str, components: dict[str, Any], offer: Any) -> str:
        """Replace the component that is there for this alone."""
        for name in [name for name in components if name.startswith("passing_")]:
            del components[name]
        offer(name=f"passing_{next(changes)}")(lambda _call: "there until the next change")
        await kit.changed(kind)
        return f"the {kind} changed"

    @kit.tool()
    async def test_trigger_tool_change(call: Call) -> str:
        return await change("tools", kit.tools, kit.tool)

    @kit.tool()
    async def test_trigger_prompt_change(call: Call) -> str:
        return await change("prompts", kit.prompts, kit.prompt)

    @kit.tool()
    def test_missing_capability(call: Call) -> str:
        """Needs a client that can sample"""
        if "sampling" not in call.capabilities:
            raise MCPError(-32021, "This tool needs sampling", {"requiredCapabilities": {"sampling": {}}})
        return "the client can sample"


def _questions(kit: Kit) -> None:
    """Tools that ask the client, in either era."""

    @kit.tool()
    async def test_sampling(call: Call, prompt: str) -> str:
        answer = (await call.ask({"sample": sampling(prompt)}))["sample"]
        return f"LLM response: {answer['content'].get('text')}"

    async def asked(call: Call, kind: str, question: Json) -> str:
        answer = (await call.ask({"ask": question}))["ask"]
        return f"{kind}: action={answer['action']}, content={json.dumps(answer.get('content') or {})}"

    @kit.tool()
    async def test_elicitation(call: Call, message: str) -> str:
        response = {"type": "string", "description": "User's response"}
        return await asked(call, "User response", form(message, "response", response=response))

    @kit.tool()
    async def test_streaming_elicitation(call: Call) -> str:
        """Says something, so that its answer is a stream, and then asks"""
        await call.progress(1)
        await call.log("info", "about to ask")
        return await asked(call, "User response", name_form())

    @kit.tool()
    async def test_elicitation_sep1034_defaults(call: Call) -> str:
        return await asked(call, "Elicitation completed", form("Please review the form", **DEFAULTS))

    @kit.tool()
    async def test_elicitation_sep1330_enums(call: Call) -> str:
        return await asked(call, "Elicitation completed", form("Please choose", **ENUMS))


def _rounds(kit: Kit) -> None:
    """The tools and the prompt of SEP-2322: the client is asked and calls again."""

    @kit.tool()
    async def test_input_required_result_elicitation(call: Call) -> str:
        name = accepted(call.answers.get("user_name"), "name")
        if not isinstance(name, str):
            raise Asked({"user_name": name_form()}, None)
        return f"Hello, {name}!"

    @kit.tool()
    async def test_input_required_result_sampling(call: Call) -> str:
        if "capital_question" not in call.answers:
            raise Asked({"capital_question": sampling("What is the capital of France?")}, None)
        return f"The model said: {call.answers['capital_question']['content'].get('text')}"

    @kit.tool()
    async def test_input_required_result_list_roots(call: Call) -> str:
        if "client_roots" not in call.answers:
            raise Asked({"client_roots": ROOTS}, None)
        return f"The client has {len(call.answers['client_roots']['roots'])} root(s)"

    @kit.tool()
    async def test_input_required_result_request_state(call: Call) -> str:
        if call.state != "a state" or accepted(call.answers.get("confirm"), "ok") is None:
            raise Asked({"confirm": CONFIRM}, "a state")
        return "state-ok: confirmed"

    @kit.tool()
    async def test_input_required_result_multiple_inputs(call: Call) -> str:
        asked = {"user_name": name_form(), "greeting": sampling("Write a greeting"), "client_roots": ROOTS}
        if not asked.keys() <= call.answers.keys():
            raise Asked(asked, "all at once")
        return "All inputs were received"

    @kit.tool()
    async def test_input_required_result_multi_round(call: Call) -> str:
        name = (await call.ask({"step1": name_form("Step 1: What is your name?")}))["step1"]
        color = form("Step 2: What is your favorite color?", "color", color={"type": "string"})
        answer = (await call.ask({"step2": color}))["step2"]
        return f"{accepted(name, 'name')} likes {accepted(answer, 'color')}"

    @kit.tool()
    async def test_input_required_result_tampered_state(call: Call) -> str:
        """A state that comes back changed does not get as far as this"""
        if call.state is None:
            raise Asked({"confirm": CONFIRM}, "sealed")
        return f"state-ok: {call.state}"

    @kit.tool()
    async def test_input_required_result_capabilities(call: Call) -> str:
        """Asks only for what the client can do"""
        if call.answers:
            return f"The client answered {', '.join(call.answers)}"
        able = {"sampling": {"sample": sampling("Say hello")}, "elicitation": {"ask": name_form()}}
        asked = {key: question for name in able if name in call.capabilities for key, question in able[name].items()}
        raise Asked(asked or None, "by capability")

    @kit.prompt()
    async def test_input_required_result_prompt(call: Call) -> str:
        context = accepted(call.answers.get("user_context"), "context")
        if context is None:
            question = form("What context should the prompt use?", "context", context={"type": "string"})
            raise Asked({"user_context": question}, None)
        return f"Use the following context: {context}"


def _resources_and_prompts(kit: Kit) -> None:
    @kit.resource("test://static-text", name="Static text", mimeType="text/plain")
    def _static_text(call: Call) -> str:
        return "This is the content of the static text resource."

    @kit.resource("test://static-binary", name="Static binary", mimeType="image/png")
    def _static_binary(call: Call) -> Json:
        return {"mimeType": "image/png", "blob": IMAGE["data"]}

    @kit.resource("test://watched-resource", name="Watched", mimeType="text/plain")
    def _watched(call: Call) -> str:
        return "Watched resource content"

    @kit.template("test://template/{id}/data", name="Template", mimeType="application/json")
    def _template(call: Call, id: str) -> Json:  # noqa: A002
        content = json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})
        return {"mimeType": "application/json", "text": content}

    @kit.prompt()
    def test_simple_prompt(call: Call) -> str:
        return "This is a simple prompt for testing."

    @kit.prompt()
    def test_prompt_with_arguments(call: Call, arg1: str, arg2: str) -> str:
        return f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"

    @kit.prompt()
    def test_prompt_with_embedded_resource(call: Call, resourceUri: str) -> list[Json]:  # noqa: N803
        resource = embedded(resourceUri, "text/plain", "Embedded resource content for testing.")
        request = text("Please process the embedded resource above.")
        return [{"role": "user", "content": resource}, {"role": "user", "content": request}]

    @kit.prompt()
    def test_prompt_with_image(call: Call) -> list[Json]:
        request = text("Please analyze the image above.")
        return [{"role": "user", "content": IMAGE}, {"role": "user", "content": request}]

    kit.complete = lambda _ref, argument, _context: [
        v for v in ("paris", "park", "party") if v.startswith(argument["value"])
    ]


class Events(EventStore):
    """Keeps every event of every stream of a session, for clients that come back."""

    def __init__(self) -> None:
        self._events: list[tuple[str, JSONRPCMessage | None]] = []

    async def store_event(self, stream_id: str, message: JSONRPCMessage | None) -> str:
        self._events.append((stream_id, message))
        return str(len(self._events) - 1)

    async def replay_events_after(self, last_event_id: str, send_callback: EventCallback) -> str | None:
        if not last_event_id.isdigit() or int(last_event_id) >= len(self._events):
            return None
        stream = self._events[int(last_event_id)][0]
        for number, (owner, message) in list(enumerate(self._events))[int(last_event_id) + 1 :]:
            if owner == stream and message is not None:
                await send_callback(EventMessage(message, str(number)))
        return stream


def main() -> None:
    run(kit().server(), parser(__doc__ or "").parse_args(), event_store=Events, retry_interval=100)


if __name__ == "__main__":
    main()
