// Words, numbers and colours. All text goes into text nodes.

const bytes = new TextEncoder();

// byteLength returns the length of a text as the server counts it.
export const byteLength = (text) => bytes.encode(text).length;

// el makes an element: el("a", {class: "chip", href}, "text", child, …). Properties that are
// undefined, null or false are left out; functions are listeners of the event of that name.
export function el(tag, props, ...children) {
  const e = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (typeof value === "function") e.addEventListener(name, value);
    else e.setAttribute(name, value === true ? "" : value);
  }
  e.append(...children.filter((c) => c !== undefined && c !== null && c !== false));
  return e;
}

// icon makes an icon that is decoration: its button has a name.
export const icon = (name) => el("span", { class: `i i-${name}`, "aria-hidden": "true" });

// unseen makes a text that is only heard: what the picture beside it says.
export const unseen = (words) => el("span", { class: "unseen" }, words.filter(Boolean).map((w) => `, ${w}`).join(""));

// Nicks and rooms are compared without case. (The server knows more; a page must only not miss one.)
export const fold = (name) => name.normalize("NFKC").toLowerCase();

const letter = /[\p{L}\p{N}_]/u;

// find returns the places of nick in text as a whole word, as [start, end].
function find(text, nick) {
  const places = [];
  if (!nick) return places;
  const low = text.toLowerCase(), n = nick.toLowerCase();
  if (low.length !== text.length) return places; // a letter whose lower case is longer: rare
  for (let i = low.indexOf(n); i >= 0; i = low.indexOf(n, i + n.length)) {
    const end = i + n.length;
    if (!(i > 0 && letter.test(text[i - 1])) && !(end < text.length && letter.test(text[end]))) places.push([i, end]);
  }
  return places;
}

export const mentions = (text, nick) => find(text, nick).length > 0;

// fill puts text into e: `code`, links (http and https), #rooms that exist, nick, and what a search
// has found.
export function fill(e, text, { nick, mark, isRoom } = {}) {
  const token = /`([^`]+)`|\bhttps?:\/\/[^\s<>"`]+|(?<![^\s(])#[\p{L}\p{N}_][\p{L}\p{M}\p{N}_.-]{0,31}/giu;
  let at = 0;
  for (const m of text.matchAll(token)) {
    let whole = m[0], node;
    if (m[1] !== undefined) {
      node = el("code");
      marked(node, m[1], "", mark);
    } else if (whole[0] === "#") {
      const name = whole.slice(1).replace(/[.-]+$/, "");
      if (!isRoom?.(name)) continue;
      whole = "#" + name;
      node = el("a", { href: roomHref(name), class: "room-link" }, whole);
    } else {
      whole = trimLink(whole);
      const url = webAddress(whole);
      if (!url) continue;
      node = el("a", { href: url, target: "_blank", rel: "noopener noreferrer" });
      marked(node, whole, "", mark);
    }
    marked(e, text.slice(at, m.index), nick, mark);
    e.append(node);
    at = m.index + whole.length;
  }
  marked(e, text.slice(at), nick, mark);
  return e;
}

function marked(e, text, nick, mark) {
  const places = find(text, nick).map((p) => [...p, "me"]);
  if (mark) {
    const low = text.toLowerCase(), m = mark.toLowerCase();
    if (low.length === text.length) {
      for (let i = low.indexOf(m); i >= 0; i = low.indexOf(m, i + m.length)) places.push([i, i + m.length, "hit"]);
    }
  }
  let at = 0;
  for (const [start, end, kind] of places.sort((a, b) => a[0] - b[0])) {
    if (start < at) continue;
    if (start > at) e.append(text.slice(at, start));
    e.append(kind === "hit" ? el("mark", {}, text.slice(start, end)) : el("b", { class: kind }, text.slice(start, end)));
    at = end;
  }
  if (at < text.length) e.append(text.slice(at));
}

// trimLink leaves out what ends the sentence, not the address: "(see http://a/b)." has one of b.
function trimLink(s) {
  for (;;) {
    const last = s.at(-1);
    if (".,;:!?'*_~…".includes(last)) s = s.slice(0, -1);
    else if (last === ")" && s.split(")").length > s.split("(").length) s = s.slice(0, -1);
    else if (last === "]" && !s.includes("[")) s = s.slice(0, -1);
    else return s;
  }
}

function webAddress(s) {
  try {
    const url = new URL(s);
    return (url.protocol === "https:" || url.protocol === "http:") && url.href;
  } catch {
    return "";
  }
}

// roomHref is the address of a room, or of a line in it, below the page's base.
export const roomHref = (name, seq) => `r/${encodeURIComponent(name)}${seq ? `#${seq}` : ""}`;

// Hues that an eye tells apart, in degrees.
const hues = [15, 45, 70, 100, 130, 155, 190, 220, 250, 280, 310, 340];

// colour returns the hue of a nick. It is the same everywhere and at all times.
export function colour(nick) {
  let h = 2166136261 ^ 16111; // FNV-1a; the number spreads common names
  for (const b of bytes.encode(fold(nick))) h = Math.imul(h ^ b, 16777619);
  return hues[((h ^ (h >>> 15)) >>> 0) % hues.length];
}

// paint gives e the hue of a nick; the style sheet makes a colour of it, for each theme.
export function paint(e, nick) {
  e.style.setProperty("--hue", colour(nick));
  return e;
}

// monogram is the square with a nick's first letter.
export function monogram(nick, own = false) {
  const first = /[\p{L}\p{N}]/u.exec(nick)?.[0] ?? "?";
  return paint(el("span", { class: own ? "mono own" : "mono", "aria-hidden": "true" }, first.toUpperCase()), nick);
}

const language = navigator.language;
const clockFormat = new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const fullFormat = new Intl.DateTimeFormat(language, { dateStyle: "full", timeStyle: "medium" });
const dayFormat = new Intl.DateTimeFormat("en", { weekday: "long", day: "numeric", month: "long" });
const yearFormat = new Intl.DateTimeFormat("en", { day: "numeric", month: "long", year: "numeric" });
const numbers = new Intl.NumberFormat("en");

export const clock = (time) => clockFormat.format(new Date(time));
export const full = (time) => fullFormat.format(new Date(time));
export const count = (n) => numbers.format(n);
export const plural = (n, one, many = one + "s") => `${count(n)} ${n === 1 ? one : many}`;

const midnight = (t) => new Date(t.getFullYear(), t.getMonth(), t.getDate()).getTime();

export const sameDay = (a, b) => midnight(new Date(a)) === midnight(new Date(b));

// day names the day of a time for the divider: "Today", "Monday, 3 March".
export function day(time) {
  const t = new Date(time), now = new Date();
  const days = Math.round((midnight(now) - midnight(t)) / 86400e3);
  if (days === 0) return "Today";
  if (days === 1) return "Yesterday";
  return (t.getFullYear() === now.getFullYear() ? dayFormat : yearFormat).format(t);
}

// ago names a time in the past in few words: "14:03", "yesterday, 14:03", "3 March 2026".
export function ago(time) {
  const d = day(time);
  if (d === "Today") return clock(time);
  return d === "Yesterday" ? `yesterday, ${clock(time)}` : `${d}, ${clock(time)}`;
}

// time makes a <time>: the clock, and the date in its title.
export const time = (t) => el("time", { datetime: t, title: full(t) }, clock(t));
