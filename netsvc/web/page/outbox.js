// The lines that were typed and are not known to be in their rooms, by room. They survive a reload
// of the page. The rules are those of netsvc/client: lines keep their order, and of two equal ones
// each counts.
import { keep } from "./keep.js";
import { byteLength, fold } from "./text.js";

const window = 40; // lines of a room on their way; the server reads 20 a second
const most = 1000; // that wait in one room

// What shows nothing is no line for the server, and would never come back.
const visible = /[^\p{White_Space}\p{M}\p{Cf}\p{DI}\u2800\u{1d159}\u{16fe4}]/u;
// What the server replaces is replaced here: it must not be taken for telnet or a line end.
const control = /[\u0000-\u0008\u000a-\u001f\u007f-\u009f\ufeff]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;

// sameText says whether got can be what the server made of sent: it may have replaced characters
// with U+FFFD.
export function sameText(sent, got) {
  const a = Array.from(sent), b = Array.from(got);
  return a.length === b.length && b.every((c, i) => c === a[i] || c === "\ufffd");
}

const isBox = (b) => typeof b?.name === "string" && Array.isArray(b.items) && b.items.every((i) => typeof i?.text === "string" && typeof i.line === "string");

// Item is a line on its way.
class Item {
  static #ids = 0;
  id = String(++Item.#ids);
  sentOn = 0; // the number of the connection; 0: it is not in the room
  nick = ""; // that it was sent by
  unsure = false; // it was sent on an earlier connection
  withdrawn = false; // if it has not come, it is not sent again
  error = null;

  constructor(fields) {
    Object.assign(this, fields); // kind, text as it will come, line as it is sent, typed
  }
}

export class Outbox {
  #rooms = new Map();
  #changed;
  #saving = false;

  constructor(changed) {
    this.#changed = changed;
    for (const kept of keep.session.get("outbox", []).filter(isBox)) {
      const items = kept.items.map((i) => new Item({ ...i, unsure: i.sentOn !== 0 && !i.error }));
      this.#rooms.set(fold(kept.name), { ...kept, items });
    }
  }

  // forget drops what another page has, too.
  forget() {
    this.#rooms.clear();
    this.save();
  }

  // start returns what a compare of the lines of an earlier load of the page begins with, or null.
  start(name) {
    const b = this.#box(name);
    return b.items.length ? { last: b.room ? b.room.last : b.last, room_id: b.room_id, epoch: b.epoch } : null;
  }

  // base sets the history that the room's lines are in; room.last is kept with the lines.
  base(name, { room_id, epoch, room }) {
    Object.assign(this.#box(name), { room_id, epoch, room });
  }

  #box(name) {
    const key = fold(name);
    let b = this.#rooms.get(key);
    if (!b) this.#rooms.set(key, b = { name, last: 0, items: [] });
    return b;
  }

  // add appends what was typed, or returns why not.
  add(name, typed, lineBytes) {
    const b = this.#box(name);
    const [, kind = "message", rest = typed] = /^\/(me|notice|topic)\s+(.*)$/is.exec(typed) || [];
    const isText = kind === "message";
    let text = rest.replace(control, "\ufffd");
    if (!isText) text = text.trim();
    else if (typed.startsWith("//")) text = text.slice(1);
    if (!visible.test(text)) return { code: "blank", text: "There is nothing in this line to send." };
    const line = isText ? (text.startsWith("/") ? `/${text}` : text) : `/${kind.toLowerCase()} ${text}`;
    const n = byteLength(line);
    if (n > lineBytes) return { code: "too-long", text: `This line has ${n} bytes; the longest that the server takes has ${lineBytes}.` };
    if (b.items.length >= most) return { code: "full", text: `${most} lines wait already.` };
    b.items.push(new Item({ kind: kind.toLowerCase() === "me" ? "action" : kind.toLowerCase(), text, line, typed }));
    return null;
  }

  // list is the outbox of a room in sight.
  list(name, online) {
    const b = this.#rooms.get(fold(name));
    return (b?.items || []).filter((i) => !i.withdrawn).map((i) => ({
      id: i.id, text: i.text, type: i.kind, typed: i.typed, code: i.error?.code, why: i.error?.text,
      state: i.error ? "failed" : i.unsure ? "unsure" : i.sentOn && online ? "sent" : "waiting",
    }));
  }

  // take returns the lines that may be sent now, and notes that they are.
  take(name, connection, nick) {
    const live = this.#box(name).items.filter((i) => !i.error);
    const way = live.filter((i) => i.sentOn).length;
    const items = live.filter((i) => !i.sentOn).slice(0, Math.max(0, window - way));
    for (const i of items) Object.assign(i, { sentOn: connection, nick });
    if (items.length) this.changed(name);
    return items;
  }

  // matches says whether a line of the room can be this one.
  matches(i, f) {
    const kind = f.notice ? "notice" : f.type;
    return f.from === i.nick && kind === i.kind && sameText(i.text, f.text || "");
  }

  // confirmEarlier confirms a line that was sent on an earlier connection. As the order is kept,
  // the server has refused those before it.
  confirmEarlier(name, f) {
    const live = this.#box(name).items.filter((i) => !i.error);
    const at = live.findIndex((i) => !i.sentOn || this.matches(i, f));
    if (at < 0 || !live[at].sentOn) return;
    for (const i of live.slice(0, at)) this.refuse(name, i, { code: "refused", text: "The server refused this line; the reason was lost with the connection." });
    this.confirm(name, live[at]);
  }

  confirm(name, item) {
    this.#remove(name, (i) => i === item);
  }

  refuse(name, item, { code, text }) {
    Object.assign(item, { error: { code, text }, unsure: false, sentOn: 0 });
    if (item.withdrawn) this.confirm(name, item);
    this.changed(name);
  }

  // broke notes that the connection broke.
  broke(name) {
    for (const i of this.#box(name).items) i.unsure = i.sentOn !== 0;
    this.changed(name);
  }

  // requeue is called when all lines that came were compared: those that have not come will not.
  requeue(name) {
    const b = this.#box(name);
    for (const i of b.items) {
      if (i.unsure && i.withdrawn) continue;
      if (i.unsure) Object.assign(i, { unsure: false, sentOn: 0 });
    }
    this.#remove(name, (i) => i.unsure);
  }

  // fail is for lines that must not go into another room of that name.
  fail(name, code, text) {
    for (const i of this.#box(name).items) this.refuse(name, i, { code, text });
  }

  // retract takes a line out; one that is on its way may still come.
  retract(id) {
    for (const [name, b] of this.#rooms) {
      const i = b.items.find((x) => x.id === id);
      if (!i) continue;
      if (i.sentOn) i.withdrawn = true;
      else b.items.splice(b.items.indexOf(i), 1);
      this.changed(name);
      return i.sentOn === 0;
    }
    return false;
  }

  // again puts a line that failed at the end, and returns the name of its room.
  again(id) {
    for (const b of this.#rooms.values()) {
      const at = b.items.findIndex((x) => x.id === id && x.error);
      if (at < 0) continue;
      const [i] = b.items.splice(at, 1);
      b.items.push(Object.assign(i, { error: null, sentOn: 0 }));
      this.changed(b.name);
      return b.name;
    }
    return "";
  }

  drop(name) {
    this.#rooms.delete(fold(name));
    this.changed(name);
  }

  renamed(was, name) {
    const b = this.#box(was);
    this.#rooms.delete(fold(was));
    this.#rooms.set(fold(name), Object.assign(b, { name }));
  }

  #remove(name, which) {
    const b = this.#box(name);
    b.items = b.items.filter((i) => !which(i));
    this.changed(name);
  }

  changed(name) {
    this.#changed(name);
    if (this.#saving) return;
    this.#saving = true;
    queueMicrotask(() => this.save());
  }

  // save keeps the lines together with the seq up to which they were compared.
  save() {
    this.#saving = false;
    const all = [];
    for (const b of this.#rooms.values()) {
      const { name, room_id, epoch, room, items } = b;
      if (items.length) all.push({ name, room_id, epoch, last: room ? room.last : b.last, items: items.map(({ id, unsure, ...rest }) => rest) });
    }
    keep.session.set("outbox", all.length ? all : undefined);
  }
}
