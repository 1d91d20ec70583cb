// Dialogs: the browser's own <dialog>, which keeps the focus inside, ends on Esc and gives the focus
// back.
import { byId, button, el, sentence } from "./dom.js";

function open(name, content) {
  const dialog = el("dialog", { "aria-label": name }, content);
  document.body.append(dialog);
  const closed = new Promise((resolve) => dialog.addEventListener("close", () => {
    dialog.remove();
    resolve(dialog.returnValue);
  }));
  dialog.showModal();
  return { dialog, closed };
}

// form shows a form. fields: {name, label, hint, type, value, required, list, options}. run(values)
// does the work while the form waits; what it throws is shown in the form. It returns true when run
// has done its work.
export async function form({ title, text, fields = [], submit, danger = false, run }) {
  const error = el("p", { class: "error", role: "alert" });
  const inputs = new Map();
  const labels = fields.map((f, i) => {
    const input = f.options
      ? el("select", { class: "field", name: f.name, autofocus: i === 0 }, f.options.map((o) => el("option", { value: o, selected: o === f.value }, o)))
      : el("input", { class: "field", type: f.type ?? "text", name: f.name, value: f.value, required: f.required, autocomplete: f.type === "password" ? "new-password" : "off", spellcheck: "false", dir: "auto", autofocus: i === 0, "aria-describedby": f.hint && `hint-${f.name}` });
    inputs.set(f.name, input);
    return el("label", {}, el("span", {}, f.label), input, f.hint && el("span", { class: "hint", id: `hint-${f.name}` }, f.hint));
  });
  const send = el("button", { class: `button ${danger ? "danger" : "primary"}`, type: "submit" }, submit);
  const body = el("form", { method: "dialog", class: "form" }, el("h2", {}, title), text && el("p", {}, text), labels, error,
    el("div", { class: "dialog-actions" }, button("Cancel", () => d.dialog.close(), "", { autofocus: fields.length === 0 }), send));
  const d = open(title, body);
  let done = false;
  body.addEventListener("submit", async (e) => {
    e.preventDefault();
    error.textContent = "";
    send.disabled = true;
    try {
      await run?.(Object.fromEntries([...inputs].map(([name, input]) => [name, input.value])));
      done = true;
      d.dialog.close();
    } catch (wrong) {
      error.textContent = sentence(wrong.message);
    } finally {
      send.disabled = false;
    }
  });
  await d.closed;
  return done;
}

// question asks before a destructive command.
export const question = (text) => form({ title: "Are you sure?", text: sentence(`this ${text}`), submit: "Do it", danger: true });

// secret asks for a password twice, and returns it, or "".
export async function secret(text) {
  let given = "";
  await form({
    title: sentence(text).slice(0, -1), text: "It is neither shown nor written to the audit.", submit: "Set it",
    fields: [{ name: "first", label: "Password", type: "password", required: true }, { name: "again", label: "Repeat it", type: "password", required: true }],
    run: ({ first, again }) => {
      if (first !== again) throw new Error("the two passwords differ");
      given = first;
    },
  });
  return given;
}

let fading;

// toast says in a sentence what was done; a screen reader says it, too.
export function toast(text, failed = false) {
  const t = byId("toast");
  t.textContent = sentence(text);
  t.className = `toast shown ${failed ? "failed" : ""}`;
  clearTimeout(fading);
  fading = setTimeout(() => t.classList.remove("shown"), failed ? 8000 : 4000);
}
