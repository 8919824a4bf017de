// Catalog: everything that is offered, by upstream, with what it costs a model to know it.
import { Component } from "./component.js";
import { count, html, plural, useEffect, useMemo, useState } from "./lib.js";
import { Empty, moveBy } from "./parts.js";
import { useStore } from "./store.js";

const KINDS = [["tool", "Tools"], ["resource", "Resources"], ["template", "Templates"], ["prompt", "Prompts"]];
const MOST = 400;
const place = (one) => `#/catalog/${one.kind}/${encodeURIComponent(one.name)}`;

export function Catalog({ rest }) {
  const { catalog, status } = useStore();
  const [kind, name] = rest;
  const [wanted, want] = useState(() => ({ text: "", kind: "", upstream: sessionStorage.getItem("catalog-upstream") ?? "", profile: "" }));
  useEffect(() => sessionStorage.removeItem("catalog-upstream"), []);
  const all = catalog?.components ?? [];
  const found = useMemo(() => {
    const words = wanted.text.toLowerCase().split(/\s+/).filter(Boolean);
    return all.filter((one) => (!wanted.kind || one.kind === wanted.kind) && (!wanted.upstream || one.upstream === wanted.upstream)
      && words.every((word) => `${one.name} ${one.definition.title ?? ""} ${one.definition.description ?? ""}`.toLowerCase().includes(word)));
  }, [catalog, wanted]);
  if (!catalog || !status) return html`<${Empty}>Asking the mesh…<//>`;
  const set = (key) => (event) => want({ ...wanted, [key]: event.target.value });
  const chosen = all.find((one) => one.kind === kind && one.name === name);
  const sums = catalog.profiles[wanted.profile] ?? catalog.profiles[""];
  const groups = Map.groupBy ? Map.groupBy(found.slice(0, MOST), (one) => one.upstream) : grouped(found.slice(0, MOST));
  return html`<div class=${chosen || kind ? "split chosen" : "split"}>
    <section class="list" aria-label="Catalog">
      <h1 class="title">Catalog</h1>
      <dl class="facts">
        ${KINDS.map(([id, title]) => html`<div key=${id}><dt>${title}</dt><dd>${count(sums[`${id}s`])}</dd></div>`)}
        <div><dt title="An estimate: bytes of the tools' definitions, divided by four">Tokens, about</dt><dd>${count(sums.tokens)}</dd></div>
      </dl>
      <form class="filters" role="search" aria-label="Search the catalog" onSubmit=${(event) => event.preventDefault()}>
        <label>Search <input type="search" value=${wanted.text} onInput=${set("text")} placeholder="words of a name or description" /></label>
        <label>Kind <select value=${wanted.kind} onChange=${set("kind")}><option value="">all</option>${KINDS.map(([id, title]) => html`<option key=${id} value=${id}>${title}</option>`)}</select></label>
        <label>Upstream <select value=${wanted.upstream} onChange=${set("upstream")}><option value="">all</option>${Object.keys(catalog.upstreams).map((one) => html`<option key=${one}>${one}</option>`)}</select></label>
        ${status.profiles.length > 0 && html`<label>Cost of <select value=${wanted.profile} onChange=${set("profile")}><option value="">everything</option>${status.profiles.map((one) => html`<option key=${one}>${one}</option>`)}</select></label>`}
      </form>
      ${catalog.collisions.map((one) => html`<p class="note warn" key=${one}>${one}</p>`)}
      ${found.length === 0 && html`<${Empty}>${all.length ? "Nothing is called so." : "Nothing is offered yet."}<//>`}
      <div class="groups" onKeyDown=${moveBy}>${[...groups].map(([upstream, some]) => html`<section key=${upstream} aria-label=${upstream}>
        <h2 class="group"><span>${upstream}</span><small>${plural(catalog.upstreams[upstream]?.tools ?? 0, "tool")} · about ${count(catalog.upstreams[upstream]?.tokens ?? 0)} tokens</small></h2>
        <ul class="rows">${some.map((one) => html`<li key=${`${one.kind} ${one.name}`}><a class="row component" href=${place(one)} aria-current=${one === chosen ? "true" : undefined}>
          <span class=${`kind ${one.kind}`} title=${one.kind} aria-label=${one.kind}>${one.kind[0].toUpperCase()}</span>
          <span class="name"><strong>${one.name}</strong><small>${one.definition.description ?? one.definition.title ?? ""}</small></span>
          ${one.kind === "tool" && html`<span class="number" title="tokens, about">${count(one.tokens)}</span>`}</a></li>`)}</ul></section>`)}
      </div>
      ${found.length > MOST && html`<p class="muted">${found.length - MOST} more: search for them.</p>`}
    </section>
    ${chosen && html`<${Component} one=${chosen} key=${`${chosen.kind} ${chosen.name}`} />`}
    ${!chosen && kind === "uri" && html`<${Component} one=${{ kind: "resource", name, upstream: "", origin: name, definition: {} }} key=${name} />`}
    ${!chosen && kind && kind !== "uri" && html`<section class="details"><a class="back" href="#/catalog">‹ Catalog</a><${Empty}>There is no ${kind} ${name} any more.<//></section>`}
  </div>`;
}

function grouped(all) {
  const found = new Map();
  for (const one of all) found.set(one.upstream, [...(found.get(one.upstream) ?? []), one]);
  return found;
}
