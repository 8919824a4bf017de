// What the page knows of the mesh: kept up to date by the stream of events, and read by every screen with `useStore`.
import { follow, get } from "./api.js";
import { useEffect, useState } from "./lib.js";

const KEPT = 1000;
export const state = {
  status: null, upstreams: new Map(), catalog: null, calls: [], edits: null, leftOut: 0, trouble: null, isConnected: false, isPaused: false,
};
const watchers = new Set();
let drawing = 0;

/** Something changed: whoever shows it draws it anew, once a frame. */
export function changed() {
  if (!drawing) drawing = requestAnimationFrame(() => {
    drawing = 0;
    for (const watcher of watchers) watcher();
  });
}

export function useStore() {
  const [, draw] = useState(0);
  useEffect(() => {
    const watcher = () => draw((number) => number + 1);
    watchers.add(watcher);
    return () => watchers.delete(watcher);
  }, []);
  return state;
}

const readers = {
  status: (data) => { state.status = { ...data }; },
  upstream: (data) => state.upstreams.set(data.name, data),
  gone: ({ name }) => state.upstreams.delete(name),
  catalog: () => loadCatalog(),
  edit: (data) => { if (state.edits) state.edits = [data, ...state.edits.filter((one) => one.number !== data.number)]; },
  calls: ({ calls, left_out: leftOut }) => {
    if (state.isPaused) return;
    state.calls = [...calls.reverse(), ...state.calls].slice(0, KEPT);
    state.leftOut += leftOut;
  },
  missed: () => refresh(),
};

async function loadCatalog() {
  state.catalog = await get("/api/catalog");
  changed();
}

export async function loadCalls() {
  state.calls = (await get(`/api/calls?limit=${KEPT}`)).calls;
  state.leftOut = 0;
  changed();
}

async function refresh() {
  const [edits] = await Promise.all([get("/api/edits"), loadCatalog(), loadCalls()]);
  state.edits = edits.edits;
  changed();
}

/** Begin to follow the mesh; what is returned ends it. `refused` is told why it may not. */
export function start(refused) {
  const ending = new AbortController();
  const said = (error) => {
    state.isConnected = error === null;
    state.trouble = error;
    if (error?.status === 401 || error?.status === 403) refused(error);
    if (error === null) {
      // What was known may be of before a restart of the mesh.
      state.upstreams.clear();
      refresh().catch((trouble) => { state.trouble = trouble; changed(); });
    }
    changed();
  };
  follow("", (event, data) => { readers[event]?.(data); changed(); }, said, ending.signal);
  return () => ending.abort();
}
