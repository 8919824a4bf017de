// The mesh's API: requests, the key that they bear, and the stream of what changes.
const KEY = "meshproxy-key";
let key = sessionStorage.getItem(KEY) ?? "";

export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** The key is kept for as long as this tab is, and goes nowhere but into the header of a request to this origin. */
export function keep(value, remember = true) {
  key = value;
  if (value && remember) sessionStorage.setItem(KEY, value);
  else sessionStorage.removeItem(KEY);
}

export const hasKey = () => key !== "";
export const credentials = () => (key ? { Authorization: `Bearer ${key}` } : {});

async function asked(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { ...options, headers: { ...credentials(), ...options.headers }, cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "The mesh does not answer");
  }
  if (!response.ok) {
    const said = await response.json().catch(() => ({}));
    throw new ApiError(response.status, said.error ?? `HTTP ${response.status}`);
  }
  return response;
}

export const get = async (path) => (await asked(path)).json();
export const post = async (path) => (await asked(path, { method: "POST", headers: { "X-Meshproxy": "page" } })).json();

/** The events of a stream, as they come: {event, data}. Source: HTML, 9.2.6 "Interpreting an event stream". */
export async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let event = "message";
  let data = [];
  try {
    while (true) {
      const { value, done } = await reader.read();
      if (done) return;
      const lines = (rest + value).split(/\r\n|\n|\r(?!$)/);
      rest = lines.pop();
      for (const line of lines) {
        if (line === "") {
          if (data.length) yield { event, data: data.join("\n") };
          event = "message";
          data = [];
        } else if (line.startsWith("event:")) event = line.slice(6).trimStart();
        else if (line.startsWith("data:")) data.push(line.slice(5).replace(/^ /, ""));
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** Follow `/api/events`, again and again, until `signal` ends it. `told` is given each event, and `said` whether it is connected, or why not. */
export async function follow(query, told, said, signal) {
  let pause = 500;
  while (!signal.aborted) {
    try {
      const response = await asked(`/api/events${query}`, { signal });
      said(null);
      pause = 500;
      for await (const { event, data } of events(response.body)) told(event, JSON.parse(data));
      throw new ApiError(0, "The mesh has ended the stream");
    } catch (error) {
      if (signal.aborted) return;
      said(error);
      if (error.status === 401 || error.status === 403) return;
    }
    await new Promise((resolve) => setTimeout(resolve, pause));
    pause = Math.min(pause * 2, 8000);
  }
}
