// The members of the room: who, since when, and by which door.
import { ago, count, el, fold, monogram, plural, unseen } from "./text.js";

// More members than these are not drawn.
const drawn = 300;

const doors = { irc: "IRC", web: "browser" };

export class People {
  #room = "";
  #members = new Map(); // nick → {nick, since, door}
  #me = "";
  #drawing = false;
  #asked = 0;

  // total(n) is told the number of members; pick(nick) that one was chosen.
  constructor({ list, head, note, total, pick }) {
    Object.assign(this, { list, head, note, total, pick });
  }

  get nicks() { return [...this.#members.keys()]; }

  // show asks for the members of a room. The old ones stay in sight until the answer is there.
  async show(room, me, ask) {
    const asked = ++this.#asked;
    this.#me = me;
    if (room !== this.#room) {
      this.#room = room;
      this.#members.clear();
    }
    if (!room) return this.draw();
    try {
      const { lines } = await ask(room, "/who");
      if (asked !== this.#asked) return;
      this.#members = new Map(lines.map((m) => [m.nick, m]));
    } catch { /* the room has ended, or the connection: both ask again */ }
    this.draw();
  }

  set me(nick) {
    this.#me = nick;
    this.draw();
  }

  // line follows who comes and goes.
  line(room, line) {
    if (room !== this.#room) return;
    const old = this.#members.get(line.from);
    if (line.type === "join") this.#members.set(line.from, old ?? { nick: line.from, since: line.time, door: line.door });
    else if (line.type === "leave") this.#members.delete(line.from);
    else if (line.type === "nick") {
      this.#members.delete(line.from);
      this.#members.set(line.nick, { ...old, nick: line.nick });
    } else return;
    this.draw();
  }

  draw() {
    if (this.#drawing) return;
    this.#drawing = true;
    requestAnimationFrame(() => {
      this.#drawing = false;
      this.#drawNow();
    });
  }

  #drawNow() {
    const all = [...this.#members.values()].map((m) => [fold(m.nick), m]).sort(([a], [b]) => (a < b ? -1 : 1)).map(([, m]) => m);
    this.head.textContent = all.length ? plural(all.length, "member") : "Members";
    this.total(all.length);
    const focused = document.activeElement?.closest("#members")?.querySelector(":focus")?.dataset.nick;
    this.list.replaceChildren(...all.slice(0, drawn).map((m) => this.#item(m)));
    if (focused !== undefined) ([...this.list.querySelectorAll("button")].find((b) => b.dataset.nick === focused) ?? this.list.querySelector("button"))?.focus();
    const more = all.length - drawn;
    this.note.hidden = more <= 0 && all.length > 0;
    this.note.textContent = more > 0 ? `And ${count(more)} more.` : this.#room ? "Nobody is here." : "";
  }

  #item(m) {
    const own = m.nick === this.#me, door = doors[m.door] ?? m.door ?? "nc";
    const since = m.since ? ago(m.since) : "";
    return el("li", {}, el("button", {
      class: "member", "data-nick": m.nick, click: () => this.pick(m.nick),
      title: `${m.nick}\nby ${door}${since ? ` since ${since}` : ""}${own ? "" : "\nClick to send a private message"}`,
    }, monogram(m.nick, own), el("bdi", { class: "member-name" }, m.nick), unseen([own && "you", `by ${door}`, since && `since ${since}`]),
    own && el("span", { class: "you", "aria-hidden": "true" }, "you"), el("span", { class: "member-more", "aria-hidden": "true" }, [door, since].filter(Boolean).join(" · "))));
  }
}
