/** Cards of assets: look closer, deploy with the game's answer, undo. */

import { change, state } from "./api.js";
import { $, ask, el, open, pressing, toast } from "./elements.js";
import { fitting, picture, resize, scaleFor, stepped, still } from "./pictures.js";

const ROOM = 160;
const PROOFS = {
  reloaded: ["good", "The running game shows it."],
  game_not_running: ["", "No game is running: it appears at the next start."],
  deployed_not_loaded_by_game: ["warn", "The game runs, but does not load this file yet."],
  deployed_unverified: ["warn", "The file is there; the game could not confirm it."],
  reload_failed: ["bad", "The game could not load it."],
};

let hooks = { again: () => {}, animate: () => {}, changed: () => {} };
/** What cards ask of the page: draw a prompt again, animate a sprite, look at the library again. */
export const whenAsked = (given) => { hooks = given; };

const name = (asset) => asset.prompt || asset.id;
const failed = (asset) => Object.entries(asset.gates || {}).filter(([, held]) => !held).map(([gate]) => gate);
const kinds = { sprite: "sprite", sheet: "animation", tileset: "tileset" };

/** What a card says below its picture. */
function facts(asset) {
  const [width, height] = asset.sheet ? asset.sheet.tile_size : [asset.width, asset.height];
  const kind = asset.kind === "sprite" ? "" : `${kinds[asset.kind] || asset.kind} · `;
  return `${kind}${width}×${height} · seed ${asset.recipe.seed}`;
}

/** A card of an asset, with what was deployed of it. */
export function card(asset, siblings = () => [asset]) {
  const place = el("div", { class: "placed", role: "status" });
  const deployed = (asset.deployed || []).map((path) => ({ path, verification: "", state: "", note: "" }));
  const deploy = el("button", { type: "button", class: "deploy" }, "Deploy");
  deploy.title = `Into the assets of ${state.home?.game}, named by the prompt`;
  deploy.addEventListener("click", () => pressing(deploy, () => put(asset, "", place)));
  if (!state.home?.root) {
    deploy.disabled = true;
    deploy.title = "No game is open. Start the server in a game's folder, or add one to your token.";
  }
  const bad = failed(asset);
  const node = el("article", { class: "card", "data-id": asset.id },
    el("button", { type: "button", class: "stage", "aria-label": `Look closer: ${name(asset)}, ${facts(asset)}`,
      onclick: () => look(asset, siblings, place) }, picture(asset, fitting(asset, ROOM), { label: "" })),
    el("div", { class: "name", title: name(asset) }, name(asset)),
    el("div", { class: "facts" }, facts(asset)),
    bad.length ? el("div", { class: "facts bad", title: bad.join(", ") }, `check failed: ${bad.join(", ")}`) : null,
    el("div", { class: "actions" }, deploy,
      el("button", { type: "button", onclick: () => look(asset, siblings, place) }, "Details")),
    place);
  if (deployed.length) place.append(...deployed.map((one) => placed(one, asset, place)));
  return node;
}

/** Deploys, after a question where another file is in the way. Shows the proof in `place`. */
async function put(asset, path, place) {
  const done = await overwriting("deploy", { asset_id: asset.id, path }, "Replace the file?",
    (error) => `${told(error)} Undo brings it back.`, "Replace it");
  if (!done) return null;
  asset.deployed = [done.path, ...(asset.deployed || []).filter((other) => other !== done.path)];
  for (const old of document.querySelectorAll(`.proof[data-path="${CSS.escape(done.path)}"]`)) old.remove();
  place.prepend(placed(done, asset, place));
  hooks.changed();
  return done;
}

/** Takes a deployment back. */
async function takeBack(asset, path) {
  const done = await overwriting("undo", { path }, "Undo although it was changed?",
    (error) => `${told(error)} The change is lost then.`, "Undo all the same");
  if (!done) return;
  asset.deployed = (asset.deployed || []).filter((other) => other !== path);
  for (const old of document.querySelectorAll(`.proof[data-path="${CSS.escape(path)}"]`)) old.remove();
  toast(`${path} is as it was before.${done.note ? ` ${done.note}` : ""}`, "good");
  hooks.changed();
}

/** What is in the way, with the path as it is in the game. */
const told = (error) => error.message.split(" Give overwrite")[0].replace(`${state.home.root}/`, "");

async function overwriting(what, body, title, text, yes) {
  try {
    return await change(what, body);
  } catch (error) {
    if (error.code !== "overwrite") throw error;
    return (await ask(title, text(error), yes)) ? change(what, { ...body, overwrite: true }) : null;
  }
}

function proof(done) {
  if (done.state === "identical" && done.verification !== "reloaded") return ["", "It is there already."];
  return PROOFS[done.verification] || ["", "Written."];
}

/** A line about one deployment, with its proof and an undo. */
function placed(done, asset) {
  const [kind, text] = done.state ? proof(done) : ["", ""];
  const undo = el("button", { type: "button", class: "plain undo", "aria-label": `Undo ${done.path}` }, "Undo");
  undo.addEventListener("click", () => pressing(undo, () => takeBack(asset, done.path)));
  return el("div", { class: `proof ${kind}`, "data-path": done.path },
    el("span", { class: "path" }, el("span", { class: "mark", "aria-hidden": "true" }, kind === "bad" ? "✕" : "✓"),
      " ", el("span", { class: "quiet" }, "in the game: "), done.path),
    text ? el("strong", {}, text) : null,
    done.note && kind ? el("p", { class: "note" }, done.note) : null,
    done.screenshot ? el("button", { type: "button", class: "shot", "aria-label": "The game's picture, larger",
      onclick: () => open("The running game", el("img", { class: "wide", src: done.screenshot, alt: "The game after the deploy" })) },
      el("img", { src: done.screenshot, alt: "The game after the deploy" })) : null,
    undo);
}

/** The dialog of an asset: large, with its colours, its recipe and what can be done with it. */
function look(asset, siblings, place) {
  const room = () => Math.max(96, Math.min(innerWidth - 104, 448));
  let scale = fitting(asset, room()), clip = "", whole = false;
  const stage = el("div", { class: "stage large" });
  const draw = () => {
    if (!whole) return stage.replaceChildren(picture(asset, scale, { clip, plays: true }));
    const image = still(asset.map || asset.png, 0, 0, 1, name(asset));
    image.onload = () => resize(image, scaleFor(image.naturalWidth, image.naturalHeight, room()));
    return stage.replaceChildren(image);
  };
  const zoom = (step) => { scale = stepped(scale, step); draw(); };
  const clips = Object.keys(asset.sheet?.animations || {});
  const path = el("input", { id: "deploy-path", type: "text", placeholder: "named by the prompt", autocomplete: "off", spellcheck: "false" });
  const deploy = el("button", { type: "submit", class: "primary", disabled: !state.home?.root }, "Deploy");
  const wrong = el("p", { class: "error", role: "alert", hidden: true });
  const recipe = asset.recipe;
  const rows = [["size", asset.sheet ? `sheet ${asset.width}×${asset.height}, frames ${asset.sheet.tile_size.join("×")}` : `${asset.width}×${asset.height}`], ["seed", recipe.seed], ["model", recipe.model || "none"],
    ["preset", recipe.preset], ["LoRAs", (recipe.loras || []).map((one) => `${one.name}@${one.weight}`).join(" + ")],
    ["made", new Date(asset.created).toLocaleString()], ["id", asset.id],
    ["in the game", (asset.deployed || []).join(", ")]].filter(([, value]) => value || value === 0);
  const body = el("div", { class: "detail" },
    el("div", {}, stage,
      el("div", { class: "actions" },
        el("button", { type: "button", "aria-label": "Smaller", onclick: () => zoom(-1) }, "−"),
        el("button", { type: "button", "aria-label": "Larger", onclick: () => zoom(1) }, "+"),
        asset.map || asset.sheet ? el("button", { type: "button", onclick: () => { whole = !whole; draw(); } }, asset.map ? "Map" : "Sheet") : null,
        ...(clips.length > 1 ? clips.map((one) => el("button", { type: "button", onclick: () => { clip = one; whole = false; draw(); } }, one)) : []))),
    el("div", {},
      el("form", { class: "field", onsubmit: (event) => {
        event.preventDefault();
        pressing(deploy, async () => {
          const done = await put(asset, path.value.trim(), place);
          if ($("dialog").open) $("dialog").close();
          if (done) toast(`${done.path}: ${proof(done)[1]}`, proof(done)[0]);
        }, wrong);
      } },
        el("label", { for: "deploy-path" }, "Where in assets/"),
        el("div", { class: "line" }, path, deploy), wrong,
        state.home?.root ? null : el("p", { class: "help" }, "No game is open. Start the server in a game's folder, or add one to your token.")),
      el("div", { class: "swatches", "aria-label": "Colours" }, ...(asset.palette || []).map((color) => {
        const swatch = el("span", { title: `#${color}` });
        swatch.style.background = `#${color}`;
        return swatch;
      })),
      el("dl", {}, ...rows.flatMap(([term, value]) => [el("dt", {}, term), el("dd", {}, String(value))])),
      el("details", {}, el("summary", {}, "Recipe"), el("pre", {}, JSON.stringify(recipe, null, 1)))));
  const more = [
    el("a", { class: "button", href: asset.png, download: `${asset.id}.png` }, "Download"),
    asset.kind === "sprite" ? el("button", { type: "button", onclick: () => { $("dialog").close(); hooks.animate(asset); } }, "Animate") : null,
    asset.kind === "sprite" && asset.prompt
      ? el("button", { type: "button", onclick: () => { $("dialog").close(); hooks.again(asset); } }, "Use prompt and seed") : null,
  ].filter(Boolean);
  const dialog = open(name(asset), body, more);
  dialog.onkeydown = (event) => {
    if (event.target.matches("input, pre")) return;
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key], all = siblings();
    const next = step && all[all.findIndex((one) => one.id === asset.id) + step];
    if (next) look(next, siblings, document.querySelector(`.view:not([hidden]) .card[data-id="${next.id}"] .placed`) || place);
    if (event.key === "+" || event.key === "=") zoom(1);
    if (event.key === "-") zoom(-1);
  };
  draw();
}
