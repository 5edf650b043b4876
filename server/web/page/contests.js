/** Compare two models blind, vote, and see the ranking. */

import { change } from "./api.js";
import { el, pressing } from "./elements.js";
import { scaleFor, still } from "./pictures.js";

const ROOM = 128;

/** A comparison: columns of pictures; votes until there is one, then the names and the ranking. */
export function contest(given) {
  const node = el("article", { class: "contest", "data-id": given.id });
  show(node, given);
  return node;
}

function show(node, given) {
  const blind = given.labels.every((label, index) => label === given.letters[index]);
  const names = given.labels.map((label, index) => label.replace(`${given.letters[index]}: `, ""));
  const columns = given.cells.map((column, index) => el("section", {
    class: given.winner === given.letters[index] ? "column won" : "column", "aria-label": `Column ${given.letters[index]}` },
    el("h4", {}, given.letters[index], blind ? null : el("span", { class: "label" }, names[index])),
    ...column.map((cell, row) => el("div", { class: "stage small", title: given.rows[row] }, cell
      ? still(cell.png, cell.width, cell.height, scaleFor(cell.width, cell.height, ROOM), `${given.letters[index]}, ${given.rows[row]}`)
      : el("span", { class: "quiet" }, "deleted"))),
    given.winner ? null : voting(node, given, given.letters[index], `${given.letters[index]} is better`)));
  const outcome = given.winner === "tie" ? "You found them equally good."
    : given.winner ? `You chose ${names[given.letters.indexOf(given.winner)]}.` : "Which column is better?";
  node.replaceChildren(
    el("header", {}, el("h3", {}, given.prompts.join(", ")), el("p", { class: "quiet", role: "status" }, outcome)),
    el("div", { class: "columns" }, ...columns),
    given.winner ? "" : voting(node, given, "tie", "Equally good"),
    given.winner && given.ranking.length ? ranking(given.ranking) : "");
}

function voting(node, given, winner, text) {
  const button = el("button", { type: "button", class: "vote", "data-winner": winner }, text);
  button.addEventListener("click", () => pressing(button, async () => {
    show(node, await change("vote", { comparison: given.id, winner }));
    node.tabIndex = -1;
    node.focus();
  }));
  return button;
}

function ranking(places) {
  const percent = (share) => `${Math.round(100 * share)} %`;
  return el("details", { open: true },
    el("summary", {}, "Ranking of all votes"),
    el("table", {}, el("thead", {}, el("tr", {}, el("th", {}, "model"), el("th", {}, "preferred"), el("th", {}, "95 %"), el("th", {}, "pairs"))),
      el("tbody", {}, ...places.map((place) => el("tr", {}, el("td", {}, place.key), el("td", {}, percent(place.share)),
        el("td", {}, `${percent(place.low)} to ${percent(place.high)}`), el("td", {}, String(place.pairs)))))));
}
