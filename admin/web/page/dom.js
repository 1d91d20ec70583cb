// Elements, and the texts in them. All text is text: nothing here makes markup of it.

// el makes an element. Functions among props are event listeners; props that are null, undefined or
// false are left out.
export function el(tag, props = {}, ...children) {
  const e = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (typeof value === "function") e.addEventListener(name, value);
    else e.setAttribute(name, value === true ? "" : value);
  }
  e.append(...children.flat(Infinity).filter((c) => c !== undefined && c !== null && c !== false));
  return e;
}

export const byId = (id) => document.getElementById(id);

// fill replaces the content of an element.
export const fill = (e, ...children) => e.replaceChildren(...children.flat(Infinity).filter((c) => c !== undefined && c !== null && c !== false));

// button is a button with a text.
export const button = (text, click, kind = "", props = {}) => el("button", { type: "button", class: `button ${kind}`, click, ...props }, text);

// sentence makes a sentence of a text of the server.
export function sentence(text) {
  text ||= "That did not work";
  return text[0].toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");
}

// plural returns a number with its noun.
export const plural = (n, noun) => `${number(n)} ${noun}${n === 1 ? "" : "s"}`;

const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat("en-US", { maximumFractionDigits: 1 });
export const number = (n) => (Math.abs(n) < 100 ? tenths : whole).format(n);

// size formats a number of bytes.
export function size(n) {
  let unit = 0;
  for (; n >= 1000 && unit < 4; unit++) n /= 1000;
  return `${unit ? n.toFixed(1) : whole.format(n)} ${["B", "kB", "MB", "GB", "TB"][unit]}`;
}

// span formats a time in milliseconds: 3m, 5h.
export function span(ms) {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 60) return `${s}s`;
  if (s < 3600) return `${Math.floor(s / 60)}m`;
  if (s < 48 * 3600) return `${Math.floor(s / 3600)}h`;
  return `${Math.floor(s / 86400)}d`;
}

const two = (n) => String(n).padStart(2, "0");
export const clock = (d) => `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`;
export const date = (d) => `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} ${clock(d)}`;
