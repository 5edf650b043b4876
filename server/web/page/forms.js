/** The two forms: what they offer, and what they ask for. */

import { $, offer, toast } from "./elements.js";

const COUNTS = [1, 2, 4, 8, 16];
const radio = () => document.querySelector("input[name=kind]:checked").value;

/** Fills the forms with what the game and its models offer. */
export function fill(home) {
  const sizes = [["", home.game ? `${home.size} (game's)` : `${home.size} px`], ...home.sizes.map((size) => [size, `${size} px`])];
  offer($("size"), sizes);
  offer($("compare-size"), sizes);
  offer($("count"), COUNTS.map((count) => [count, String(count)]), $("count").value || "4");
  offer($("compare-count"), [1, 2, 4, 8].map((count) => [count, String(count)]), $("compare-count").value || "2");
  const theirs = home.game ? "the game's" : "the picture's own";
  offer($("palette"), [["", theirs], ...(home.game ? [["none", "the picture's own"]] : []), ...home.palettes.map((name) => [name, name])]);
  offer($("model"), home.models.map((name) => [name, name]), $("model").value || home.model);
  offer($("outline"), [["", home.game ? "the game's" : "none"], ...home.outlines.map((name) => [name, name])]);
  offer($("loras"), [["", "the game's"], ["none", "none"], ...home.loras.flatMap((name) => [`${name}@1`, `${name}@0.6`].map((text) => [text, text]))]);
  $("loras-field").hidden = !home.loras.length;
  presets(home);
  const before = chosenMotions();
  $("motions").replaceChildren(...home.motions.map((motion, index) => {
    const box = Object.assign(document.createElement("input"), { type: "checkbox", name: "motion", value: motion });
    box.checked = before.length ? before.includes(motion) : index < 2;
    const label = document.createElement("label"), text = document.createElement("span");
    text.textContent = motion;
    label.append(box, text);
    return label;
  }));
  const [one, other] = [home.variants[0], home.variants[1] ?? home.variants[0]];
  const variants = home.variants.map((name) => [name, name]);
  offer($("variant-1"), variants, $("variant-1").value || one);
  offer($("variant-2"), variants, $("variant-2").value || other);
  const alone = home.variants.length < 2;
  for (const field of $("compare-form").elements) field.disabled = alone;
  $("prompt-help").firstChild.textContent = home.prefix
    ? `The game adds “${home.prefix}”. Plain nouns and colours draw best. ` : "Plain nouns and colours draw best. ";
  kindChanged();
}

/** Offers the presets of the chosen model. */
export function presets(home) {
  offer($("preset"), [["", "the model's own"], ...(home.presets[$("model").value] || []).map((name) => [name, name])]);
}

const chosenMotions = () => [...document.querySelectorAll("input[name=motion]:checked")].map((box) => box.value);

/** Shows the fields of the chosen kind, and says on the button what it will do. */
export function kindChanged() {
  const kind = radio();
  for (const part of document.querySelectorAll("[data-for]")) part.hidden = part.dataset.for !== kind;
  const count = Number($("count").value) || 4;
  $("draw").textContent = kind === "animation" ? "Draw and animate" : count === 1 ? "Draw 1 sprite" : `Draw ${count} sprites`;
}

/** What the first form asks for, or null (and a word why) where it cannot be asked. */
export function wanted(prompt = $("prompt").value.trim() || $("prompt").placeholder) {
  const seed = $("seed").value.trim();
  if (!/^[0-9]{0,15}$/.test(seed)) {
    toast("A seed is a whole number without a sign. Leave it empty for a random one.", "bad");
    $("seed").focus();
    return null;
  }
  const shared = { prompt, size: Number($("size").value) || null, model: $("model").value, palette: $("palette").value,
    seed: seed === "" ? null : Number(seed) };
  if (radio() === "animation") {
    const motions = chosenMotions();
    if (motions.length) return { kind: "animation", ...shared, motions, directions: Number($("directions").value) };
    toast("Choose at least one motion.", "bad");
    return null;
  }
  return { kind: "sprite", ...shared, count: Number($("count").value), preset: $("preset").value,
    outline: $("outline").value, loras: $("loras-field").hidden ? "" : $("loras").value };
}

/** What the second form asks for. */
export function comparison() {
  const variants = [$("variant-1").value, $("variant-2").value];
  if (variants[0] === variants[1]) {
    toast("Choose two different ones to compare.", "bad");
    $("variant-2").focus();
    return null;
  }
  return { kind: "compare", prompt: $("compare-prompt").value.trim() || $("compare-prompt").placeholder, variants,
    count: Number($("compare-count").value), size: Number($("compare-size").value) || null };
}

/** Puts an asset's prompt and seed into the form. */
export function use(home, asset, size) {
  document.querySelector("input[name=kind][value=sprite]").checked = true;
  const prefix = home.prefix && `${home.prefix} `; // the game adds it again
  $("prompt").value = prefix && asset.prompt.startsWith(prefix) ? asset.prompt.slice(prefix.length) : asset.prompt;
  $("seed").value = asset.recipe.seed;
  if ([...$("size").options].some((option) => option.value === String(size))) $("size").value = size;
  kindChanged();
  $("prompt").focus();
}
