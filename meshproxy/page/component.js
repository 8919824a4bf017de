// One component: what it is, and what it does when it is used, by the way of any other client.
import { Questions } from "./asking.js";
import { Form } from "./form.js";
import { count, duration, html, pretty, useEffect, useRef, useState } from "./lib.js";
import { request } from "./mcp.js";
import { Code, Copy } from "./parts.js";
import { Block, Contents, ToolResult } from "./result.js";
import { first } from "./schema.js";
import { useStore } from "./store.js";

const HINTS = [["readOnlyHint", "reads only"], ["destructiveHint", "may destroy"], ["idempotentHint", "safe to repeat"], ["openWorldHint", "reaches outside"]];
const LEVELS = ["debug", "info", "notice", "warning", "error"];
const open = (uri) => { location.hash = `#/catalog/uri/${encodeURIComponent(uri)}`; };

/** A request that is under way: what comes meanwhile, what is asked, and how it ends. */
function useUse(path) {
  const [state, set] = useState({ phase: "idle" });
  const ending = useRef(null);
  useEffect(() => () => ending.current?.abort(), []);
  const run = async (method, params, options = {}) => {
    ending.current?.abort();
    const own = new AbortController();
    ending.current = own;
    const began = performance.now();
    let heard = [];
    let progress = null;
    const patch = (next) => { if (ending.current === own && !own.signal.aborted) set((before) => ({ ...before, ...next })); };
    set({ phase: "running", heard, progress, began });
    const hear = ({ method: what, params: told }) => {
      if (what === "notifications/progress") patch({ progress: told });
      else if (what === "notifications/message") patch({ heard: (heard = [...heard, told].slice(-500)) });
    };
    try {
      let round = 0;
      let sent = params;
      let result = await request(path, method, sent, { heard: hear, signal: own.signal, ...options });
      while (result?.resultType === "input_required") {
        const { inputRequests = {}, requestState } = result;
        let said = {};
        if (Object.keys(inputRequests).length) {
          said = await new Promise((answer) => patch({ phase: "asked", asked: inputRequests, answer, round: (round += 1) }));
        }
        patch({ phase: "running", asked: null });
        sent = { ...params, ...(Object.keys(said).length ? { inputResponses: said } : {}), ...(requestState !== undefined ? { requestState } : {}) };
        result = await request(path, method, sent, { heard: hear, signal: own.signal, ...options });
      }
      patch({ phase: "done", result, seconds: (performance.now() - began) / 1000 });
    } catch (error) {
      if (error.name !== "AbortError") patch({ phase: "failed", error, seconds: (performance.now() - began) / 1000 });
    }
  };
  const stop = () => {
    ending.current?.abort();
    set((before) => ({ ...before, phase: "stopped", asked: null }));
  };
  return [state, run, stop];
}

export function Component({ one }) {
  const { status } = useStore();
  const heading = useRef();
  const [profile, choose] = useState("");
  useEffect(() => heading.current.focus({ preventScroll: true }), []);
  const { definition } = one;
  const path = `${(status?.path ?? "/mcp").replace(/\/$/, "")}${profile ? `/${encodeURIComponent(profile)}` : ""}` || "/";
  const Use = { tool: Tool, resource: Resource, template: Template, prompt: Prompt }[one.kind];
  const hints = HINTS.filter(([key]) => definition.annotations?.[key] === true);
  return html`<section class="details" aria-label=${`${one.kind} ${one.name}`}>
    <a class="back" href="#/catalog">‹ Catalog</a>
    <h2 tabindex="-1" ref=${heading} class="wrap">${one.name} <${Copy} text=${one.name} /></h2>
    <p class="muted">${one.kind}${one.upstream && html` of <a href=${`#/upstreams/${encodeURIComponent(one.upstream)}`}>${one.upstream}</a>, there called <code>${one.origin}</code>`}${one.tokens ? ` · about ${count(one.tokens)} tokens` : ""}
      ${hints.map(([key, words]) => html` <span class=${key === "destructiveHint" ? "badge bad" : "badge"} key=${key}>${words}</span>`)}</p>
    ${definition.title && html`<p><strong>${definition.title}</strong></p>`}
    ${definition.description && html`<p class="description">${definition.description}</p>`}
    ${status?.profiles.length > 0 && html`<label class="inline">Use it at <select value=${profile} onChange=${(event) => choose(event.target.value)}><option value="">the whole mesh</option>${status.profiles.map((name) => html`<option key=${name} value=${name}>profile ${name}</option>`)}</select></label>`}
    <${Use} one=${one} path=${path} />
    <details class="definition"><summary>Definition</summary><${Code} text=${pretty(definition)} label="Definition" /></details>
  </section>`;
}

/** What is under way, with its progress, its log and its questions; and how it ended. */
function Running({ state, stop, children }) {
  if (state.phase === "idle") return null;
  const { progress, heard = [], asked } = state;
  const part = progress && progress.total ? Math.min(1, progress.progress / progress.total) : null;
  return html`<div class="running" aria-live="polite">
    <div class="form-head"><span class=${`phase ${state.phase}`}>${{ running: "Running…", asked: "It asks you", done: "Done", failed: "Failed", stopped: "Given up" }[state.phase]}${state.seconds !== undefined ? ` in ${duration(state.seconds)}` : ""}</span>
      ${["running", "asked"].includes(state.phase) && html`<button type="button" class="small" onClick=${stop}>Give up</button>`}</div>
    ${progress && html`<p class="progress"><progress aria-label="Progress" value=${part ?? undefined} max="1"></progress> <span>${progress.message ?? ""} ${progress.total ? `${progress.progress} of ${progress.total}` : progress.progress}</span></p>`}
    ${heard.length > 0 && html`<ol class="heard" aria-label="Log">${heard.map((told, index) => html`<li key=${index} class=${told.level}><span class="level">${told.level}</span> ${typeof told.data === "string" ? told.data : JSON.stringify(told.data)}</li>`)}</ol>`}
    ${asked && html`<${Questions} asked=${asked} answer=${state.answer} key=${state.round} />`}
    ${state.phase === "failed" && html`<div class="note bad" role="alert"><p>${state.error.message}</p>${state.error.code !== undefined && html`<p class="muted">code ${state.error.code}</p>`}${state.error.data !== undefined && html`<pre>${pretty(state.error.data)}</pre>`}</div>`}
    ${state.phase === "done" && children}
  </div>`;
}

function Tool({ one, path }) {
  const schema = one.definition.inputSchema ?? {};
  const [value, set] = useState(() => first(schema, schema) ?? {});
  const [level, choose] = useState("info");
  const [state, run, stop] = useUse(path);
  const call = (event) => {
    event.preventDefault();
    run("tools/call", { name: one.name, arguments: value }, { schema, level });
  };
  const enter = (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) event.currentTarget.requestSubmit(); };
  return html`<form class="use" onSubmit=${call} onKeyDown=${enter} aria-label=${`Call ${one.name}`}><${Form} schema=${schema} value=${value} onChange=${set} />
      <div class="actions"><button class="primary" title="Ctrl+Enter">Call</button>
        <label class="inline muted">Log from <select class="quiet" value=${level} onChange=${(event) => choose(event.target.value)}>${LEVELS.map((word) => html`<option key=${word}>${word}</option>`)}</select></label></div></form>
    <${Running} state=${state} stop=${stop}><${ToolResult} result=${state.result} open=${open} /><//>`;
}

function Resource({ one, path }) {
  const [state, run, stop] = useUse(path);
  return html`<div class="actions"><button type="button" class="primary" onClick=${() => run("resources/read", { uri: one.name })}>Read</button></div>
    <${Running} state=${state} stop=${stop}>${state.result?.contents?.map((part, index) => html`<${Contents} one=${part} key=${index} />`)}<//>`;
}

/** A text that the upstream can complete. */
function Completed({ id, label, path, reference, argument, others, value, onInput, required }) {
  const [known, know] = useState([]);
  useEffect(() => {
    const ending = new AbortController();
    const timer = setTimeout(() => {
      const params = { ref: reference, argument: { name: argument, value }, context: { arguments: others } };
      request(path, "completion/complete", params, { signal: ending.signal }).then(({ completion }) => know(completion?.values ?? []), () => know([]));
    }, 150);
    return () => { clearTimeout(timer); ending.abort(); };
  }, [value, JSON.stringify(others)]);
  return html`<div class="field"><label for=${id}>${label}${required ? html`<span class="needed" aria-hidden="true">*</span>` : ""}</label>
    <input id=${id} list=${`${id}-known`} value=${value} required=${required} autocomplete="off" spellcheck=${false} onInput=${(event) => onInput(event.target.value)} />
    <datalist id=${`${id}-known`}>${known.slice(0, 100).map((text) => html`<option key=${text} value=${text}></option>`)}</datalist></div>`;
}

const without = (values, name) => Object.fromEntries(Object.entries(values).filter(([key, value]) => key !== name && value !== ""));

function Template({ one, path }) {
  const names = [...new Set([...one.name.matchAll(/\{[+#./;?&]?([^}]+)\}/g)].flatMap((match) => match[1].split(",")).map((part) => part.replace(/(\*|:\d+)$/, "")))];
  const [values, set] = useState({});
  const uri = expanded(one.name, values);
  const [state, run, stop] = useUse(path);
  return html`<form class="use" aria-label=${`Read by ${one.name}`} onSubmit=${(event) => { event.preventDefault(); run("resources/read", { uri }); }}>
      ${names.map((name) => html`<${Completed} key=${name} id=${`part-${name}`} label=${name} path=${path} reference=${{ type: "ref/resource", uri: one.name }} argument=${name} others=${without(values, name)} value=${values[name] ?? ""} onInput=${(text) => set({ ...values, [name]: text })} />`)}
      <p class="mono wrap muted">${uri}</p><div class="actions"><button class="primary">Read</button></div></form>
    <${Running} state=${state} stop=${stop}>${state.result?.contents?.map((part, index) => html`<${Contents} one=${part} key=${index} />`)}<//>`;
}

/** RFC 6570, as far as people fill in single values: {x}, {+x}, {#x}, {/x}, {.x}, {;x}, {?x,y}, {&x}. */
function expanded(template, values) {
  return template.replace(/\{([+#./;?&]?)([^}]+)\}/g, (_, operator, inner) => {
    const isFree = operator === "+" || operator === "#";
    const encode = (text) => (isFree ? encodeURI(text).replaceAll("%25", "%") : encodeURIComponent(text).replace(/[!'()*]/g, (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`));
    const parts = inner.split(",").map((part) => {
      const [, name, , length] = part.match(/^(.*?)(\*|:(\d+))?$/);
      const text = values[name];
      if (!text) return null;
      const shown = encode(length ? text.slice(0, Number(length)) : text);
      return ";?&".includes(operator) && operator ? `${name}=${shown}` : shown;
    }).filter((part) => part !== null);
    if (!parts.length) return "";
    const between = { "": ",", "+": ",", "#": ",", ".": ".", "/": "/", ";": ";", "?": "&", "&": "&" }[operator];
    return `${operator === "+" ? "" : operator}${parts.join(between)}`;
  });
}

function Prompt({ one, path }) {
  const wanted = one.definition.arguments ?? [];
  const [values, set] = useState({});
  const [state, run, stop] = useUse(path);
  const render = (event) => {
    event.preventDefault();
    run("prompts/get", { name: one.name, arguments: without(values) });
  };
  return html`<form class="use" aria-label=${`Render ${one.name}`} onSubmit=${render}>
      ${wanted.map((argument) => html`<div key=${argument.name}><${Completed} id=${`argument-${argument.name}`} label=${argument.title ?? argument.name} path=${path} reference=${{ type: "ref/prompt", name: one.name }} argument=${argument.name} others=${without(values, argument.name)} required=${argument.required} value=${values[argument.name] ?? ""} onInput=${(text) => set({ ...values, [argument.name]: text })} />${argument.description && html`<p class="help">${argument.description}</p>`}</div>`)}
      <div class="actions"><button class="primary">Render</button></div></form>
    <${Running} state=${state} stop=${stop}>${state.result?.description && html`<p class="muted">${state.result.description}</p>`}
      ${state.result?.messages?.map((message, index) => html`<div class="message" key=${index}><span class="badge">${message.role}</span>${[message.content].flat().map((block, at) => html`<${Block} key=${at} block=${block} open=${open} />`)}</div>`)}<//>`;
}
