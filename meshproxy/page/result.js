// Results, as people want to see them: texts, pictures, sounds, links, what is structured; and what came meanwhile.
import { html, pretty, useState } from "./lib.js";
import { Copy } from "./parts.js";

const SAFE = /^(https?|mailto):/i;
const MEDIA = /^(image\/(png|jpeg|gif|webp|avif|bmp|svg\+xml)|audio\/[\w.+-]+|video\/[\w.+-]+)$/i;

/** A text that is JSON is shown as such; others as they are. */
export function Text({ text }) {
  const value = useParsed(text);
  return html`<div class="code"><pre tabindex="0">${value === undefined ? text : pretty(value)}</pre><${Copy} text=${text} /></div>`;
}

function useParsed(text) {
  if (!/^\s*[[{]/.test(text)) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function Media({ data, type, alt = "" }) {
  const isKnown = MEDIA.test(type ?? "");
  const source = `data:${isKnown ? type : "application/octet-stream"};base64,${data}`;
  if (isKnown && type.startsWith("image/")) return html`<img class="picture" src=${source} alt=${alt || `A picture, ${type}`} />`;
  if (isKnown && type.startsWith("audio/")) return html`<audio controls src=${source} aria-label=${alt || `A sound, ${type}`}></audio>`;
  if (isKnown && type.startsWith("video/")) return html`<video controls src=${source} aria-label=${alt || `A film, ${type}`}></video>`;
  return html`<p><a class="button" href=${source} download>Save (${type ?? "unknown type"})</a></p>`;
}

export function Link({ uri, title, description, open }) {
  return html`<p class="linked"><button type="button" class="plain" onClick=${() => open(uri)}><strong>${title ?? uri}</strong></button> <code class="wrap">${uri}</code>
    ${description && html`<span class="muted">${description}</span>`}
    ${SAFE.test(uri) && html`<a href=${uri} target="_blank" rel="noopener noreferrer">Open it ↗</a>`}</p>`;
}

/** The contents of a resource that was read, or is embedded. */
export function Contents({ one }) {
  return html`<div class="contents"><p class="muted mono wrap">${one.uri}${one.mimeType ? ` · ${one.mimeType}` : ""}</p>
    ${one.text !== undefined ? html`<${Text} text=${one.text} />` : html`<${Media} data=${one.blob} type=${one.mimeType} alt=${one.uri} />`}</div>`;
}

export function Block({ block, open }) {
  switch (block.type) {
    case "text": return html`<${Text} text=${block.text} />`;
    case "image": case "audio": return html`<${Media} data=${block.data} type=${block.mimeType} />`;
    case "resource": return html`<${Contents} one=${block.resource} />`;
    case "resource_link": return html`<${Link} uri=${block.uri} title=${block.title ?? block.name} description=${block.description} open=${open} />`;
    default: return html`<${Text} text=${pretty(block)} />`;
  }
}

/** A value as a tree that can be opened and closed. */
export function Tree({ value, name, depth = 0 }) {
  if (value === null || typeof value !== "object") {
    return html`<div class="leaf">${name !== undefined && html`<span class="key">${name}</span>`}<span class=${`value ${value === null ? "null" : typeof value}`}>${typeof value === "string" ? value : String(value)}</span></div>`;
  }
  const pairs = Array.isArray(value) ? value.map((one, index) => [index, one]) : Object.entries(value);
  const size = Array.isArray(value) ? `[${pairs.length}]` : `{${pairs.length}}`;
  return html`<details class="tree" open=${depth < 2 && pairs.length <= 50}><summary>${name !== undefined && html`<span class="key">${name}</span>`}<span class="muted">${size}</span></summary>
    <div class="branch">${pairs.slice(0, 200).map(([key, one]) => html`<${Tree} key=${key} name=${key} value=${one} depth=${depth + 1} />`)}
      ${pairs.length > 200 && html`<p class="muted">and ${pairs.length - 200} more</p>`}</div></details>`;
}

export function ToolResult({ result, open }) {
  const [raw, show] = useState(false);
  const blocks = result.content ?? [];
  const structured = result.structuredContent;
  // Many servers repeat as a text what they say in structure.
  const shown = structured === undefined ? blocks : blocks.filter((one) => one.type !== "text" || !isSame(one.text, structured));
  return html`<div class="result">
    ${result.isError && html`<p class="note bad" role="alert">The tool says that it failed.</p>`}
    <div class="form-head"><span>Result</span><button type="button" class="small" aria-pressed=${raw} onClick=${() => show(!raw)}>Raw</button></div>
    ${raw ? html`<${Text} text=${pretty(result)} />` : html`
      ${structured !== undefined && html`<${Tree} value=${structured} />`}
      ${shown.map((block, index) => html`<${Block} key=${index} block=${block} open=${open} />`)}
      ${structured === undefined && blocks.length === 0 && html`<p class="muted">It is empty.</p>`}`}
  </div>`;
}

function isSame(text, value) {
  try {
    return JSON.stringify(JSON.parse(text)) === JSON.stringify(value);
  } catch {
    return false;
  }
}
