// Upstreams: how each is, why, and what can be done about it.
import { follow, get, post } from "./api.js";
import { ago, count, duration, html, plural, share, useEffect, useRef, useState } from "./lib.js";
import { Doing, Empty, moveBy, Spark, State } from "./parts.js";
import { useStore } from "./store.js";

const address = (target) => target.url ?? [target.command, ...(target.args ?? [])].join(" ");
const RANK = { down: 0, "needs login": 0, starting: 1, degraded: 2, up: 3, idle: 3, disabled: 4 };

export function Upstreams({ rest }) {
  const { upstreams, status } = useStore();
  const [name] = rest;
  const all = [...upstreams.values()].sort((a, b) => (RANK[a.state] ?? 3) - (RANK[b.state] ?? 3) || a.name.localeCompare(b.name));
  const chosen = upstreams.get(name);
  if (!status) return html`<${Empty}>Asking the mesh…<//>`;
  const total = (key) => all.reduce((sum, one) => sum + (one.traffic[key] ?? 0), 0);
  return html`<div class=${chosen ? "split chosen" : "split"}>
    <section class="list" aria-label="Upstreams">
      <h1 class="title">Upstreams</h1>
      <dl class="facts">
        <div><dt>Up</dt><dd>${all.filter((one) => ["up", "idle"].includes(one.state)).length} <small>of ${all.filter((one) => one.enabled).length}</small></dd></div>
        <div><dt>Calls a minute</dt><dd>${count(total("calls"))}</dd></div>
        <div><dt>Errors</dt><dd class=${total("errors") ? "bad" : ""}>${count(total("errors"))}</dd></div>
        <div><dt>Sessions</dt><dd>${count(status.sessions ?? 0)}</dd></div>
        <div><dt>Running for</dt><dd>${ago(status.started).replace(" ago", "")}</dd></div>
      </dl>
      ${all.length === 0 && html`<${Empty}>No upstreams yet. Add one to ${status.config.file ?? "the config"}, and it is here as soon as you save.<//>`}
      <div class="rows" role="list" onKeyDown=${moveBy}>
        ${all.map((one) => html`<div role="listitem" key=${one.name}><a class="row upstream" href=${`#/upstreams/${encodeURIComponent(one.name)}`} aria-current=${one.name === name ? "true" : undefined}>
          <span class="name"><strong>${one.name}</strong><small>${address(one.target)}</small></span>
          <${State} one=${one} />
          <span class="number hide-s"><b>${count(one.traffic.calls ?? 0)}</b><small>/min</small></span>
          <span class=${`number hide-s${one.traffic.errors ? " bad" : ""}`}><b>${share(one.traffic.errors, one.traffic.calls)}</b><small>errors</small></span>
          <span class="number hide-s"><b>${duration(one.traffic.p50)}</b><small>p50</small></span>
          <span class="number hide-m"><b>${duration(one.traffic.p99)}</b><small>p99</small></span>
          <${Spark} steps=${one.traffic.steps} failed=${one.traffic.failed} />
          ${one.reason && html`<span class="why">${one.reason}</span>`}
        </a></div>`)}
      </div>
    </section>
    ${chosen && html`<${Details} one=${chosen} key=${chosen.name} />`}
    ${name && !chosen && all.length > 0 && html`<section class="details"><${Empty}>There is no upstream ${name} any more.<//></section>`}
  </div>`;
}

function Details({ one }) {
  const heading = useRef();
  useEffect(() => heading.current.focus({ preventScroll: true }), []);
  const at = `/api/upstreams/${encodeURIComponent(one.name)}`;
  const act = (what, done) => async () => { await post(`${at}/${what}`); return done; };
  const facts = [
    ["Since", one.since && ago(one.since)],
    ["Next attempt", one.next_attempt && ago(one.next_attempt)],
    ["Failures in a row", one.failures],
    ["Speaks", one.protocol && `${one.protocol} (${one.era})`],
    ["Namespace", one.namespace || "none"],
    ["Connected in", one.seconds > 0 && duration(one.seconds)],
    ["Processes", one.pids?.join(", ")],
    ["Sessions", one.sessions],
    ["Under way", one.calls],
    ["Waiting for a slot", one.queued],
    ["Breaker", one.breaker],
    ["Errors in the last minute", one.traffic.errors && `${one.traffic.errors} (${share(one.traffic.errors, one.traffic.calls)})`],
    ["Offers", ["tools", "resources", "templates", "prompts"].filter((kind) => one[kind]).map((kind) => plural(one[kind], kind.slice(0, -1))).join(", ")],
  ].filter(([, value]) => value !== undefined && value !== false && value !== "" && value !== null);
  return html`<section class="details" aria-label=${`Upstream ${one.name}`}>
    <a class="back" href="#/upstreams">‹ All upstreams</a>
    <h2 tabindex="-1" ref=${heading}>${one.name} <${State} one=${one} /></h2>
    <p class="mono wrap">${address(one.target)}</p>
    ${one.reason && html`<p class=${one.state === "up" ? "note warn" : "note bad"}>${one.reason}</p>`}
    <div class="actions">
      ${one.enabled && html`<${Doing} act=${act("restart", "Started anew")} kind="primary">Restart<//>`}
      ${one.login === "oauth" && html`<${Doing} act=${async () => login(at)} kind=${one.state === "needs login" ? "primary" : ""}>Log in<//>`}
      ${one.enabled
        ? html`<${Doing} act=${act("disable", "Disabled")} confirm=${`Write enabled: false of ${one.name} into the file?`}>Disable<//>`
        : html`<${Doing} act=${act("enable", "Enabled")} kind="primary">Enable<//>`}
      <a class="button" href="#/catalog" onClick=${() => sessionStorage.setItem("catalog-upstream", one.name)}>Its components</a>
    </div>
    <dl class="table">${facts.map(([term, value]) => html`<div key=${term}><dt>${term}</dt><dd>${value}</dd></div>`)}</dl>
    ${one.target.command && html`<${Stderr} name=${one.name} />`}
  </section>`;
}

async function login(at) {
  const tab = window.open("about:blank", "_blank");
  try {
    const { url } = await post(`${at}/login`);
    if (tab) {
      tab.opener = null;
      tab.location = url;
      return "Log in in the tab that has opened";
    }
    location.assign(url);
    return "";
  } catch (error) {
    tab?.close();
    throw error;
  }
}

/** The last lines of standard error, and those that come. */
function Stderr({ name }) {
  const [lines, set] = useState(null);
  const box = useRef();
  useEffect(() => {
    const ending = new AbortController();
    get(`/api/logs/${encodeURIComponent(name)}`).then(({ lines: found }) => set(found), () => set([]));
    let isFirst = true;
    follow(`?topics=none&upstream=${encodeURIComponent(name)}`, (event, data) => {
      // The first frame is what is kept already.
      if (event === "log") set((before) => (isFirst ? data.lines : [...(before ?? []), ...data.lines].slice(-1000)));
      isFirst = false;
    }, () => { isFirst = true; }, ending.signal);
    return () => ending.abort();
  }, [name]);
  useEffect(() => { if (box.current) box.current.scrollTop = box.current.scrollHeight; }, [lines]);
  return html`<h3>Standard error</h3>
    ${lines?.length ? html`<pre class="log" tabindex="0" ref=${box} aria-label=${`Standard error of ${name}`}>${lines.join("\n")}</pre>` : html`<p class="muted">It has written nothing.</p>`}`;
}
