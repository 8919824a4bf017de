// What every module of the page uses: Preact with htm, and words for times and numbers.
import { h, render } from "./vendor/preact.js";
import htm from "./vendor/htm.js";

export { render };
export { useCallback, useEffect, useId, useLayoutEffect, useMemo, useRef, useState } from "./vendor/hooks.js";
export const html = htm.bind(h);

/** A duration in the unit that suits it: 12 ms, 1.4 s, 3 min. */
export function duration(seconds) {
  if (seconds == null) return "–";
  if (seconds < 0.001) return `${Math.round(seconds * 1e6)} µs`;
  if (seconds < 1) return `${(seconds * 1000).toFixed(seconds < 0.01 ? 1 : 0)} ms`;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} d`;
}

/** How long ago something was, or how soon it will be: "3 min ago", "in 5 s". */
export function ago(time, now = Date.now()) {
  const seconds = (now - (typeof time === "number" ? time * 1000 : Date.parse(time))) / 1000;
  const text = duration(Math.max(1, Math.round(Math.abs(seconds)))).replace(".0", "");
  return seconds >= 0 ? `${text} ago` : `in ${text}`;
}

export function clock(time) {
  const date = new Date(typeof time === "number" ? time * 1000 : time);
  return date.toLocaleTimeString([], { hour12: false });
}

export function count(number) {
  return number >= 10000 ? `${(number / 1000).toFixed(number >= 100000 ? 0 : 1)}k` : String(number ?? 0);
}

export function bytes(number) {
  if (number < 1024) return `${number ?? 0} B`;
  return number < 1048576 ? `${(number / 1024).toFixed(1)} KiB` : `${(number / 1048576).toFixed(1)} MiB`;
}

/** A part of a whole in per cent: 3 %, 0.4 %; nothing where there is no whole. */
export function share(part, whole) {
  if (!whole) return "–";
  const percent = (100 * (part ?? 0)) / whole;
  return `${percent > 0 && percent < 10 ? Number(percent.toFixed(1)) || "<0.1" : Math.round(percent)} %`;
}

export const plural = (number, word) => `${number} ${word}${number === 1 ? "" : "s"}`;

/** A value as indented JSON. */
export const pretty = (value) => JSON.stringify(value, null, 2);
