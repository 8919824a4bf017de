"""What the load client asks and what it must be told: requests as bytes into which only a number is put, and the check of each answer.

The number is the id of the request, and the tool must repeat it in its text: an answer that is wrong, stale or another's is noticed. A
resource says the same each time, and there the id alone tells.
"""

from urllib.parse import urlsplit

import msgspec
from bench.connection import Broken
from bench.upstream import FILLER, MODERN, NOTE, NOTE_TEXT, PROMPT

LEGACY_VERSION = "2025-11-25"
CLIENT = {"name": "bench", "version": "1"}
FIRST_NUMBER = 1_000_000_000
"""All numbers have as many digits, so that all requests are of one length."""
TEXT = "benchmark " * 9 + "call "
"""What a call says before its number: with the envelope it makes an answer of about 200 bytes."""
KINDS = {
    "small": ("tools/call", "echo"),
    "large": ("tools/call", "payload"),
    "stream": ("tools/call", "stream"),
    "failed": ("tools/call", "failed"),
    "read": ("resources/read", NOTE),
    "prompt": ("prompts/get", PROMPT),
    "complete": ("completion/complete", PROMPT),
    "list": ("tools/list", ""),
    "file": ("", ""),
}
"""What is asked, by kind: the method, and what the fixture calls the tool, the resource or the prompt."""


class Block(msgspec.Struct):
    text: str = ""


class Message(msgspec.Struct):
    content: Block


class Completion(msgspec.Struct):
    values: list[str]


class Result(msgspec.Struct):
    content: list[Block] = []
    contents: list[Block] = []
    messages: list[Message] = []
    completion: Completion | None = None
    is_error: bool = msgspec.field(name="isError", default=False)

    def texts(self) -> list[str]:
        """What it says, whatever it is the result of."""
        said = [block.text for block in self.content or self.contents]
        said += [message.content.text for message in self.messages]
        return said + (self.completion.values if self.completion else [])


class Answer(msgspec.Struct):
    id: int | str | None = None
    result: Result | None = None


class Envelope(msgspec.Struct):
    id: int | str | None = None
    # Not `| None`: msgspec takes a Raw in a union for nothing.
    result: msgspec.Raw = msgspec.Raw(b"")


class Named(msgspec.Struct):
    name: str


class Listing(msgspec.Struct):
    tools: list[Named]
    next_cursor: str | None = msgspec.field(name="nextCursor", default=None)


decode_answer = msgspec.json.Decoder(Answer).decode
decode_envelope = msgspec.json.Decoder(Envelope).decode
encode = msgspec.json.Encoder().encode
INITIALIZE = encode(
    {
        "jsonrpc": "2.0",
        "id": 0,
        "method": "initialize",
        "params": {"protocolVersion": LEGACY_VERSION, "capabilities": {}, "clientInfo": CLIENT},
    }
)
INITIALIZED = encode({"jsonrpc": "2.0", "method": "notifications/initialized"})


class Calls:
    """Requests of one kind (`KINDS`) to one endpoint. `name` is what the endpoint calls the tool, the resource or the prompt."""

    def __init__(self, url: str, kind: str, name: str, *, modern: bool, credential: str = "") -> None:
        parts = urlsplit(url)
        self.host, self.port, self.path = parts.hostname, parts.port, parts.path
        self.kind, self.name, self.modern = kind, name, modern
        self.always = f"Authorization: Bearer {credential}\r\n" if credential else ""
        self.number = FIRST_NUMBER
        self.method = KINDS[kind][0]
        self.template = b"" if kind == "file" else self.spell()
        self.listing: bytes | None = None
        self.tools = self.size = 0

    def spell(self) -> bytes:
        text = TEXT + "%(id)d"
        params: dict = {}
        if self.method in ("tools/call", "prompts/get"):
            params = {"name": self.name, "arguments": {"text": text}}
        elif self.method == "resources/read":
            params = {"uri": self.name}
        elif self.method == "completion/complete":
            params = {"ref": {"type": "ref/prompt", "name": self.name}, "argument": {"name": "text", "value": text}}
        if self.modern:
            params["_meta"] = {
                "io.modelcontextprotocol/protocolVersion": MODERN,
                "io.modelcontextprotocol/clientInfo": CLIENT,
                "io.modelcontextprotocol/clientCapabilities": {},
            }
        body = encode({"jsonrpc": "2.0", "id": 0, "method": self.method, "params": params})
        return body.replace(b'"id":0', b'"id":%(id)d', 1)

    def body(self) -> bytes:
        """The body of the next request, whose number is `number` from now on."""
        self.number += 1
        return self.template % {b"id": self.number}

    def head(self, headers: str = "") -> bytes:
        """The head of every request with these headers."""
        if self.kind == "file":
            return self.get("*/*")
        if self.modern:
            headers = f"MCP-Protocol-Version: {MODERN}\r\nMcp-Method: {self.method}\r\n"
            if self.method in ("tools/call", "prompts/get", "resources/read"):
                headers += f"Mcp-Name: {self.name}\r\n"
        return self.post(headers, len(self.template % {b"id": FIRST_NUMBER}))

    def post(self, headers: str, length: int, path: str | None = None) -> bytes:
        return (
            f"POST {path or self.path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\nContent-Type: application/json\r\n"
            f"Accept: application/json, text/event-stream\r\n{self.always}{headers}Content-Length: {length}\r\n\r\n"
        ).encode()

    def end(self, headers: str) -> bytes:
        return f"DELETE {self.path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\n{self.always}{headers}\r\n".encode()

    def get(self, accept: str, headers: str = "") -> bytes:
        return f"GET {self.path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\nAccept: {accept}\r\n{self.always}{headers}\r\n".encode()

    def check(self, number: int, status: int, body: bytes) -> None:
        """Raises Broken unless this is the answer to request `number`, whole."""
        if status != 200:
            raise Broken(f"status {status}: {body[:200]!r}")
        try:
            if self.method == "tools/list" or self.kind == "file":
                self.check_listing(number, body)
            else:
                self.check_text(number, body)
        except msgspec.DecodeError as error:
            raise Broken(f"{error}: {body[:200]!r}") from None

    def check_text(self, number: int, body: bytes) -> None:
        answer = decode_answer(body)
        result = answer.result
        if answer.id != number or result is None or result.is_error != (self.kind == "failed"):
            raise Broken(f"no answer to {number}: {body[:200]!r}")
        texts = result.texts()
        if len(texts) != 1:
            raise Broken(f"no answer to {number}: {body[:200]!r}")
        text, said = texts[0], NOTE_TEXT if self.kind == "read" else f"{TEXT}{number}"
        if self.kind == "large":
            whole = len(text) == len(said) + len(FILLER) and text.startswith(said) and text.endswith(FILLER)
        else:
            whole = text == said
        if not whole:
            raise Broken(f"another text than {said!r}: {text[:200]!r}")

    def check_listing(self, number: int, body: bytes) -> None:
        """The first listing is read, and the others must be the same bytes."""
        answer = decode_envelope(body)
        listing = bytes(answer.result)
        if not listing or (self.kind == "list" and answer.id != number):
            raise Broken(f"no answer to {number}: {body[:200]!r}")
        if self.listing is None:
            read = msgspec.json.decode(listing, type=Listing)
            if read.next_cursor is not None:
                raise Broken("a listing of more than one page")
            self.listing, self.tools, self.size = listing, len({tool.name for tool in read.tools}), len(listing)
        elif listing != self.listing:
            raise Broken("another listing than the first")
