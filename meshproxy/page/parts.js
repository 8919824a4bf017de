// Small things that several screens show.
import { html, useEffect, useRef, useState } from "./lib.js";

const LOOKS = { up: "good", down: "bad", "needs login": "warn", starting: "busy", idle: "off", disabled: "off", draining: "busy", degraded: "warn" };

export function State({ one }) {
  const word = one.phase === "degraded" ? "degraded" : one.state;
  return html`<span class="state"><span class=${`dot ${LOOKS[word] ?? "off"}`} aria-hidden="true"></span>${word}</span>`;
}

/** A line of counts over time, with the failed ones below it. Decoration: the numbers are beside it. */
export function Spark({ steps = [], failed = [] }) {
  const most = Math.max(1, ...steps);
  const width = 4;
  return html`<svg class="spark" viewBox=${`0 0 ${30 * width} 24`} preserveAspectRatio="none" aria-hidden="true">
    ${steps.map((value, index) => value > 0 && html`<rect x=${index * width} width=${width - 1} y=${24 - Math.max(1.5, (value / most) * 24)} height=${Math.max(1.5, (value / most) * 24)} class="bar" />`)}
    ${failed.map((value, index) => value > 0 && html`<rect x=${index * width} width=${width - 1} y=${24 - Math.max(2, (value / most) * 24)} height=${Math.max(2, (value / most) * 24)} class="bar bad" />`)}
  </svg>`;
}

export function Copy({ text, label = "Copy" }) {
  const [done, say] = useState(false);
  useEffect(() => {
    if (!done) return undefined;
    const timer = setTimeout(() => say(false), 1500);
    return () => clearTimeout(timer);
  }, [done]);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // Without a secure context there is no clipboard: the old way still is.
      const field = Object.assign(document.createElement("textarea"), { value: text });
      document.body.append(field);
      field.select();
      document.execCommand("copy");
      field.remove();
    }
    say(true);
  };
  return html`<button type="button" class="small" onClick=${copy} aria-live="polite">${done ? "Copied" : label}</button>`;
}

export function Code({ text, label }) {
  return html`<div class="code"><pre tabindex="0" aria-label=${label}>${text}</pre><${Copy} text=${text} /></div>`;
}

/** A button that does something, says so while it does, and tells why it could not. */
export function Doing({ act, children, kind = "", confirm }) {
  const [busy, set] = useState(false);
  const [said, say] = useState(null);
  const [asks, ask] = useState(false);
  const lives = useRef(true);
  useEffect(() => () => { lives.current = false; }, []);
  const run = async () => {
    ask(false);
    set(true);
    say(null);
    try {
      const words = await act();
      if (lives.current && typeof words === "string") say({ good: true, words });
    } catch (error) {
      if (lives.current) say({ good: false, words: error.message });
    }
    if (lives.current) set(false);
  };
  if (asks) {
    return html`<span class="doing"><span>${confirm}</span><button type="button" class="danger" onClick=${run}>Yes</button>
      <button type="button" onClick=${() => ask(false)}>No</button></span>`;
  }
  return html`<span class="doing"><button type="button" class=${kind} disabled=${busy} aria-busy=${busy} onClick=${confirm ? () => ask(true) : run}>${children}</button>
    ${said && html`<span class=${said.good ? "said" : "said bad"} role=${said.good ? "status" : "alert"}>${said.words}</span>`}</span>`;
}

export const Empty = ({ children }) => html`<p class="empty">${children}</p>`;

/** Keys that move through a list of links: up, down, home, end. */
export function moveBy(event, selector = "a") {
  const move = { ArrowDown: 1, ArrowUp: -1, Home: -Infinity, End: Infinity }[event.key];
  if (!move) return;
  const all = [...event.currentTarget.querySelectorAll(selector)];
  const at = all.indexOf(document.activeElement);
  const next = all[Math.max(0, Math.min(all.length - 1, at + move))];
  if (next) {
    event.preventDefault();
    next.focus();
  }
}
