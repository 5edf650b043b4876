/** Talks to the server. The session has two halves: a cookie that scripts cannot read, and a key that only they send. */

const STORE = "dgx-pixels-key";
const SILENCE = 40000; // ms; the server sends something every 15 s

export const state = { home: null, project: "" };

export class ApiError extends Error {
  constructor(text, status, code) {
    super(text);
    this.status = status;
    this.code = code;
  }
}

const keys = {
  get: () => { try { return localStorage.getItem(STORE) || ""; } catch { return ""; } },
  set: (key) => { try { key ? localStorage.setItem(STORE, key) : localStorage.removeItem(STORE); } catch { /* private mode */ } },
};
let key = keys.get();
let whenOut = () => {};

export const loggedIn = () => Boolean(key);
export const onLoggedOut = (what) => { whenOut = what; };

function loseSession(text) {
  if (!key) return;
  key = "";
  keys.set("");
  whenOut(text);
}

async function call(path, options = {}) {
  let answer;
  try {
    answer = await fetch(`api/${path}`, { credentials: "same-origin", redirect: "error", ...options,
      headers: { "x-studio-key": key, ...options.headers } });
  } catch {
    throw new ApiError("The server does not answer. Is it running? Nothing was lost; try again.", 0, "away");
  }
  const said = await answer.json().catch(() => ({}));
  if (answer.ok) return said;
  const text = said.error || `The server answers with the status ${answer.status}. Its log says why.`;
  if (answer.status === 401 && path !== "login") loseSession(text);
  throw new ApiError(text, answer.status, said.code || "");
}

/** Reads; `values` are added to the address (never a token). */
export function get(path, values = {}) {
  const given = Object.entries({ project: state.project, ...values }).filter(([, value]) => value !== "");
  return call(`${path}?${new URLSearchParams(given)}`);
}

/** Changes something. */
export const post = (path, body = {}) =>
  call(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });

/** The same, for the chosen game. */
export const change = (path, body) => post(path, { project: state.project, ...body });

export async function logIn(token) {
  const said = await post("login", { token });
  key = said.key;
  keys.set(key);
  return said;
}

export async function logOut() {
  await post("logout").catch(() => {});
  loseSession("");
}

/** An id for a run: the same request sent twice is one run. */
export const newId = () =>
  [...crypto.getRandomValues(new Uint8Array(8))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

let last = "";
let listening = null;

/** Stops following the events; the next `listen` begins where this one was. */
export function stopListening() {
  listening?.abort();
  listening = null;
}

/** Begins from the first event again: another user has logged in. */
export const forgetEvents = () => { last = ""; };

/**
 * Follows the server's events until the session ends, and comes back after each interruption with the last id seen.
 * `link` is told "connected" or "lost".
 */
export async function listen(on, link) {
  stopListening();
  const mine = (listening = new AbortController());
  let pause = 400;
  while (!mine.signal.aborted) {
    const silence = new AbortController();
    let timer = 0;
    const heard = () => { clearTimeout(timer); timer = setTimeout(() => silence.abort(), SILENCE); };
    try {
      heard();
      const answer = await fetch("api/events", { credentials: "same-origin", redirect: "error",
        headers: { "x-studio-key": key, accept: "text/event-stream", ...(last && { "last-event-id": last }) },
        signal: AbortSignal.any([mine.signal, silence.signal]) });
      if (answer.status === 401) {
        const said = await answer.json().catch(() => ({}));
        return loseSession(said.error || "Log in again.");
      }
      if (!answer.ok) throw new Error(String(answer.status));
      link("connected");
      pause = 400;
      await read(answer.body, on, heard);
    } catch { /* the server is away, or nothing was heard for a while */ }
    clearTimeout(timer);
    if (mine.signal.aborted) return undefined;
    link("lost");
    await new Promise((done) => {
      const over = setTimeout(done, pause);
      addEventListener("online", () => { clearTimeout(over); done(); }, { once: true });
    });
    pause = Math.min(pause * 2, 5000);
  }
  return undefined;
}

/** Reads a stream of server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html). */
async function read(body, on, heard) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "", event = {};
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    heard();
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines.map((text) => text.replace(/\r$/, ""))) {
      const [name, ...text] = line.split(": ");
      if (line === "") {
        if (event.id) last = event.id;
        if (event.data) on(event.event, JSON.parse(event.data));
        event = {};
      } else if (name) event[name] = (event[name] ? `${event[name]}\n` : "") + text.join(": ");
    }
  }
}
