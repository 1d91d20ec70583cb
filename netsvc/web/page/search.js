// The search over all lines of a room. The server reads the whole history for it: one search at a
// time, the newest 50 hits.
import { ago, count, el, fill, fold, roomHref } from "./text.js";

const pause = 350; // ms without a key until a search begins by itself
const fewest = 2; // characters for which it does
const shown = 50; // hits that the server answers at most

export class Search {
  #panel;
  #input;
  #results;
  #status;
  #link;
  #open;
  #room = "";
  #asked = ""; // the text of the newest search
  #number = 0; // of the newest search
  #busy = false;
  #timer = 0;

  // open(room, seq) shows a line in its place.
  constructor({ panel, input, results, status, link, open }) {
    this.#panel = panel;
    this.#input = input;
    this.#results = results;
    this.#status = status;
    this.#link = link;
    this.#open = open;
    input.addEventListener("input", () => this.#typed());
    input.form?.addEventListener("submit", (e) => e.preventDefault());
    input.addEventListener("keydown", (e) => this.#key(e));
    results.addEventListener("keydown", (e) => this.#key(e));
    results.addEventListener("click", (e) => this.#click(e));
  }

  show(room) {
    if (fold(room) !== fold(this.#room)) {
      this.#room = room;
      this.#empty("");
      this.#asked = "";
    }
    this.#panel.hidden = false;
    this.#input.focus();
    this.#input.select();
    if (!this.#asked) this.#run();
  }

  hide() {
    clearTimeout(this.#timer);
    this.#panel.hidden = true;
  }

  #typed() {
    clearTimeout(this.#timer);
    const text = this.#input.value.trim();
    if (!text) return this.#run();
    if ([...text].length >= fewest) this.#timer = setTimeout(() => this.#run(), pause);
  }

  #empty(text) {
    this.#results.replaceChildren();
    this.#panel.classList.add("empty");
    this.#status.textContent = text;
  }

  // run searches for what stands in the input. While the server reads for an earlier search it
  // waits: the server answers in order, and reads all of it for each.
  async #run() {
    clearTimeout(this.#timer);
    const text = this.#input.value.trim();
    if (!text) {
      this.#asked = "";
      this.#number++;
      return this.#empty("Finds text and nicks in all lines of this room.");
    }
    if (text === this.#asked || this.#busy) return;
    this.#asked = text;
    const number = ++this.#number;
    this.#busy = true;
    this.#panel.classList.add("loading");
    this.#panel.setAttribute("aria-busy", "true");
    const n = this.#link.entered(this.#room)?.newest;
    const slow = setTimeout(() => { this.#status.textContent = n ? `Reading ${count(n)} lines…` : "Reading…"; }, 150);
    try {
      const { lines } = await this.#link.ask(this.#room, `/search ${text}`);
      if (number === this.#number) this.#show(lines, text);
    } catch (e) {
      if (!e.code) throw e;
      if (number === this.#number) this.#empty(e.text);
      this.#asked = "";
    } finally {
      clearTimeout(slow);
      this.#busy = false;
      this.#panel.classList.remove("loading");
      this.#panel.removeAttribute("aria-busy");
    }
    if (this.#asked && this.#input.value.trim() !== text) this.#run();
  }

  // show lists the hits, the newest first.
  #show(lines, text) {
    if (!lines.length) return this.#empty(`No line has “${text}”.`);
    this.#panel.classList.remove("empty");
    const most = lines.length === shown ? `The newest ${shown} lines` : lines.length === 1 ? "1 line" : `${lines.length} lines`;
    this.#status.textContent = `${most} with “${text}”`;
    this.#results.replaceChildren(...lines.reverse().map((line) => el("li", {},
      el("a", { class: "hit", href: roomHref(this.#room, line.seq), "data-seq": line.seq },
        fill(el("bdi", { class: "hit-who" }), line.from, { mark: text }),
        el("time", { datetime: line.time }, ago(line.time)),
        part(line.text ?? "", text)))));
    this.#results.scrollTop = 0;
  }

  #click(e) {
    const hit = e.target.closest(".hit");
    if (!hit || e.ctrlKey || e.metaKey || e.shiftKey || e.button) return;
    e.preventDefault();
    e.stopPropagation();
    this.#open(this.#room, Number(hit.dataset.seq));
  }

  // key: Enter searches at once, arrows go through the hits.
  #key(e) {
    const hits = [...this.#results.querySelectorAll(".hit")];
    const at = hits.indexOf(document.activeElement);
    if (e.key === "ArrowDown" && at + 1 < hits.length) hits[at + 1].focus();
    else if (e.key === "ArrowUp" && at >= 0) (hits[at - 1] ?? this.#input).focus();
    else if (e.key === "Enter" && at < 0) this.#run();
    else return;
    e.preventDefault();
  }
}

// part is the text of a hit, from a little before the place. A link in it would be one in a link:
// only the place is marked.
function part(text, mark) {
  const e = el("span", { class: "hit-text", dir: "auto" });
  const low = text.toLowerCase();
  const at = low.length === text.length ? low.indexOf(mark.toLowerCase()) : -1;
  let from = at > 80 ? at - 60 : 0;
  if (/[\udc00-\udfff]/.test(text.charAt(from))) from--;
  if (from) e.append("…");
  if (at < 0) e.append(text.slice(0, 300));
  else e.append(text.slice(from, at), el("mark", {}, text.slice(at, at + mark.length)), text.slice(at + mark.length, at + mark.length + 300));
  return e;
}
