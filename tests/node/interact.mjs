// node interact.mjs sdk|client legacy|modern MARKER URL
// node interact.mjs sdk|client legacy|modern MARKER COMMAND [ARGUMENT...]
//
// Connects to a mesh that has tests.servers.basic as its upstream `web`, does everything with it that a client can do, and prints what it
// saw as JSON: the same for each of the two SDKs, in each era, and over each transport. MARKER is a path for the call that is cancelled.
import { setTimeout as sleep } from "node:timers/promises";
import { existsSync } from "node:fs";

const [, , sdk, era, marker, ...target] = process.argv;

const INFO = { name: "interact", version: "1" };
const CAPABILITIES = { elicitation: {}, sampling: {}, roots: { listChanged: true } };
const ANSWERS = {
  "elicitation/create": (params) => ({ action: "accept", content: { answer: `${params.message} 42` } }),
  "sampling/createMessage": (params) => ({
    role: "assistant",
    model: "test-model",
    stopReason: "endTurn",
    content: { type: "text", text: `sampled ${params.messages[0].content.text}` },
  }),
  "roots/list": () => ({ roots: [{ uri: "file:///here", name: "here" }] }),
};

// What is told, by method, and a way to wait for it.
const heard = {};
const NOTIFICATIONS = [
  "notifications/tools/list_changed",
  "notifications/resources/updated",
  "notifications/message",
];
function hear(notification) {
  (heard[notification.method] ??= []).push(notification.params ?? {});
}
async function until(condition) {
  for (let tries = 0; tries < 2000; tries++) {
    if (condition()) return;
    await sleep(10);
  }
  throw new Error("waited for nothing");
}

// The two SDKs, each behind the same few functions.
async function withSdk() {
  const { Client } = await import("@modelcontextprotocol/sdk/client/index.js");
  const types = await import("@modelcontextprotocol/sdk/types.js");
  const { StreamableHTTPClientTransport } = await import("@modelcontextprotocol/sdk/client/streamableHttp.js");
  const { StdioClientTransport } = await import("@modelcontextprotocol/sdk/client/stdio.js");
  const client = new Client(INFO, { capabilities: CAPABILITIES });
  const requests = [types.ElicitRequestSchema, types.CreateMessageRequestSchema, types.ListRootsRequestSchema];
  Object.values(ANSWERS).forEach((answer, i) => client.setRequestHandler(requests[i], ({ params }) => answer(params)));
  for (const schema of [
    types.ToolListChangedNotificationSchema,
    types.ResourceUpdatedNotificationSchema,
    types.LoggingMessageNotificationSchema,
  ])
    client.setNotificationHandler(schema, hear);
  await client.connect(transportOf(StreamableHTTPClientTransport, StdioClientTransport));
  return {
    client,
    call: (params, options) => client.callTool(params, undefined, options),
  };
}

async function withClient() {
  const { Client, StreamableHTTPClientTransport } = await import("@modelcontextprotocol/client");
  const { StdioClientTransport } = await import("@modelcontextprotocol/client/stdio");
  const mode = era === "modern" ? { pin: "2026-07-28" } : "legacy";
  const client = new Client(INFO, { capabilities: CAPABILITIES, versionNegotiation: { mode } });
  for (const [method, answer] of Object.entries(ANSWERS)) client.setRequestHandler(method, ({ params }) => answer(params));
  for (const method of NOTIFICATIONS) client.setNotificationHandler(method, hear);
  await client.connect(transportOf(StreamableHTTPClientTransport, StdioClientTransport));
  return {
    client,
    call: (params, options) => client.callTool(params, options),
  };
}

function transportOf(Http, Stdio) {
  if (target[0].startsWith("http")) return new Http(new URL(target[0]));
  return new Stdio({ command: target[0], args: target.slice(1), env: process.env, stderr: "inherit" });
}

const { client, call } = await (sdk === "sdk" ? withSdk() : withClient());
const saw = {};
const text = (result) => result.content[0].text;
const use = (name, args = {}, options = undefined) => call({ name: `web_${name}`, arguments: args }, options);
const uris = (listed, key) => listed.map((item) => item[key]);

// Listings.
saw.tools = uris((await client.listTools()).tools, "name").filter((name) => ["web_add", "web_echo"].includes(name));
saw.resources = uris((await client.listResources()).resources, "uri").filter((uri) => uri.endsWith("text"));
saw.templates = uris((await client.listResourceTemplates()).resourceTemplates, "uriTemplate").filter((uri) => uri.includes("item"));
saw.prompts = uris((await client.listPrompts()).prompts, "name").filter((name) => name === "web_greet");
saw.server = client.getServerVersion()?.name ?? null;

// Calls.
saw.echo = text(await use("echo", { text: "hi" }));
saw.structured = (await use("add", { a: 1, b: 2 })).structuredContent;
saw.isError = (await use("fail")).isError;
try {
  await use("nobody");
} catch (error) {
  saw.unknown = error.code;
}
saw.progress = [];
const step = ({ progress, total, message }) => saw.progress.push([progress, total, message]);
// Both SDKs forget a call's progress handler while they read its answer, and run handlers after that: what arrives in one piece with the
// answer is told to `onerror` as progress "for an unknown token". It did arrive.
const unknown = /progress notification for an unknown token: (.*)$/;
client.onerror = ({ message }) => unknown.test(message) && step(JSON.parse(unknown.exec(message)[1]).params);
await use("progress", { n: 3 }, { onprogress: step });
client.onerror = undefined;

// Questions.
saw.elicited = JSON.parse(text(await use("ask", { message: "What is it?" })));
saw.rounds = JSON.parse(text(await use("ask", { message: "m", n: 2, rounds: 2 }))).map((answer) => answer.content.answer);
saw.sampled = JSON.parse(text(await use("sample", { prompt: "something" })));
saw.roots = JSON.parse(text(await use("roots"))).roots.map((root) => root.uri);

// What can be read.
saw.text = (await client.readResource({ uri: saw.resources[0] })).contents[0].text;
saw.item = (await client.readResource({ uri: saw.templates[0].replace("{id}", "5") })).contents[0].text;
const links = (await use("links")).content;
saw.links = [];
for (const link of links) saw.links.push((await client.readResource({ uri: link.uri ?? link.resource.uri })).contents[0].text);
saw.prompt = (await client.getPrompt({ name: "web_greet", arguments: { name: "Ada" } })).messages[0].content.text;
saw.completed = (
  await client.complete({ ref: { type: "ref/prompt", name: "web_greet" }, argument: { name: "name", value: "A" } })
).completion.values;

// What is told: a listing changed, a resource changed, log lines.
if (era === "modern") {
  await client.listen({ toolsListChanged: true, resourceSubscriptions: [saw.resources[0]] });
} else {
  await client.subscribeResource({ uri: saw.resources[0] });
  await client.setLoggingLevel("info");
}
await use("touch", { uri: "basic://text" });
await until(() => heard["notifications/resources/updated"]);
saw.updated = heard["notifications/resources/updated"][0].uri;
// The listing may have changed before: a mesh that has just started announces its upstreams.
delete heard["notifications/tools/list_changed"];
await use("add_tool", { name: "fresh" });
await until(() => heard["notifications/tools/list_changed"]);
saw.fresh = (await client.listTools()).tools.some((tool) => tool.name === "web_fresh") && text(await use("fresh"));
const level = era === "modern" ? { _meta: { "io.modelcontextprotocol/logLevel": "info" } } : {};
await call({ name: "web_log", arguments: { n: 2, data: "a line" }, ...level });
await until(() => heard["notifications/message"]?.length >= 2);
saw.logs = heard["notifications/message"].map(({ level, data }) => [level, data]);

// A call that is cancelled ends at the server.
const abort = new AbortController();
const held = use("hold", { marker }, { signal: abort.signal }).catch(() => "cancelled");
await until(() => existsSync(`${marker}.started`));
abort.abort();
saw.cancelled = await held;
await until(() => existsSync(`${marker}.cancelled`));

await use("remove_tool", { name: "fresh" });
await client.close();
console.log(JSON.stringify(saw));
