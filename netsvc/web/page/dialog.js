// Dialogs: the browser's own <dialog>, which keeps the focus inside, ends on Esc and gives the focus
// back.
import { el, icon } from "./text.js";

// open shows content in a dialog with a name; the promise resolves when it is closed. close may be
// called at any time.
export function open(name, content, { className = "" } = {}) {
  const dialog = el("dialog", { "aria-label": name, class: className, closedby: "any" }, content);
  const closed = new Promise((resolve) => dialog.addEventListener("close", () => {
    dialog.remove();
    resolve(dialog.returnValue);
  }));
  // A press outside closes it, where the browser does not do that by itself.
  let outside = false;
  dialog.addEventListener("pointerdown", (e) => { outside = e.target === dialog; });
  dialog.addEventListener("click", (e) => { if (outside && e.target === dialog) dialog.close(""); });
  document.body.append(dialog);
  dialog.returnValue = "";
  dialog.showModal();
  return { dialog, closed, close: (value = "") => dialog.close(value) };
}

export const isOpen = () => !!document.querySelector("dialog[open]");

// ask shows a form. fields: {name, label, hint, type, value, required, maxlength, autocomplete}. run(values)
// does the work while the form waits; what it throws is shown in the form by its text. The promise
// resolves with what run returned, or undefined if the dialog was closed.
export async function ask({ title, text, body, fields = [], submit, danger = false, others = [], run }) {
  const error = el("p", { class: "error", role: "alert" });
  const inputs = new Map();
  const form = el("form", { class: "dialog-form", method: "dialog" }, el("h2", {}, title), text && el("p", {}, text), body);
  for (const f of fields) {
    const input = el("input", {
      class: "field", type: f.type ?? "text", name: f.name, value: f.value, required: f.required, maxlength: f.maxlength,
      autocomplete: f.autocomplete ?? "off", autocapitalize: "off", spellcheck: f.spellcheck ? "true" : "false", dir: "auto", autofocus: inputs.size === 0, "aria-describedby": f.hint && `hint-${f.name}`,
    });
    inputs.set(f.name, input);
    form.append(el("label", {}, el("span", {}, f.label), input, f.hint && el("span", { class: "hint", id: `hint-${f.name}` }, f.hint)));
  }
  const send = el("button", { class: `button ${danger ? "danger" : "primary"}`, type: "submit", autofocus: fields.length === 0 && !danger }, submit);
  const cancel = el("button", { class: "button quiet-button", type: "button", click: () => d.close() }, "Cancel");
  form.append(error, el("div", { class: "dialog-actions" }, cancel,
    ...others.map((o) => el("button", { class: "button", type: "button", click: () => work(o.run) }, o.label)), send));
  const d = open(title, form);
  let result;
  async function work(run) {
    error.textContent = "";
    form.setAttribute("aria-busy", "true");
    send.disabled = true;
    try {
      result = (await run(Object.fromEntries([...inputs].map(([name, input]) => [name, input.value.trim()])))) ?? true;
      d.close("done");
    } catch (e) {
      error.textContent = sentence(e);
      inputs.values().next().value?.select();
    } finally {
      form.removeAttribute("aria-busy");
      send.disabled = false;
    }
  }
  form.addEventListener("submit", (e) => {
    e.preventDefault();
    work(run);
  });
  await d.closed;
  return result;
}

// sentence makes a sentence of an error of the server, or of one of ours.
export function sentence(e) {
  const text = e?.text || e?.message || "That did not work.";
  return text[0].toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");
}

let toastTimer;

// toast says in a few words what was done; a screen reader says it, too.
export function toast(text) {
  const t = document.getElementById("toast");
  t.textContent = text;
  t.classList.add("shown");
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => t.classList.remove("shown"), 2200);
}

// copy copies a text, and says so.
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    toast("Copied");
    return true;
  } catch { // plain HTTP to another machine has no clipboard: show it, selected
    const input = el("input", { class: "field fixed", value: text, readonly: true, "aria-label": "Text to copy" });
    const d = open("Copy", el("div", { class: "dialog-form" }, el("h2", {}, "Copy this"), el("p", {}, isSecureContext ? "The browser does not let the page copy." : "The browser lets a page copy only by https."), input,
      el("div", { class: "dialog-actions" }, el("button", { class: "button", click: () => d.close() }, "Close"))));
    input.select();
    return false;
  }
}

// sheet is the content of a dialog with a heading and a button that closes it.
export function sheet(title, close, ...parts) {
  return el("div", { class: "sheet" }, el("div", { class: "sheet-head" }, el("h2", { dir: "auto", tabindex: "-1", autofocus: true }, title),
    el("button", { class: "tool", "aria-label": "Close", click: close }, icon("x"))), ...parts);
}

// row is a line of a sheet that does something.
export const row = (name, label, click, props) => el("button", { class: "sheet-row", click, ...props }, icon(name), el("span", {}, label));
