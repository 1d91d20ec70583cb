// What the connection knows of one room, and the order of what was asked there: the server gives
// each answer in its place, behind the lines that were sent before.

const lists = new Set(["who", "history", "before", "search", "list"]);
const saying = new Set(["say", "me", "notice", "topic"]);

// wordOf is the command of a line: "/Who" is who.
export const wordOf = (line) => (/^\/?(\S*)/.exec(line)[1]).toLowerCase();

// isSaying says whether a command with a text is a line of the room.
export const isSaying = (word) => saying.has(word) && word !== "say";

// call is a command whose answer is waited for. It is asked again after a break, unless it is only
// for this connection (own), or would be done twice.
export function call(line, resolve, reject, own = false) {
  return { call: true, own, line, word: wordOf(line), ok: null, lines: [], resolve, reject };
}

const once = new Set(["msg", "create", "delete", "join", "nick", "help"]);

// Membership is one room of the connection; the one with the empty name is the master port.
export class Membership {
  password = "";
  state = "out"; // out, entering, in
  entered = null; // the newest answer to entering
  kept = null; // what an earlier load of the page knew
  last = -1; // the stream was received up to this seq; -1: it has not begun
  asked = -1; // the seq of the /since on the way; -1: none
  synced = false; // the stream comes without a gap on this connection
  settled = false; // the lines under way were compared
  total = 0; // lines of the catch-up under way
  tries = 0;
  timer = 0;
  calls = []; // not sent
  waiting = []; // callers of enter

  #pending = []; // sent and not answered: calls, and items of the outbox, in order
  #collecting = null; // the call whose lines are coming

  constructor(name) {
    this.name = name;
  }

  // put notes that a call or an item is sent with these lines.
  put(what, lines) {
    this.#pending.push(what);
    lines.push(what.line);
  }

  #unanswered() {
    return [...(this.#collecting ? [this.#collecting] : []), ...this.#pending].filter((p) => p.call);
  }

  // restart puts back what was not answered.
  restart() {
    const unanswered = this.#unanswered().filter((c) => !c.own);
    for (const c of unanswered) {
      c.lines = [];
      if (once.has(c.word)) c.reject({ code: "unknown", text: "The connection broke before the answer came." });
    }
    this.calls = [...unanswered.filter((c) => !once.has(c.word)), ...this.calls.filter((c) => !c.own)];
    this.#pending = [];
    this.#collecting = null;
    Object.assign(this, { state: "out", synced: false, settled: false, asked: -1, total: 0 });
  }

  // end rejects all that waits.
  end(why) {
    clearTimeout(this.timer);
    for (const c of [...this.#unanswered(), ...this.calls, ...this.waiting.splice(0)]) c.reject(why);
    this.state = "out";
  }

  // answer gives an answer to its call. It returns the item of the outbox that was refused, if the
  // answer is that.
  answer(f) {
    const front = this.#pending[0];
    if (saying.has(f.command) && f.type === "ok" && !(front?.call && front.word === f.command)) return null; // the line has come before
    if (!front || (f.type !== "error" && front.call && front.word !== (f.command || "ping"))) return null; // asked before the membership ended
    this.#pending.shift();
    if (!front.call) return front;
    front.ok = f;
    if (f.type === "error") front.reject({ code: f.code, text: f.text });
    else if (lists.has(front.word) && f.count > 0) this.#collecting = front;
    else front.resolve({ ok: f, lines: [] });
    return null;
  }

  // collect takes one of the lines behind an answer, and says whether it is one.
  collect(f) {
    const c = this.#collecting;
    if (!c || !(f.seq || f.type === "member" || (f.type === "room" && !this.name))) return false;
    c.lines.push(f);
    if (c.lines.length === c.ok.count) {
      this.#collecting = null;
      c.resolve({ ok: c.ok, lines: c.lines });
    }
    return true;
  }

  // collectAll takes the lines behind an answer that was not asked for now.
  collectAll(ok, resolve) {
    if (ok.count > 0) this.#collecting = { ...call("", resolve, () => {}, true), ok };
    else resolve({ ok, lines: [] });
  }

  // confirm finds the item that a line of the room is, among those on their way, and returns it and
  // the items before it: the server has ignored those.
  confirm(matches) {
    const i = this.#pending.findIndex((p) => !p.call && matches(p));
    if (i < 0 || this.#pending.slice(0, i).some((p) => p.call)) return []; // of another session that had the nick
    return this.#pending.splice(0, i + 1);
  }
}
