// The rows of the log: those of a part of a room's lines, the oldest first. Lines without a seq
// (joins, notices, private ones) are not kept by the server: they are remembered here, and put
// beside the lines that they came behind whenever those are shown.
import { fold } from "./text.js";

const most = 400; // rows in the document
const fewer = 50; // than that, after some were taken out
const mostExtras = 100; // lines without a seq of each room

const presence = new Set(["join", "leave", "nick"]);

export class Rows {
  #element;
  #render;
  #merge;
  #extras = new Map(); // by room: {after, line}

  all = []; // {line, row}
  begins = false; // with the oldest line of the room
  ends = false; // with the newest

  // render(line, prev) makes a row; merge(last, line) makes one line of two, or null.
  constructor(element, { render, merge }) {
    this.#element = element;
    this.#render = render;
    this.#merge = merge;
  }

  get first() {
    return this.all.find((e) => e.line.seq)?.line.seq ?? 0;
  }

  get last() {
    return this.all.findLast((e) => e.line.seq)?.line.seq ?? 0;
  }

  // at returns the row of a line, or of the next one.
  at(seq) {
    return (this.all.find((e) => e.line.seq >= seq) ?? this.all.at(-1))?.row;
  }

  // inSight returns the first entry whose row ends below a place. Rows are in order: it halves.
  inSight(top) {
    let low = 0, high = this.all.length;
    while (low < high) {
      const mid = (low + high) >> 1;
      if (this.all[mid].row.getBoundingClientRect().bottom > top) high = mid;
      else low = mid + 1;
    }
    return this.all[low];
  }

  clear() {
    this.#element.replaceChildren();
    this.all = [];
    this.begins = this.ends = false;
  }

  // remember keeps a line without a seq that came behind the line after.
  remember(room, after, line) {
    const extras = this.#extras.get(fold(room)) ?? [];
    extras.push({ after, line });
    this.#extras.set(fold(room), extras.slice(-mostExtras));
  }

  forget(room) {
    this.#extras.delete(fold(room));
  }

  // weave puts the remembered lines between those that have a seq: those that came behind the line
  // from, and not behind the line to.
  weave(room, lines, from, to) {
    const extras = (this.#extras.get(fold(room)) ?? []).filter((x) => x.after >= from && x.after <= to);
    const all = [];
    let i = 0;
    for (const line of lines) {
      for (; i < extras.length && extras[i].after < line.seq; i++) all.push(extras[i].line);
      all.push(line);
    }
    return all.concat(extras.slice(i).map((x) => x.line));
  }

  append(lines) {
    const made = document.createDocumentFragment();
    for (const line of lines) this.#add(line, made);
    this.#element.append(made);
  }

  #add(line, to) {
    const last = this.all.at(-1);
    const merged = presence.has(line.type) && last && this.#merge(last.line, line);
    if (merged) return this.#again(last, merged, this.all.at(-2));
    const row = this.#render(line, last?.line ?? null);
    this.all.push({ line, row });
    to.append(row);
  }

  // again renders a row whose line, or the one before it, has changed.
  #again(entry, line, prev) {
    const row = this.#render(line, prev?.line ?? null);
    entry.row.replaceWith(row);
    Object.assign(entry, { line, row });
  }

  prepend(lines) {
    const before = this.all;
    const made = document.createDocumentFragment();
    this.all = [];
    for (const line of lines) this.#add(line, made);
    this.#element.prepend(made);
    if (before.length && this.all.length) this.#again(before[0], before[0].line, this.all.at(-1));
    this.all.push(...before);
  }

  // trim takes out rows beyond `most`, at one end. The rest then begins and ends with a line that
  // has a seq: the others can be put beside it again.
  trim(fromTop) {
    const all = this.all;
    if (all.length <= most) return;
    const out = fromTop ? all.splice(0, all.length - most + fewer) : all.splice(most - fewer);
    while (all.length && !all.at(fromTop ? 0 : -1).line.seq) out.push(fromTop ? all.shift() : all.pop());
    for (const e of out) e.row.remove();
    if (fromTop) this.begins = false;
    else this.ends = false;
  }

  // mark puts the divider on the first row behind unread, if that is here; -1: nowhere.
  mark(unread) {
    for (const row of this.#element.querySelectorAll("[data-new]")) row.removeAttribute("data-new");
    if (unread < 0) return;
    const at = this.all.findIndex((e) => e.line.seq > unread);
    if (at > 0 || (at === 0 && this.begins)) this.all[at].row.dataset.new = "";
  }
}
