// A page that uses a mesh of another origin, bundled for a browser: page.html?mesh=URL&era=legacy|modern
//
// It connects with the TypeScript SDK, does what a client does, reads refusals with plain `fetch`, and posts what it saw to where it came from.
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";

const mesh = new URLSearchParams(location.search).get("mesh");
const era = new URLSearchParams(location.search).get("era");

async function visit() {
  const client = new Client(
    { name: "page", version: "1" },
    { versionNegotiation: { mode: era === "modern" ? { pin: "2026-07-28" } : "legacy" } },
  );
  const transport = new StreamableHTTPClientTransport(new URL(mesh), {
    requestInit: { headers: { Authorization: "Bearer of-a-page" } },
  });
  await client.connect(transport);
  const tools = (await client.listTools()).tools.map((tool) => tool.name);
  const result = await client.callTool({ name: "clock_now", arguments: { timezone: "UTC" } });
  const seen = { tools, called: !result.isError, session: Boolean(transport.sessionId) };
  await transport.terminateSession?.();
  await client.close();
  return seen;
}

async function refused(body, headers) {
  const response = await fetch(mesh, {
    method: "POST",
    body,
    headers: { "Content-Type": "application/json", Accept: "application/json, text/event-stream", ...headers },
  });
  return [response.status, (await response.text()).length > 0];
}

let seen;
try {
  seen = await visit();
  const ping = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "ping" });
  seen.unknown = await refused(ping, { "Mcp-Session-Id": "gone", "Last-Event-ID": "1-1", "MCP-Protocol-Version": "2025-11-25" });
  seen.large = await refused("x".repeat(200_000), {});
  seen.media = await refused(ping, { "Content-Type": "text/plain" });
} catch (error) {
  seen = { ...seen, error: String(error) };
}
await fetch("/seen", { method: "POST", body: JSON.stringify(seen) });
