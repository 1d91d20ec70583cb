// The list of rooms, with what is unread in each, and the dialog that jumps to one.
import * as dialog from "./dialog.js";
import { keep } from "./keep.js";
import { count, el, fold, icon, mentions, plural, roomHref, unseen } from "./text.js";

// More rooms than these are not drawn in the list; the jump dialog finds all of them.
const drawn = 250;

const names = (key) => new Set(keep.get(key, []).filter((name) => typeof name === "string"));

export class Rooms extends EventTarget {
  #all = new Map(); // folded name → the newest room object of the server
  #seen = keep.get("seen", {}); // room id → the newest line that the reader has seen
  #mentions = new Map(); // room id → numbers of unseen lines that mention the reader
  #opened = names("opened");
  #muted = names("muted");
  #items = new Map(); // name → its element in the list
  #drawing = false;
  loaded = false;
  current = "";

  constructor({ mine, minePart, others, note }) {
    super();
    this.view = { mine, minePart, others, note };
  }

  get(name) { return this.#all.get(fold(name)); }
  has(name) { return this.#all.has(fold(name)); }
  get opened() { return [...this.#opened]; }
  get all() { return [...this.#all.values()]; }

  // take handles what WATCH says.
  take(change) {
    switch (change.type) {
      case "list":
        this.#all.clear();
        for (const r of change.rooms) this.#put(r);
        this.loaded = true;
        break;
      case "room":
        this.#put(change);
        break;
      case "gone":
        this.#all.delete(fold(change.name));
        break;
      case "renamed": {
        const room = this.get(change.was);
        this.#all.delete(fold(change.was));
        if (room) this.#put({ ...room, name: change.name });
        for (const [set, key] of [[this.#opened, "opened"], [this.#muted, "muted"]]) {
          if (set.delete(change.was)) {
            set.add(change.name);
            keep.set(key, [...set]);
          }
        }
        break;
      }
    }
    this.draw();
  }

  #put(room) {
    const old = this.get(room.name);
    // Lines that came meanwhile are newer than the list, which comes once a second.
    if (old && old.id === room.id && old.newest > (room.newest ?? 0)) room = { ...room, newest: old.newest };
    this.#all.set(fold(room.name), room);
  }

  // entered completes a room by the answer to entering it: a room with a password shows nothing before.
  entered(answer) {
    const room = this.get(answer.name), id = room?.id ?? answer.id;
    this.#put({ ...room, id, name: answer.name, port: answer.port, newest: answer.newest, topic: answer.topic, read_only: answer.read_only });
    if (this.#seen[id] === undefined) this.saw(answer.name, answer.newest); // all of it is new, and nothing is unread
    this.#opened.delete(answer.name);
    this.#opened.add(answer.name);
    keep.set("opened", [...this.#opened].slice(-100));
    this.draw();
  }

  // restart forgets what was seen of a room that has another history now.
  restart(answer) {
    const id = this.get(answer.name)?.id;
    delete this.#seen[id];
    this.#mentions.delete(id);
  }

  // forget takes a room out of the reader's own.
  forget(name) {
    this.#opened.delete(name);
    keep.set("opened", [...this.#opened]);
    this.draw();
  }

  // line counts a line of a room that the reader is in. It returns whether the line mentions nick.
  line(name, line, nick) {
    const room = this.get(name);
    if (!room) return false;
    if (line.type === "topic") room.topic = line.text;
    if (line.members !== undefined) room.members = line.members;
    if (!line.seq) {
      this.draw();
      return false;
    }
    if (line.seq > (room.newest ?? 0)) room.newest = line.seq;
    const own = line.from === nick;
    const named = !own && line.type !== "topic" && mentions(line.text, nick);
    if (own && this.unread(room) <= 1) this.saw(name, line.seq);
    if (named && line.seq > (this.#seen[room.id] ?? 0)) {
      let lines = this.#mentions.get(room.id);
      if (!lines) this.#mentions.set(room.id, lines = new Set());
      lines.add(line.seq);
    }
    this.draw();
    return named;
  }

  seen(name) { return this.#seen[this.get(name)?.id]; }

  // saw notes that the reader has seen the line seq, and all before it.
  saw(name, seq) {
    const room = this.get(name);
    if (room?.id === undefined || !(seq >= 0) || this.#seen[room.id] >= seq) return;
    this.#seen[room.id] = seq;
    const lines = this.#mentions.get(room.id);
    for (const s of lines ?? []) if (s <= seq) lines.delete(s);
    keep.set("seen", this.#seen);
    this.draw();
  }

  unread(room) {
    const seen = this.#seen[room?.id];
    return seen === undefined ? 0 : Math.max(0, (room.newest ?? 0) - seen);
  }

  mentioned(room) { return this.#mentions.get(room?.id)?.size ?? 0; }
  isMuted(name) { return this.#muted.has(name); }

  mute(name, on) {
    if (on) this.#muted.add(name);
    else this.#muted.delete(name);
    keep.set("muted", [...this.#muted]);
    this.draw();
  }

  // totals are the unread lines and mentions of all of the reader's rooms.
  totals(except) {
    let unread = 0, named = 0;
    for (const name of this.#opened) {
      const room = this.get(name);
      if (!room || name === except) continue;
      if (!this.#muted.has(name)) unread += this.unread(room);
      named += this.mentioned(room);
    }
    return { unread, mentions: named };
  }

  // sorted are the reader's rooms, then the others, both by name, as the list shows them.
  sorted() {
    const mine = [], others = [];
    for (const [, room] of [...this.#all].sort(([a], [b]) => (a < b ? -1 : 1))) (this.#opened.has(room.name) ? mine : others).push(room);
    return { mine, others };
  }

  // beside returns the name of the next room (step 1) or the one before (-1), in the list's order;
  // with unread, of those with unread lines.
  beside(step, unread) {
    const { mine, others } = this.sorted();
    const all = [...mine, ...others.slice(0, drawn)];
    const at = all.findIndex((r) => r.name === this.current);
    for (let i = 1; i <= all.length; i++) {
      const r = all[(at + step * i + all.length * (i + 1)) % all.length];
      if (r.name !== this.current && (!unread || this.unread(r) > 0)) return r.name;
    }
    return "";
  }

  // draw draws the list in the next frame, once for all changes until then.
  draw() {
    if (this.#drawing) return;
    this.#drawing = true;
    const done = () => {
      if (!this.#drawing) return;
      this.#drawing = false;
      this.#drawNow();
      this.dispatchEvent(new Event("drawn"));
    };
    // A page in the background has no frames, and its title counts all the same.
    if (document.hidden) setTimeout(done);
    else requestAnimationFrame(done);
  }

  #drawNow() {
    const { mine, others } = this.sorted();
    const { view } = this;
    view.minePart.hidden = mine.length === 0;
    this.#fill(view.mine, mine, true);
    this.#fill(view.others, others.slice(0, drawn), false);
    const more = others.length - drawn;
    view.note.hidden = !this.loaded || (more <= 0 && others.length > 0);
    view.note.textContent = more > 0 ? `And ${count(more)} more: Ctrl K finds them.`
      : mine.length ? "You are in all of them." : "There are no rooms yet.";
    for (const [name, item] of this.#items) {
      if (!item.isConnected) this.#items.delete(name);
    }
  }

  // fill brings the elements of a list in order. Those that are in place stay, and keep the focus.
  #fill(list, rooms, mine) {
    let next = list.firstElementChild;
    for (const room of rooms) {
      const item = this.#item(room, mine);
      if (item === next) next = next.nextElementSibling;
      else list.insertBefore(item, next);
    }
    while (next) {
      const gone = next;
      next = next.nextElementSibling;
      gone.remove();
    }
  }

  #item(room, mine) {
    let item = this.#items.get(room.name);
    const current = room.name === this.current;
    const unread = mine ? this.unread(room) : 0, named = this.mentioned(room), muted = this.#muted.has(room.name);
    const state = JSON.stringify([room.locked, room.read_only, mine, !mine && room.members, unread, named, current, muted, room.topic]);
    if (item?.dataset.state === state) return item;
    if (!item) {
      item = el("li", {}, el("a", { href: roomHref(room.name) }));
      this.#items.set(room.name, item);
    }
    item.dataset.state = state;
    const link = item.firstElementChild;
    link.className = "room" + (current ? " current" : "") + (unread && !muted ? " unread" : "") + (muted ? " muted" : "");
    if (current) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
    link.title = room.topic ?? "";
    const more = [room.locked && "has a password", named && plural(named, "mention"), unread && `${count(unread)} unread`, !mine && !room.locked && plural(room.members ?? 0, "member"), muted && "notifications off"];
    link.replaceChildren(el("bdi", { class: "room-name" }, room.name), unseen(more));
    if (room.locked) link.append(icon("lock"));
    if (muted) link.append(icon("mute"));
    if (named) link.append(el("span", { class: "badge mentions", "aria-hidden": "true" }, `@${named > 99 ? "99+" : named}`));
    else if (unread && !current) link.append(el("span", { class: "badge", "aria-hidden": "true" }, unread > 999 ? "999+" : count(unread)));
    else if (!mine && room.members) link.append(el("span", { class: "room-count", "aria-hidden": "true" }, count(room.members)));
    return item;
  }

  // jump shows the dialog that filters all rooms. go(name) opens one, create(name) makes one.
  jump(go, create) {
    const input = el("input", {
      type: "text", role: "combobox", "aria-label": "Room", "aria-expanded": "true", "aria-controls": "jump-list", "aria-autocomplete": "list",
      placeholder: "Jump to a room", autocomplete: "off", autocapitalize: "off", spellcheck: "false", autofocus: true,
    });
    const list = el("ul", { id: "jump-list", class: "jump-list", role: "listbox", "aria-label": "Rooms found" });
    const d = dialog.open("Jump to a room", el("div", {}, el("div", { class: "jump-line" }, icon("search"), input, el("kbd", {}, "Esc")), list), { className: "jump-dialog" });
    let choices = [], at = 0;
    const choose = (i) => {
      at = (i + choices.length) % (choices.length || 1);
      [...list.children].forEach((li, n) => li.setAttribute("aria-selected", n === at));
      input.setAttribute("aria-activedescendant", choices.length ? `jump-${at}` : "");
      list.children[at]?.scrollIntoView({ block: "nearest" });
    };
    const take = (i) => {
      const c = choices[i];
      if (!c) return;
      d.close();
      c.room ? go(c.room.name) : create(c.create);
    };
    const show = () => {
      const words = input.value.trim(), f = fold(words);
      const rank = (r) => {
        const name = fold(r.name);
        if (!f) return (this.mentioned(r) ? 4 : 0) + (this.#opened.has(r.name) && this.unread(r) ? 2 : 0) + (this.#opened.has(r.name) ? 1 : 0);
        if (name === f) return 8;
        return (name.startsWith(f) ? 4 : name.includes(f) ? 2 : r.topic && fold(r.topic).includes(f) ? 1 : -1);
      };
      choices = this.all.filter((r) => r.name !== this.current || f).map((room) => ({ room, rank: rank(room) })).filter((c) => c.rank >= 0)
        .sort((a, b) => b.rank - a.rank || (fold(a.room.name) < fold(b.room.name) ? -1 : 1)).slice(0, 50);
      if (words && !this.has(words)) choices.push({ create: words });
      list.replaceChildren(...choices.map((c, i) => {
        const r = c.room;
        return el("li", { id: `jump-${i}`, class: "jump-item", role: "option", click: () => take(i) },
          icon(r ? (r.locked ? "lock" : "chat") : "plus"),
          el("bdi", { class: "room-name" }, r ? r.name : `Create “${words}”`), el("span", { class: "jump-topic", dir: "auto" }, r?.topic ?? ""),
          r && this.mentioned(r) ? el("span", { class: "badge mentions" }, `@${this.mentioned(r)}`)
            : r && this.unread(r) ? el("span", { class: "badge" }, count(this.unread(r)))
              : r?.members ? el("span", { class: "room-count" }, plural(r.members, "member")) : "");
      }));
      choose(0);
    };
    input.addEventListener("input", show);
    input.addEventListener("keydown", (e) => {
      if (e.isComposing) return;
      if (e.key === "ArrowDown" || (e.key === "n" && e.ctrlKey)) choose(at + 1);
      else if (e.key === "ArrowUp" || (e.key === "p" && e.ctrlKey)) choose(at - 1);
      else if (e.key === "Enter") take(at);
      else return;
      e.preventDefault();
    });
    show();
    return d;
  }
}
