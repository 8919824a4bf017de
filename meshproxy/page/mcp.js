// A client of the mesh's own endpoint, of the modern era (2026-07-28): each request is a POST of its own, answered by JSON or an event stream.
import { credentials, events } from "./api.js";

const VERSION = "2026-07-28";
const META = "io.modelcontextprotocol/";
const NAMED_BY = { "tools/call": "name", "prompts/get": "name", "resources/read": "uri" };
let ids = 0;

export class McpError extends Error {
  constructor(message, code, data) {
    super(message);
    this.code = code;
    this.data = data;
  }
}

/** A text as a header can carry it (SEP-2243). */
function encoded(text) {
  if (/^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$/.test(text) && !/^=\?base64\?.*\?=$/.test(text)) return text;
  const binary = Array.from(new TextEncoder().encode(text), (byte) => String.fromCharCode(byte)).join("");
  return `=?base64?${btoa(binary)}?=`;
}

/** The `Mcp-Param-*` headers of a call, as the tool's schema asks for them. */
function paramHeaders(schema, value, found = {}) {
  for (const [name, property] of Object.entries(schema?.properties ?? {})) {
    const given = value?.[name];
    const token = property?.["x-mcp-header"];
    if (token && given != null) found[`Mcp-Param-${token}`] = encoded(String(given));
    if (property?.properties && given) paramHeaders(property, given, found);
  }
  return found;
}

/**
 * Send a request, and give its result. What comes before is given to `heard`: progress and log messages.
 * An error answer is thrown as `McpError`, and so is what is no answer at all.
 */
export async function request(path, method, params, { heard = () => {}, signal, schema, level } = {}) {
  const id = ++ids;
  const meta = {
    [`${META}protocolVersion`]: VERSION,
    [`${META}clientInfo`]: { name: "meshproxy page", version: "1" },
    [`${META}clientCapabilities`]: { elicitation: { form: {}, url: {} }, sampling: {} },
    progressToken: id,
  };
  if (level) meta[`${META}logLevel`] = level;
  const headers = {
    ...credentials(),
    Accept: "application/json, text/event-stream",
    "Content-Type": "application/json",
    "MCP-Protocol-Version": VERSION,
    "Mcp-Method": method,
    ...(NAMED_BY[method] ? { "Mcp-Name": encoded(params[NAMED_BY[method]]) } : {}),
    ...(schema ? paramHeaders(schema, params.arguments) : {}),
  };
  const body = JSON.stringify({ jsonrpc: "2.0", id, method, params: { ...params, _meta: meta } });
  const response = await fetch(path, { method: "POST", headers, body, signal });
  if (!response.headers.get("content-type")?.startsWith("text/event-stream")) {
    const answer = await response.json().catch(() => null);
    if (!answer) throw new McpError(`The mesh answered HTTP ${response.status}`, response.status);
    return outcome(answer);
  }
  for await (const { data } of events(response.body)) {
    const message = JSON.parse(data);
    if (message.id === id && !message.method) return outcome(message);
    heard(message);
  }
  throw new McpError("The connection ended before the answer came");
}

function outcome(answer) {
  if (answer.error) throw new McpError(answer.error.message, answer.error.code, answer.error.data);
  return answer.result;
}
