// Connect: what each client has to be told, ready to copy.
import { get } from "./api.js";
import { html, useEffect, useState } from "./lib.js";
import { Qr } from "./code.js";
import { Code, Copy, Empty, moveBy } from "./parts.js";
import { useStore } from "./store.js";

/** Addresses that lead to whatever machine they are used on: no other device can do anything with them. */
const OWN = /^(localhost|.*\.localhost|127\.[\d.]+|\[::1\])$/i;
const TITLES = { command: "In a terminal", file: "In a file", link: "By a link" };

export function Connect({ rest }) {
  const { status } = useStore();
  const [told, set] = useState(null);
  const [trouble, say] = useState("");
  const [profile, choose] = useState("");
  useEffect(() => {
    get(`/api/clients?profile=${encodeURIComponent(profile)}`).then(set, (error) => say(error.message));
  }, [profile]);
  if (trouble) return html`<${Empty}>${trouble}<//>`;
  if (!told || !status) return html`<${Empty}>Asking the mesh…<//>`;
  const id = rest[0] ?? told.clients[0].id;
  const client = told.clients.find((one) => one.id === id) ?? told.clients[0];
  return html`<section class="page" aria-label="Connect">
    <div class="head"><h1 class="title">Connect</h1>
      <p class="address"><code>${told.url}</code> <${Copy} text=${told.url} label="Copy the address" /></p>
      ${status.profiles.length > 0 && html`<label class="inline">Profile <select value=${profile} onChange=${(event) => choose(event.target.value)}>
        <option value="">everything</option>${status.profiles.map((name) => html`<option key=${name} value=${name}>${name}</option>`)}</select></label>`}
    </div>
    ${told.needs_key && html`<p class="note">This mesh asks for a key. Make one for each client with <code>meshproxy key new NAME</code>, and put it where <code>YOUR_KEY</code> stands.</p>`}
    ${!OWN.test(new URL(told.url).hostname) && html`<details class="elsewhere"><summary>For a phone, or another machine</summary>
      <${Qr} text=${told.url} label=${`The address ${told.url} as a QR code`} /></details>`}
    <div class="clients">
      <nav aria-label="Clients" class="tabs" onKeyDown=${moveBy}>${told.clients.map((one) => html`<a key=${one.id} href=${`#/connect/${one.id}`} aria-current=${one === client ? "true" : undefined}>${one.title}</a>`)}</nav>
      <div class="ways"><h2>${client.title}</h2>
        ${client.ways.map((way, index) => html`<div class="way" key=${`${client.id}${index}`}>
          <h3>${TITLES[way.kind]}${way.place ? html` <code>${way.place}</code>` : ""}</h3>
          ${way.note && html`<p class="muted">${way.note}</p>`}
          ${way.kind === "link" ? html`<p class="link"><a class="button primary" href=${way.text}>Open ${client.title}</a> <${Copy} text=${way.text} label="Copy the link" /></p>` : html`<${Code} text=${way.text} label=${`${TITLES[way.kind]} for ${client.title}`} />`}
        </div>`)}
      </div>
    </div>
  </section>`;
}
