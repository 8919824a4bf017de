"""A server on standard input and output that puts what commands a terminal, and lines of other people's programs, into everything that it says.

The descriptions, texts and errors of it are `FORGED`, and its names `NAME`. The tool `fails` fails, `refuses` is refused, `asks` asks, and every call says something before it ends.
"""

import json
import sys
from typing import Any

FORGED = (
    "harmless\x1b[2J\x9b31m\u202e\x07\r\nerror: forged\n12:00:00 error   forged  upstream=other\x85forged\u2028forged"
)
NAME = "tool\x1b[31m\u202e\nforged"
URI = "forged://a\x1b[31m\u202e"


def send(message: Any) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def definitions() -> dict[str, Any]:
    about = {"description": FORGED, "title": FORGED}
    schema = {"type": "object"}
    return {
        "tools/list": {
            "tools": [
                {"name": name, "inputSchema": schema, **about} for name in (NAME, "says", "fails", "refuses", "asks")
            ]
        },
        "prompts/list": {"prompts": [{"name": "prompt", **about}]},
        "resources/list": {
            "resources": [{"uri": URI, "name": FORGED, **about}, {"uri": "forged://plain", "name": FORGED}]
        },
        "resources/templates/list": {"resourceTemplates": [{"uriTemplate": "forged://x/{a}", "name": FORGED, **about}]},
    }


def called(number: Any, name: str, token: Any) -> None:
    send({"method": "notifications/message", "params": {"level": "error", "logger": FORGED, "data": {FORGED: FORGED}}})
    if token is not None:
        send({"method": "notifications/progress", "params": {"progressToken": token, "progress": 1, "message": FORGED}})
    if name == "asks":
        send(
            {
                "id": "q",
                "method": "elicitation/create",
                "params": {"message": FORGED, "requestedSchema": {"type": "object", "properties": {}}},
            }
        )
        sys.stdin.readline()
    if name == "refuses":
        send({"id": number, "error": {"code": -32000, "message": FORGED, "data": FORGED}})
        return
    content = [
        {"type": "text", "text": "fine"},
        {"type": "image", "mimeType": FORGED, "data": "AAAA"},
        {"type": "resource_link", "uri": FORGED, "name": FORGED, "title": FORGED},
        {"type": FORGED},
        {"type": "resource", "resource": {"uri": FORGED, "mimeType": FORGED, "blob": "AAAA"}},
    ]
    send({"id": number, "result": {"content": content, "isError": name == "fails"}})


def main() -> None:
    sys.stderr.write(FORGED + "\n")
    sys.stderr.flush()
    if "--dies" in sys.argv:
        sys.exit(1)
    lists = definitions()
    for line in sys.stdin:
        message = json.loads(line)
        number, method, params = message.get("id"), message.get("method"), message.get("params") or {}
        if number is None or method is None:
            continue
        if method == "initialize":
            capabilities = {"tools": {}, "prompts": {}, "resources": {}, "logging": {}}
            server = {"name": FORGED, "version": FORGED}
            send(
                {
                    "id": number,
                    "result": {
                        "protocolVersion": "2025-06-18",
                        "capabilities": capabilities,
                        "serverInfo": server,
                        "instructions": FORGED,
                    },
                }
            )
        elif method in lists:
            send({"id": number, "result": lists[method]})
        elif method == "tools/call":
            called(number, params["name"], (params.get("_meta") or {}).get("progressToken"))
        elif method == "prompts/get":
            send(
                {"id": number, "result": {"messages": [{"role": FORGED, "content": {"type": "text", "text": "fine"}}]}}
            )
        elif method == "resources/read":
            send({"id": number, "result": {"contents": [{"uri": FORGED, "mimeType": FORGED, "blob": "AAAA"}]}})
        elif method in ("logging/setLevel", "ping"):
            send({"id": number, "result": {}})
        else:
            send({"id": number, "error": {"code": -32601, "message": FORGED}})


if __name__ == "__main__":
    main()
