// What an upstream asks in the middle of a call, answered by whoever looks at the page.
import { Form } from "./form.js";
import { html, pretty, useState } from "./lib.js";
import { first } from "./schema.js";

/** All questions of one round; `answer` is given what was said, by question. */
export function Questions({ asked, answer }) {
  const [said, say] = useState({});
  const take = (key) => (value) => {
    const next = { ...said, [key]: value };
    say(next);
    if (Object.keys(asked).every((one) => one in next)) answer(next);
  };
  return html`<div class="questions" role="group" aria-label="Questions">
    ${Object.entries(asked).filter(([key]) => !(key in said)).map(([key, one]) => html`<${Question} key=${key} one=${one} take=${take(key)} />`)}</div>`;
}

function Question({ one, take }) {
  const { method, params } = one;
  if (method === "sampling/createMessage") return html`<${Sampling} params=${params} take=${take} />`;
  if (method !== "elicitation/create") {
    return html`<div class="question"><p>It asks <code>${method}</code>, which this page cannot answer.</p><button type="button" onClick=${() => take(method === "roots/list" ? { roots: [] } : {})}>Go on without</button></div>`;
  }
  if (params.mode === "url") return html`<${Page} params=${params} take=${take} />`;
  return html`<${Elicitation} params=${params} take=${take} />`;
}

function Elicitation({ params, take }) {
  const schema = params.requestedSchema ?? {};
  const [value, set] = useState(() => first(schema, schema) ?? {});
  return html`<form class="question" aria-label="A question" onSubmit=${(event) => { event.preventDefault(); take({ action: "accept", content: value }); }}>
    <p class="asks">${params.message}</p><${Form} schema=${schema} value=${value} onChange=${set} label="Your answer" />
    <div class="actions"><button class="primary">Answer</button><button type="button" onClick=${() => take({ action: "decline" })}>Decline</button><button type="button" onClick=${() => take({ action: "cancel" })}>Cancel</button></div></form>`;
}

function Page({ params, take }) {
  const isSafe = /^https?:/i.test(params.url ?? "");
  return html`<div class="question" role="group" aria-label="A page to visit"><p class="asks">${params.message}</p><p class="mono wrap">${params.url}</p>
    <div class="actions">${isSafe && html`<a class="button primary" href=${params.url} target="_blank" rel="noopener noreferrer" onClick=${() => take({ action: "accept" })}>Open it, and go on ↗</a>`}
      <button type="button" onClick=${() => take({ action: "decline" })}>Decline</button></div></div>`;
}

function Sampling({ params, take }) {
  const [text, write] = useState("");
  const said = (params.messages ?? []).map((message) => `${message.role}: ${[message.content].flat().map((block) => block.text ?? pretty(block)).join("\n")}`);
  return html`<form class="question" aria-label="A prompt for a model" onSubmit=${(event) => { event.preventDefault(); take({ role: "assistant", content: { type: "text", text }, model: "a person", stopReason: "endTurn" }); }}>
    <p class="asks">It wants a model's words, and here you are the model.</p>
    ${params.systemPrompt && html`<p class="muted">${params.systemPrompt}</p>`}<pre class="log" tabindex="0">${said.join("\n\n")}</pre>
    <label>Your words <textarea rows="4" required value=${text} onInput=${(event) => write(event.target.value)}></textarea></label>
    <div class="actions"><button class="primary">Answer</button></div></form>`;
}
