// The frame of the page: where one is, whether the mesh is there, and the key if it asks for one.
import { hasKey, keep } from "./api.js";
import { Calls } from "./calls.js";
import { Catalog } from "./catalog.js";
import { Connect } from "./connect.js";
import { Edits } from "./edits.js";
import { html, render, useEffect, useRef, useState } from "./lib.js";
import { start, useStore } from "./store.js";
import { Upstreams } from "./upstreams.js";

const SCREENS = [
  ["upstreams", "Upstreams", Upstreams],
  ["catalog", "Catalog", Catalog],
  ["calls", "Calls", Calls],
  ["edits", "Edits", Edits],
  ["connect", "Connect", Connect],
];
const THEME = "meshproxy-theme";

function place() {
  const [screen, ...rest] = location.hash.replace(/^#\/?/, "").split("/");
  return { screen: SCREENS.some(([id]) => id === screen) ? screen : "upstreams", rest: rest.map(decodeURIComponent) };
}

function usePlace() {
  const [at, go] = useState(place);
  useEffect(() => {
    const moved = () => go(place());
    addEventListener("hashchange", moved);
    return () => removeEventListener("hashchange", moved);
  }, []);
  return at;
}

function Theme() {
  const [theme, choose] = useState(() => localStorage.getItem(THEME) ?? "system");
  useEffect(() => {
    document.documentElement.dataset.theme = theme;
    localStorage.setItem(THEME, theme);
  }, [theme]);
  return html`<select class="quiet" aria-label="Colours" value=${theme} onChange=${(event) => choose(event.target.value)}>
    <option value="system">System</option><option value="light">Light</option><option value="dark">Dark</option>
  </select>`;
}

function Key({ reason, done }) {
  const [value, write] = useState("");
  const [stays, stay] = useState(true);
  const field = useRef();
  useEffect(() => field.current.focus(), []);
  const submit = (event) => {
    event.preventDefault();
    keep(value.trim(), stays);
    done();
  };
  return html`<main class="gate"><form class="card" onSubmit=${submit}>
    <h1>This mesh asks who you are</h1>
    <p>Show a key with the right <code>view</code>, and <code>admin</code> to change anything. To call tools from here it needs <code>use</code>, too.
      One is made by <code>meshproxy key new NAME --rights use,admin</code>.</p>
    ${reason && html`<p class="note bad" role="alert">${reason}</p>`}
    <label>Key <input ref=${field} type="password" autocomplete="off" spellcheck=${false} required value=${value} onInput=${(event) => write(event.target.value)} /></label>
    <label class="check"><input type="checkbox" checked=${stays} onChange=${(event) => stay(event.target.checked)} /> Keep it until this tab is closed</label>
    <button class="primary">Come in</button>
  </form></main>`;
}

function Frame({ leave }) {
  const { status, upstreams, trouble, isConnected } = useStore();
  const at = usePlace();
  const main = useRef();
  const [, , Screen] = SCREENS.find(([id]) => id === at.screen);
  const title = SCREENS.find(([id]) => id === at.screen)[1];
  useEffect(() => { document.title = `${title} · ${status?.name ?? "meshproxy"}`; }, [title, status?.name]);
  const bad = [...upstreams.values()].filter((one) => ["down", "needs login"].includes(one.state)).length;
  const health = !isConnected ? ["off", "No connection"] : bad ? ["bad", `${bad} of ${upstreams.size} need attention`] : ["good", "All is well"];
  return html`
    <a class="skip" href="#main" onClick=${(event) => { event.preventDefault(); main.current.focus(); }}>To the content</a>
    <header class="top">
      <a class="brand" href="#/upstreams"><img src="/page/icon.svg" alt="" width="24" height="24" /> <span>${status?.name ?? "meshproxy"}</span></a>
      <nav aria-label="Screens">${SCREENS.map(([id, name]) => html`
        <a href=${`#/${id}`} aria-current=${id === at.screen ? "page" : undefined}>${name}</a>`)}</nav>
      <span class="health" role="status"><span class=${`dot ${health[0]}`} aria-hidden="true"></span><span class="words">${health[1]}</span></span>
      <${Theme} />
      ${hasKey() && html`<button class="quiet" onClick=${leave}>Leave</button>`}
    </header>
    ${trouble && !isConnected && html`<p class="banner" role="alert">${trouble.message}. Trying again…</p>`}
    <main id="main" tabindex="-1" ref=${main}><${Screen} rest=${at.rest} /></main>`;
}

function App() {
  const [refusal, refuse] = useState(null);
  const [round, again] = useState(0);
  useEffect(() => start((error) => refuse(error)), [round]);
  const enter = () => { refuse(null); again((number) => number + 1); };
  if (refusal?.status === 401 || (refusal && hasKey())) return html`<${Key} reason=${hasKey() ? refusal.message : ""} done=${enter} />`;
  if (refusal) return html`<main class="gate"><div class="card"><h1>Not from here</h1><p>${refusal.message}</p></div></main>`;
  return html`<${Frame} leave=${() => { keep(""); refuse({ status: 401, message: "" }); }} />`;
}

document.documentElement.dataset.theme = localStorage.getItem(THEME) ?? "system";
const root = document.getElementById("app");
root.textContent = "";
render(html`<${App} />`, root);
