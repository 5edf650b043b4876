/** Elements of the page. Text is always a text node: nothing that a prompt says is read as HTML. */

export const $ = (id) => document.getElementById(id);

/** An element with attributes, listeners (on...) and children; null children are left out. */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== false && value != null) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child != null && child !== false));
  return node;
}

/** Fills a select with [value, text] pairs and keeps what was chosen where it is still offered. */
export function offer(select, options, chosen = select.value) {
  select.replaceChildren(...options.map(([value, text]) => el("option", { value }, text)));
  if (options.some(([value]) => String(value) === chosen)) select.value = chosen;
}

/** Says something for a moment, to screen readers too. `kind`: good, warn, bad or empty. */
export function toast(text, kind = "") {
  const node = el("p", { class: `toast ${kind}` }, text);
  const toasts = $("toasts");
  if (toasts.matches(":popover-open")) toasts.hidePopover();
  toasts.showPopover(); // again, so that it lies above a dialog
  toasts.append(node);
  setTimeout(() => node.remove(), kind === "bad" ? 12000 : 6000);
}

/** Shows a dialog; the close button and Escape end it. Returns the dialog. */
export function open(title, body, actions = []) {
  const dialog = $("dialog");
  dialog.replaceChildren(
    el("header", {}, el("h2", { id: "dialog-title" }, title),
      el("button", { type: "button", class: "plain close", "aria-label": "Close", onclick: () => dialog.close() }, "✕")),
    el("div", { class: "body" }, body),
    actions.length ? el("footer", {}, ...actions) : "");
  dialog.setAttribute("aria-labelledby", "dialog-title");
  dialog.onkeydown = null;
  dialog.classList.toggle("question", actions.length > 0 && !(body.classList?.contains("detail")));
  if (!dialog.open) dialog.showModal();
  return dialog;
}

/** Asks yes or no; resolves to whether it was the yes. */
export function ask(title, text, yes) {
  return new Promise((answer) => {
    let agreed = false;
    const dialog = open(title, el("p", {}, text), [
      el("button", { type: "button", onclick: () => dialog.close() }, "Leave it"),
      el("button", { type: "button", class: "primary", onclick: () => { agreed = true; dialog.close(); } }, yes)]);
    dialog.addEventListener("close", () => answer(agreed), { once: true });
  });
}

/** Runs an action of a button, which is disabled until it is done. Errors stand in `place`, or else become toasts. */
export async function pressing(button, action, place = null) {
  button.disabled = true;
  try {
    return await action();
  } catch (error) {
    if (place?.isConnected) Object.assign(place, { textContent: error.message, hidden: false });
    else toast(error.message, "bad");
    return null;
  } finally {
    button.disabled = false;
  }
}
