// The values of answers, as the tables of the console show them.
import { date, el, number, size } from "./dom.js";

const instant = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/;
const plain = /port$|^(first|last|uid|pid|next|resting)$/;
const states = { open: "good", ok: "good", ready: "good", unbound: "bad", closing: "bad", problem: "bad", risk: "fair", opening: "fair", ban: "fair", mute: "fair" };

export const isObject = (v) => v !== null && typeof v === "object" && !Array.isArray(v);
const isTable = (v) => Array.isArray(v) && v.some(isObject);
const isEmpty = (v) => v === undefined || v === null || v === "" || v === false || Array.isArray(v) && v.length === 0;
const title = (name) => name.replaceAll("_", " ");

// cell is a value as a text, or as an element.
export function cell(name, v) {
  if (v === undefined || v === null || v === "") return "–";
  if (typeof v === "boolean") return v ? "yes" : "no";
  if (typeof v === "number") {
    if (name.endsWith("bytes")) return size(v);
    if (name === "id") return `#${v}`;
    if (name === "uid" && v < 0) return "–";
    return plain.test(name) ? String(v) : number(v);
  }
  if (Array.isArray(v)) return isTable(v) ? table(v) : v.map((one) => cell(name, one)).join(", ") || "–";
  if (isObject(v)) return object(v);
  if (instant.test(v)) return moment(v);
  if ((name === "state" || name === "level" || name === "kind") && states[v]) return tag(v, states[v]);
  return el("span", { dir: "auto" }, v);
}

// moment is a time, of this browser's zone.
export const moment = (v) => el("time", { datetime: v, title: v }, date(new Date(v)));

// tag is a state in its colour.
export const tag = (text, kind) => el("span", { class: `tag ${kind}` }, text);

// columns are the names in a list of objects, without those that are empty in all of them.
const columns = (rows) => [...new Set(rows.flatMap(Object.keys))].filter((name) => rows.some((r) => !isEmpty(r[name])));

const numeric = (v) => typeof v === "number";

// table shows a list of objects.
export function table(rows) {
  if (rows.length === 0) return el("p", { class: "none" }, "None.");
  const names = columns(rows);
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Table" }, el("table", {},
    el("thead", {}, el("tr", {}, names.map((n) => el("th", { scope: "col", class: rows.some((r) => numeric(r[n])) && n !== "id" && "number" }, title(n))))),
    el("tbody", {}, rows.map((r) => el("tr", {}, names.map((n) => el("td", { class: numeric(r[n]) && n !== "id" ? "number" : String(r[n]).length > 40 && "wide" }, cell(n, r[n]))))))));
}

// object shows the fields of an object.
export function object(v) {
  return el("dl", { class: "fields" }, Object.entries(v).filter(([, one]) => !isEmpty(one) || one === false)
    .map(([name, one]) => [el("dt", {}, title(name)), el("dd", {}, cell(name, one))]));
}

// value shows any value of an answer.
export function value(v) {
  if (Array.isArray(v)) return isTable(v) || v.length === 0 ? table(v) : el("p", {}, cell("", v));
  if (!isObject(v)) return el("p", {}, String(v));
  const names = Object.keys(v);
  if (names.length === 0) return el("p", { class: "none" }, "Done.");
  if (names.length === 1 && names[0] === "text") return el("p", { class: "said", dir: "auto" }, v.text);
  return object(v);
}

const words = new Intl.Collator("en", { numeric: true });

// List is a table that stays in place while its rows change: rows are known by their key, and the
// operator sorts and filters them. columns: {name, title, of(row), show(row), number, text(row)}.
export class List {
  #columns;
  #key;
  #rows = [];
  #there = new Map(); // rows on the page, by key
  #sort;
  #down = false;
  #most = 400; // rows on the page
  #empty;

  constructor({ name, columns, key, sort, down = false, filter = true, empty = "None.", tools = [] }) {
    this.#columns = columns;
    this.#key = key;
    this.#sort = sort;
    this.#down = down;
    this.#empty = empty;
    this.search = el("input", { type: "search", class: "field", placeholder: "Filter", "aria-label": `Filter ${name.toLowerCase()}`, input: () => this.#draw() });
    this.body = el("tbody");
    this.heads = columns.map((c) => el("th", { scope: "col", class: c.number && "number" }, c.of
      ? el("button", { type: "button", class: "sort", click: () => this.#by(c) }, c.title) : el("span", { class: c.title ? "" : "unseen" }, c.title || "Actions")));
    this.note = el("p", { class: "none", role: "status" });
    this.element = el("div", { class: "list" }, el("div", { class: "bar" }, filter && this.search, tools),
      el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": name }, el("table", {}, el("thead", {}, el("tr", {}, this.heads)), this.body)), this.note);
  }

  #by(c) {
    this.#down = this.#sort === c.name ? !this.#down : !!c.number;
    this.#sort = c.name;
    this.#draw();
  }

  set(rows) {
    this.#rows = rows;
    this.#draw();
  }

  #draw() {
    const sought = this.search.value.trim().toLowerCase();
    const by = this.#columns.find((c) => c.name === this.#sort);
    let rows = this.#rows.filter((r) => !sought || this.#columns.some((c) => c.of && String(c.of(r)).toLowerCase().includes(sought)));
    if (by) {
      const order = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : words.compare(a, b));
      rows = rows.toSorted((a, b) => order(by.of(a), by.of(b)) * (this.#down ? -1 : 1));
    }
    this.#columns.forEach((c, i) => {
      if (c.name === this.#sort) this.heads[i].setAttribute("aria-sort", this.#down ? "descending" : "ascending");
      else this.heads[i].removeAttribute("aria-sort");
    });
    const there = new Map();
    let before = null;
    for (const r of rows.slice(0, this.#most)) {
      const key = this.#key(r);
      const kept = this.#there.get(key) ?? this.#row();
      kept.row = r;
      this.#columns.forEach((c, i) => this.#show(kept, c, i));
      there.set(key, kept);
      const next = before ? before.nextSibling : this.body.firstChild;
      if (next !== kept.tr) this.body.insertBefore(kept.tr, next); // a row that stays keeps its focus
      before = kept.tr;
    }
    for (const [key, kept] of this.#there) if (!there.has(key)) kept.tr.remove();
    this.#there = there;
    const n = rows.length;
    this.note.textContent = n === 0 ? (sought ? "Nothing matches." : this.#empty) : n > this.#most ? `The first ${number(this.#most)} of ${number(n)}; filter to see others.` : "";
    this.element.classList.toggle("empty", n === 0);
  }

  #row() {
    const cells = this.#columns.map((c) => el("td", { class: c.number ? "number" : c.kind }));
    return { tr: el("tr", {}, cells), cells, shown: [] };
  }

  #show(kept, c, i) {
    const now = c.text ? c.text(kept.row) : c.of ? c.of(kept.row) : "";
    if (kept.shown[i] === now) return;
    kept.shown[i] = now;
    const made = c.show ? c.show(kept.row, () => kept.row) : cell(c.name, now);
    kept.cells[i].replaceChildren(...[made].flat().filter(Boolean));
  }
}
