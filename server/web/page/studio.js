/** The page: log in, ask for pictures, follow them, show what comes. */

import { change, forgetEvents, get, listen, logIn, logOut, loggedIn, newId, onLoggedOut, post, state, stopListening } from "./api.js";
import { card, whenAsked } from "./cards.js";
import { contest } from "./contests.js";
import { $, el, pressing, toast } from "./elements.js";
import { comparison, fill, kindChanged, presets, use, wanted } from "./forms.js";

const EXAMPLES = ["red dragon", "blue potion", "gold key", "green slime", "wooden treasure chest", "skeleton warrior"];
const FINISHED = ["done", "failed", "cancelled", "lost"];
const runs = new Map(); // id -> { run, node }
let library = { assets: [], total: 0 }, stale = true, newest = [], lastUser = null;

// Runs

/** Sends a request; its card is there immediately, and a second try sends the same id. */
async function start(asked) {
  if (!asked) return;
  const id = newId(), { kind, ...fields } = asked;
  const run = { id, kind, project: state.project, asked: fields, state: "sending", done: 0, total: 0, message: "", error: "", result: {}, created: Date.now() / 1000 };
  show(run);
  try {
    await change("runs", { id, ...asked });
  } catch (error) {
    if (runs.get(id)?.run.state === "sending") show({ ...run, state: "failed", error: error.message });
  }
}

const titles = { sending: "sending", waiting: "waiting", loading: "loading the model", running: "drawing",
  done: "done", failed: "failed", cancelled: "cancelled", lost: "lost" };

function title(run) {
  const { asked } = run;
  if (run.kind === "compare") return `${asked.prompt}: ${asked.variants.length} models, blind`;
  if (run.kind === "animation") return `${asked.prompt || "a sprite"}: ${(asked.motions || []).join(", ")}`;
  return asked.prompt;
}

/** Shows a run as it is now; the newest stand first. */
function show(run) {
  const known = runs.get(run.id);
  if (known) Object.assign(known, { run }) && update(known);
  else {
    const node = el("article", { class: "run", "data-run": run.id });
    const entry = { run, node, part: {} };
    runs.set(run.id, entry);
    frame(entry);
    update(entry);
    $(run.kind === "compare" ? "compare-runs" : "results").prepend(node);
    node.hidden = run.project !== state.project;
    if (run.state === "sending" && innerWidth <= 860) node.scrollIntoView({ block: "start" }); // the form fills the screen
  }
  welcome();
}

function frame(entry) {
  const { part, node } = entry;
  part.say = el("span", { class: "say", role: "status" });
  part.bar = el("div", { class: "bar-track", role: "progressbar", "aria-valuemin": 0, "aria-label": "Progress" }, el("div", { class: "bar-done" }));
  part.cancel = el("button", { type: "button", class: "cancel" }, "Cancel");
  part.cancel.addEventListener("click", () => pressing(part.cancel, () => post(`runs/${entry.run.id}/cancel`)));
  part.again = el("button", { type: "button", hidden: true, onclick: () => start(repeated(entry.run)) }, "Draw again");
  part.close = el("button", { type: "button", class: "plain", "aria-label": "Remove from this list", hidden: true, onclick: () => forget(entry.run.id) }, "✕");
  part.body = el("div", { class: "grid" });
  part.note = el("div", { class: "notes" });
  node.replaceChildren(
    el("header", {}, el("h3", {}, title(entry.run)), part.say, el("span", { class: "push" }), part.cancel, part.again, part.close),
    part.bar, part.note, part.body);
}

function repeated({ kind, asked }) {
  const { id, project, ...fields } = asked;
  return { kind, ...fields, ...(kind === "sprite" && { seed: null }) };
}

function update(entry) {
  const { run, node, part } = entry, over = FINISHED.includes(run.state);
  node.dataset.state = run.state;
  node.classList.toggle("over", over);
  const steps = run.total > 0 && run.total <= 64 ? run.total : 24;
  const share = run.total > 0 ? Math.min(1, run.done / run.total) : 0;
  part.bar.style.setProperty("--steps", steps);
  part.bar.firstChild.style.width = `${Math.floor(share * steps) / steps * 100}%`;
  part.bar.setAttribute("aria-valuemax", run.total || 1);
  part.bar.setAttribute("aria-valuenow", Math.min(run.done, run.total || 1));
  part.bar.hidden = over;
  const seconds = run.seconds ? ` in ${run.seconds} s` : "";
  const ahead = run.state === "waiting" ? queued(run.message) : 0;
  node.classList.toggle("queued", ahead > 0);
  const step = run.state === "running" && run.total > 1 && run.total <= 64 ? ` · step ${run.done} of ${run.total}` : "";
  const percent = run.state === "running" && run.total > 64 ? ` · ${Math.round(share * 100)} %` : "";
  const say = run.state === "done" ? `${count(run)}${seconds}`
    : ahead ? `waiting for ${ahead === 1 ? "1 request" : `${ahead} requests`} before it` : (run.message === "stopping" ? "stopping" : titles[run.state]) + step + percent;
  if (part.say.textContent !== say) part.say.textContent = say;
  part.cancel.hidden = over || run.state === "sending";
  part.again.hidden = !over || run.kind === "compare";
  part.close.hidden = !over;
  if (entry.filled === run.state) return;
  if (over || !entry.filled) entry.filled = over ? run.state : "open";
  else return;
  part.note.replaceChildren(...notes(run));
  if (run.state === "done" && run.kind === "compare") {
    node.remove(); // another tab may not have seen that it is done: it stays on the server
    loadContests();
  } else if (run.state === "done") {
    const assets = run.result.assets;
    part.body.replaceChildren(...assets.map((asset) => card(asset, () => assets)));
    stale = true;
  } else if (over) part.body.replaceChildren();
  else if (run.kind !== "compare") {
    const places = run.kind === "sprite" ? run.asked.count || 1 : 1;
    part.body.replaceChildren(...Array.from({ length: places }, () => el("div", { class: "card pending", "aria-hidden": "true" }, el("div", { class: "stage" }))));
  }
}

/** How many requests the engine's message says are before this one. */
function queued(message) {
  const [, running, more] = /^waiting( behind '.*?')?(?: and (\d+) more)?$/.exec(message) || [];
  return (running ? 1 : 0) + Number(more || 0);
}

const count = (run) => {
  const made = run.result.assets?.length ?? 0;
  return run.kind === "animation" ? "done" : made === 1 ? "1 sprite" : `${made} sprites`;
};

function notes(run) {
  const said = [];
  if (run.error) said.push(el("p", { class: "error", role: "alert" }, run.error));
  if (run.state === "lost") said.push(el("p", { class: "error" }, "The server was started again before this was done. Draw it again."));
  const unknown = run.result.unknown_words || [];
  if (unknown.length) said.push(el("p", { class: "warn" }, `The model does not know: ${unknown.join(", ")}. Say it with plainer nouns and colours.`));
  for (const note of run.result.notes || []) said.push(el("p", { class: "quiet" }, note));
  return said;
}

function drop(id) {
  runs.get(id)?.node.remove();
  runs.delete(id);
  stale = true;
  welcome();
}

function forget(id) {
  drop(id);
  post(`runs/${id}/forget`).catch(() => {});
}

// The empty page

function welcome() {
  const none = ![...runs.values()].some(({ run, node }) => run.kind !== "compare" && !node.hidden);
  const old = $("welcome");
  if (!none) return old?.remove();
  if (old && old.dataset.newest === newest.map((asset) => asset.id).join()) return undefined;
  old?.remove();
  $("results").append(el("div", { id: "welcome", class: "welcome", "data-newest": newest.map((asset) => asset.id).join() },
    el("img", { class: "pixels", src: "icon.png", alt: "", width: 96, height: 96 }),
    el("h2", {}, newest.length ? "What comes next?" : "Nothing drawn yet"),
    el("p", { class: "quiet" }, state.home?.root ? "Describe a sprite, choose the best one, deploy it into the game. Or try one of these:"
      : "Describe a sprite and choose the best one. Or try one of these:"),
    el("div", { class: "examples" }, ...EXAMPLES.map((prompt) =>
      el("button", { type: "button", onclick: () => { $("prompt").value = prompt; start(wanted(prompt)); } }, prompt))),
    newest.length ? el("section", { class: "latest" }, el("h3", {}, "Made last"), el("div", { class: "grid" }, ...newest.map((asset) => card(asset, () => newest)))) : null));
  return undefined;
}

// Library and comparisons

async function loadLibrary(offset = 0) {
  const found = await get("library", { text: $("search").value.trim(), kind: $("kind").value, offset }).catch((error) => { toast(error.message, "bad"); });
  if (!found) return;
  library = { total: found.total, assets: offset ? [...library.assets, ...found.assets] : found.assets, next: offset + found.page };
  stale = false;
  const searching = $("search").value.trim() || $("kind").value;
  const cards = found.assets.map((asset) => card(asset, () => library.assets));
  if (offset) $("library").append(...cards);
  else if (cards.length) $("library").replaceChildren(...cards);
  else $("library").replaceChildren(el("p", { class: "nothing" }, searching ? "Nothing matches. Search for another word of the prompt, or show everything."
    : "The library is empty. What you draw under Create is kept here."));
  $("shown").textContent = found.total ? `${library.assets.length} of ${found.total}` : "";
  $("older").hidden = library.next >= found.total;
}

async function loadContests() {
  const found = await get("contests").catch((error) => { toast(error.message, "bad"); });
  if (!found) return;
  $("contests").replaceChildren(...found.contests.map(contest));
  if (!found.contests.length) {
    const alone = state.home.variants.length < 2;
    $("contests").append(el("div", { class: "welcome" },
      el("h2", {}, alone ? "One model, nothing to compare it with" : "No comparison yet"),
      alone ? el("p", { class: "quiet" }, "On the server, ", el("code", {}, "dgx-pixels models pull sdxl"), " fetches a second model and ",
        el("code", {}, "dgx-pixels train"), " teaches a LoRA. Then load this page again.")
        : el("p", { class: "quiet" }, "Two models draw the same prompt with the same seeds. You vote without knowing which is which.")));
  }
}

// Views

const views = ["create", "library", "compare"];

function view() {
  const name = views.includes(location.hash.slice(1)) ? location.hash.slice(1) : "create";
  for (const other of views) {
    $(`view-${other}`).hidden = other !== name || !state.home;
    const link = document.querySelector(`nav a[href="#${other}"]`);
    if (other === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (!state.home) return;
  if (name === "library" && stale) loadLibrary();
  if (name === "compare") loadContests();
}

// Session

function link(how) {
  $("link").textContent = how === "connected" ? "connected" : "reconnecting";
  $("link").dataset.state = how;
  const lost = how === "lost";
  $("banner").hidden = !lost;
  $("banner").textContent = lost ? "The connection to the server is lost; this page tries again. If the server still runs, what it draws goes on." : "";
}

function heard(event, data) {
  if (event === "hello" && data.restarted) {
    for (const { run } of [...runs.values()]) if (!FINISHED.includes(run.state)) show({ ...run, state: "lost" });
    toast("The server was started again. What was drawn is in the library.", "warn");
  } else if (event === "hello") {
    // finished and removed in another tab meanwhile
    for (const { run } of [...runs.values()]) if (![...FINISHED, "sending"].includes(run.state) && !data.runs.includes(run.id)) drop(run.id);
  } else if (event === "run") show(data);
}

/** Shows which games there are, and which one is chosen. */
function games(home) {
  const chosen = home.root ?? state.project;
  $("game").replaceChildren(...home.games.map((game) =>
    el("option", { value: game.root, title: game.root, selected: game.root === chosen }, game.name)));
  $("game").hidden = home.games.length < 2;
  $("one-game").hidden = home.games.length > 1;
  $("one-game").textContent = home.game || home.games[0]?.name || "none";
  $("one-game").title = home.root || "Start the server in a game's folder, or add one to your token, to deploy.";
}

async function enter() {
  $("login").hidden = true;
  $("studio").hidden = false;
  $("waking").hidden = false;
  $("studio").classList.add("waking");
  for (const name of views) $(`view-${name}`).hidden = true;
  try {
    const home = await get("home");
    games(home);
    if (home.problem) throw new Error(home.problem);
    state.home = home;
  } catch (error) {
    $("waking").hidden = true;
    $("studio").classList.remove("waking");
    state.home = null;
    if (error.status === 401) return;
    $("banner").hidden = false;
    $("banner").textContent = `${error.message} `;
    $("banner").append(el("button", { type: "button", onclick: () => { $("banner").hidden = true; enter(); } }, "Try again"));
    return;
  }
  if (lastUser !== state.home.user) { // another one's runs are not this one's
    for (const { node } of runs.values()) node.remove();
    runs.clear();
    forgetEvents();
    lastUser = state.home.user;
  }
  $("logout").textContent = state.home.user ? `Log out ${state.home.user}` : "Log out";
  state.project = state.home.root;
  $("banner").hidden = true;
  for (const { run, node } of runs.values()) node.hidden = run.project !== state.project; // those of other games wait
  $("waking").hidden = true;
  $("studio").classList.remove("waking");
  fill(state.home);
  newest = (await get("library").catch(() => ({ assets: [] }))).assets.slice(0, 8);
  stale = true;
  $("welcome")?.remove();
  welcome();
  view();
  listen(heard, link);
}

function leave(text) {
  stopListening();
  state.home = null;
  $("link").textContent = "";
  $("dialog").close();
  $("studio").hidden = true;
  $("login").hidden = false;
  $("login-why").hidden = !text;
  $("login-why").textContent = text;
  $("token").value = "";
  $("token").focus();
}

// Listeners

$("login-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = event.submitter || event.target.querySelector("button");
  button.disabled = true;
  $("login-error").hidden = true;
  try {
    const said = await logIn($("token").value.trim());
    if (said.user !== lastUser) state.project = "";
    $("token").value = "";
    await enter();
  } catch (error) {
    $("login-error").textContent = error.message;
    $("login-error").hidden = false;
    $("token").focus();
  } finally {
    button.disabled = false;
  }
});
$("logout").addEventListener("click", logOut);
onLoggedOut((text) => leave(text));

$("create-form").addEventListener("submit", (event) => {
  event.preventDefault();
  start(wanted());
});
$("compare-form").addEventListener("submit", (event) => {
  event.preventDefault();
  start(comparison());
});
for (const id of ["prompt", "compare-prompt"]) {
  $(id).addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    event.target.form.requestSubmit();
  });
}
for (const box of document.querySelectorAll("input[name=kind]")) box.addEventListener("change", kindChanged);
$("count").addEventListener("change", kindChanged);
$("model").addEventListener("change", () => presets(state.home));
$("game").addEventListener("change", () => {
  state.project = $("game").value;
  enter();
});
let typing = 0;
$("search").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(loadLibrary, 200);
});
$("kind").addEventListener("change", () => loadLibrary());
$("older").addEventListener("click", (event) => pressing(event.currentTarget, () => loadLibrary(library.next)));
$("toasts").addEventListener("click", (event) => event.target.closest(".toast")?.remove());
$("dialog").addEventListener("click", (event) => { if (event.target === $("dialog")) $("dialog").close(); });
addEventListener("hashchange", view);
addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.target.matches("input, textarea, select") || $("dialog").open) return;
  const field = { library: "search", compare: "compare-prompt" }[location.hash.slice(1)] || "prompt";
  event.preventDefault();
  $(field).focus();
  $(field).select();
});
whenAsked({
  again: (asset) => { location.hash = "create"; use(state.home, asset, asset.width === asset.height ? asset.width : ""); },
  animate: (asset) => {
    location.hash = "create";
    start({ kind: "animation", prompt: asset.prompt, asset_id: asset.id, motions: ["idle", "walk"] });
  },
  changed: () => { stale = true; },
});

view();
if (loggedIn()) enter();
else leave("");
