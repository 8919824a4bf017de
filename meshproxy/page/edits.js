// Edits: what became of each change of the file, and of each restart.
import { post } from "./api.js";
import { ago, clock, duration, html, plural, useState } from "./lib.js";
import { Doing, Empty } from "./parts.js";
import { useStore } from "./store.js";

const shown = (value) => (typeof value === "string" ? value : JSON.stringify(value));

export function Edits() {
  const { edits, status } = useStore();
  if (!edits || !status) return html`<${Empty}>Asking the mesh…<//>`;
  const { config } = status;
  const [newest] = edits;
  const needs = [...new Set(edits.filter((one) => one.outcome === "applied").flatMap((one) => one.restart_required))];
  return html`<section class="page" aria-label="Edits">
    <div class="head"><h1 class="title">Edits</h1>
      <p class="muted">${config.file} · revision <code>${config.revision}</code>${config.watched ? " · saved changes are taken up at once" : " · not watched"}</p>
      <${Doing} act=${async () => ((await post("/api/reload")).outcome === "unchanged" ? "It says what is in force" : "Read again")}>Read it again<//></div>
    ${newest?.outcome === "rejected" && html`<p class="note bad" role="alert">The last edit was rejected, so what was in force before it still is.</p>`}
    ${needs.length > 0 && html`<p class="note warn">In force at the next start of the mesh: ${needs.join(", ")}.</p>`}
    ${config.warnings?.map((warning) => html`<p class="note warn" key=${warning}>${warning}</p>`)}
    ${edits.length === 0 && html`<${Empty}>No edit since the mesh was started. Save the file, and see here what it does.<//>`}
    <ol class="edits">${edits.map((one, index) => html`<${Edit} one=${one} isOpen=${index === 0} key=${one.number} />`)}</ol>
  </section>`;
}

function words(one) {
  if (one.outcome === "rejected") return plural(one.problems.length, "problem");
  const parts = [["started", one.started], ["retired", one.retired], ["failed", Object.keys(one.failed)]];
  const said = parts.filter(([, names]) => names.length).map(([word, names]) => `${word} ${names.join(", ")}`);
  return said.join("; ") || (one.changes.length ? plural(one.changes.length, "key") : "nothing differs");
}

function Edit({ one, isOpen }) {
  const [open, toggle] = useState(isOpen);
  const bad = one.outcome === "rejected";
  return html`<li class=${bad ? "edit bad" : "edit"}><details open=${open} onToggle=${(event) => toggle(event.target.open)}>
    <summary><span class=${bad ? "badge bad" : "badge good"}>${one.cause === "restart" ? "restart" : one.outcome}</span>
      <span class="grow">${words(one)}</span><time datetime=${one.at} title=${ago(one.at)}>${clock(one.at)}</time></summary>
    ${open && html`<div class="body">
      ${one.problems.map((problem) => html`<div class="problem" key=${`${problem.line}${problem.key}${problem.message}`}>
        <p><strong>${problem.key || "The file"}</strong> ${problem.message}</p>
        ${problem.hint && html`<p class="hint">→ ${problem.hint}</p>`}
        <p class="muted mono">${problem.file}${problem.line ? `:${problem.line}:${problem.column ?? 1}` : ""}</p></div>`)}
      ${one.changes.length > 0 && html`<table class="diff"><caption>What changed</caption><tbody>${one.changes.map((change) => html`<tr key=${change.key}>
        <th scope="row">${change.key}</th><td>${change.before !== null && html`<del>${shown(change.before)}</del>`}
        ${change.after !== null && html`<ins>${shown(change.after)}</ins>`}</td></tr>`)}</tbody></table>`}
      ${Object.entries(one.failed).map(([name, reason]) => html`<p class="note bad" key=${name}><strong>${name}</strong> ${reason}</p>`)}
      ${Object.entries(one.names).map(([kind, told]) => html`<p class="names" key=${kind}><span class="muted">${kind}s</span>
        ${(told.added ?? []).map((name) => html`<ins key=${name}>${name}</ins>`)}
        ${(told.removed ?? []).map((name) => html`<del key=${name}>${name}</del>`)}
        ${(told.changed ?? []).map((name) => html`<code key=${name}>${name} changed</code>`)}</p>`)}
      ${!bad && html`<p class="muted">${one.kept.length ? `${plural(one.kept.length, "upstream")} kept, with processes, sessions and calls` : ""} ${one.seconds ? `· in force after ${duration(one.seconds)}` : ""}</p>`}
    </div>`}
  </details></li>`;
}
