// Calls: those that have ended, as they end, and where their time went.
import { bytes, clock, count, duration, html, useMemo, useState } from "./lib.js";
import { Empty } from "./parts.js";
import { changed, loadCalls, state, useStore } from "./store.js";

const SHOWN = 200;
const OUTCOMES = ["success", "failure", "error", "denied"];
const LOOKS = { success: "good", failure: "warn", error: "bad", denied: "warn" };

export function Calls() {
  const { calls, leftOut, isPaused } = useStore();
  const [wanted, want] = useState({ text: "", upstream: "", principal: "", outcome: "", slower: "", what: "uses" });
  const [open, toggle] = useState(null);
  const set = (key) => (event) => want({ ...wanted, [key]: event.target.value });
  const found = useMemo(() => calls.filter((one) => {
    const { text, upstream, principal, outcome, slower, what } = wanted;
    return (what === "all" || one.name) && (!upstream || one.upstream === upstream) && (!principal || one.principal === principal) && (!outcome || one.outcome === outcome)
      && (!slower || one.seconds * 1000 >= Number(slower)) && (!text || `${one.method} ${one.name ?? ""} ${one.reason ?? ""}`.toLowerCase().includes(text.toLowerCase()));
  }), [calls, wanted]);
  const choices = (key) => [...new Set(calls.map((one) => one[key]).filter(Boolean))].sort();
  const pause = () => {
    state.isPaused = !state.isPaused;
    if (!state.isPaused) loadCalls();
    changed();
  };
  return html`<section class="page" aria-label="Calls">
    <div class="head"><h1 class="title">Calls</h1><p class="muted">${count(found.length)} of the last ${count(calls.length)}${leftOut ? ` · ${count(leftOut)} more came too fast to show` : ""}</p>
      <button type="button" aria-pressed=${isPaused} onClick=${pause}>${isPaused ? "Go on" : "Pause"}</button></div>
    <form class="filters" role="search" aria-label="Filter calls" onSubmit=${(event) => event.preventDefault()}>
      <label>Search <input type="search" value=${wanted.text} onInput=${set("text")} placeholder="name, method, reason" /></label>
      ${[["upstream", "Upstream"], ["principal", "Who"]].map(([key, title]) => html`<label key=${key}>${title} <select value=${wanted[key]} onChange=${set(key)}>
        <option value="">all</option>${choices(key).map((value) => html`<option key=${value}>${value}</option>`)}</select></label>`)}
      <label>Outcome <select value=${wanted.outcome} onChange=${set("outcome")}><option value="">all</option>${OUTCOMES.map((value) => html`<option key=${value}>${value}</option>`)}</select></label>
      <label>What <select value=${wanted.what} onChange=${set("what")}><option value="uses">uses of something</option><option value="all">listings, too</option></select></label>
      <label>Slower than <input type="number" min="0" step="1" value=${wanted.slower} onInput=${set("slower")} placeholder="ms" /></label>
    </form>
    ${found.length === 0 && html`<${Empty}>${calls.length ? "None of the last calls is like that." : "No call yet. They are here as soon as they end."}<//>`}
    ${found.length > 0 && html`<div class="scroll" tabindex="0" role="region" aria-label="The last calls"><table class="calls">
      <thead><tr><th scope="col">Time</th><th scope="col">What</th><th scope="col" class="hide-s">Upstream</th><th scope="col" class="hide-m">Who</th><th scope="col">Outcome</th><th scope="col" class="right">Took</th></tr></thead>
      <tbody>${found.slice(0, SHOWN).map((one) => html`<${Call} one=${one} key=${one.number} isOpen=${open === one.number} toggle=${() => toggle(open === one.number ? null : one.number)} />`)}</tbody>
    </table></div>`}
    ${found.length > SHOWN && html`<p class="muted">The newest ${SHOWN} are shown; filter to find others.</p>`}
  </section>`;
}

function Call({ one, isOpen, toggle }) {
  return html`<tr class=${isOpen ? "open" : ""}>
    <td class="nowrap">${clock(one.at)}</td>
    <td><button type="button" class="plain" aria-expanded=${isOpen} onClick=${toggle}><strong>${one.name || one.method}</strong>${one.name && html` <small>${one.method}</small>`}</button></td>
    <td class="hide-s">${one.upstream ?? "–"}</td><td class="hide-m">${one.principal}</td>
    <td><span class=${`badge ${LOOKS[one.outcome]}`}>${one.outcome}</span></td><td class="right nowrap">${duration(one.seconds)}</td></tr>
    ${isOpen && html`<tr class="more"><td colspan="6"><${Way} one=${one} /></td></tr>`}`;
}

function Way({ one }) {
  const parts = [["Waiting for a link", one.parts.waiting, "wait"], ["Upstream", one.parts.upstream, "up"], ["Back", one.parts.back, "home"]];
  const facts = [
    ["Number", one.number], ["Origin", one.origin], ["Profile", one.profile], ["Client", one.client], ["Session", one.session], ["Who", one.principal],
    ["Era", one.era && (one.upstream_era ? `${one.era} → ${one.upstream_era}` : one.era)], ["Error", one.error], ["Reason", one.reason],
    ["Arguments", bytes(one.bytes.arguments)], ["Result", bytes(one.bytes.result)],
  ].filter(([, value]) => value);
  return html`<div class="way-of"><div class="timeline" role="img" aria-label=${parts.map(([name, value]) => `${name} ${duration(value)}`).join(", ")}>
      ${parts.map(([name, value, look]) => html`<span key=${name} class=${look} style=${{ flexGrow: Math.max(value / (one.seconds || 1), 0.004) }}></span>`)}</div>
    <ul class="legend">${parts.map(([name, value, look]) => html`<li key=${name}><span class=${`swatch ${look}`} aria-hidden="true"></span>${name} <b>${duration(value)}</b></li>`)}</ul>
    <dl class="table">${facts.map(([term, value]) => html`<div key=${term}><dt>${term}</dt><dd>${value}</dd></div>`)}</dl>
    ${one.arguments && html`<h3>Arguments</h3><pre class="log" tabindex="0">${one.arguments}</pre>`}</div>`;
}
