// The connection of the page: one WebSocket for all rooms, subprotocol roomd.v1 (docs/protocol.md).
//
// Lines that were typed reach the room exactly once. They stand in an outbox until their own line has come. When the
// connection breaks, some may have been sent and not seen. The page then comes back, ends its earlier session (RESUME), has
// its nick again, and reads every line since the last one that it has seen, up to the answer of a /ping. The server answers
// RESUME, and gives the nick, only when all lines of the earlier session are in their rooms: so lines under way that came are
// confirmed, in order, by nick and text, and the others were never read and are sent again. netsvc/client has the same rules.
//
// A line that was received counts once, by its seq: the stream of a room goes on behind `last`, in the history that room_id
// and epoch name.
import { keep } from "./keep.js";
import { Membership, call, isSaying, wordOf } from "./membership.js";
import { Outbox } from "./outbox.js";
import { Socket } from "./socket.js";
import { byteLength, fold } from "./text.js";

const lastPause = 30_000; // ms at most between attempts to enter a room
const bigReplay = 200; // lines of a catch-up from which on progress is told
const final = new Set(["no-room", "password", "denied", "banned", "bad-name", "bad-request", "kicked", "deleted"]);
export class Link extends EventTarget {
  #socket;
  #rooms = new Map(); // by folded name
  #master = new Membership("");
  #token = keep.session.get("token", "");
  #claim = 0; // the newest attempt to be the page's only session: RESUME alone, or with NICK
  #granted = 0; // the newest one that succeeded
  #denied = 0; // the newest one whose nick was refused: RESUME was answered before
  #renaming = 0; // lines wait meanwhile: they have one sender
  #names = new Map(); // of rooms, by id
  #nickTries = 0;
  #nickTimer = 0;

  nick = "";
  state = "connecting";
  hello = null;
  // The nick of the session as the server says it: a guest's, if none was taken.
  as = "";

  constructor(url) {
    super();
    this.#socket = new Socket(url, {
      connecting: () => this.state === "connecting" || this.#set("connecting"),
      opened: () => this.#opened(),
      received: (text) => this.#received(text),
      lost: (how) => this.#lost(how),
      probe: () => this.#probe(),
    });
    this.outboxes = new Outbox((room) => this.#emit("outbox", { room }));
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  #set(state, detail = {}) {
    this.state = state;
    this.#emit("state", { state, ...detail });
  }

  // start connects, once it is known that no other page has this token: a tab that was duplicated has its storage, too.
  async start() {
    addEventListener("pagehide", () => this.outboxes.save());
    const channel = new BroadcastChannel("roomd");
    const stored = /^[\w-]{1,64}$/.test(this.#token) ? this.#token : "";
    const me = random();
    let other = false;
    channel.onmessage = ({ data }) => {
      if (data.token !== this.#token || data.from === me) return;
      if (data.asks) channel.postMessage({ token: this.#token, from: me });
      else other = true;
    };
    if (stored) {
      channel.postMessage({ token: stored, from: me, asks: true });
      await new Promise((done) => setTimeout(done, 50));
    }
    if (!stored || other) {
      this.#renew();
      if (other) this.outboxes.forget();
    }
    this.#socket.start();
  }

  #renew() {
    this.#token = random();
    keep.session.set("token", this.#token);
  }

  // retry connects at once, or asks the server for a word if there is a connection. A page that was refused comes as another
  // one: if its place was taken, both stay.
  retry() {
    if (this.state === "refused") this.#renew();
    this.#socket.retry();
  }

  // probe asks for what no list has.
  #probe() {
    this.#master.calls.push(this.#own("LIST -", () => {}));
    this.#flushMaster();
  }

  #lost({ why, at }) {
    clearTimeout(this.#nickTimer);
    this.#master.restart();
    for (const r of this.#all()) {
      clearTimeout(r.timer);
      r.restart();
      this.outboxes.broke(r.name);
    }
    this.#set(at ? "offline" : "refused", { why, at });
  }

  #opened() {
    this.#claim++;
    this.#nickTries = 0;
    const first = [this.#own(`RESUME ${this.#token}`, () => this.nick || this.#grant())];
    if (this.nick) first.push(this.#nickCall(this.nick));
    this.#master.calls.unshift(...first);
    this.#flushMaster();
    this.#socket.write("", ["WATCH"]); // has no place among the answers: the list comes at any time
    this.#emit("connect", {});
    for (const r of this.#all()) this.#enter(r);
  }

  // own is a call of this connection: it ends with it.
  #own(line, then, fail = () => {}) {
    return call(line, ({ ok }) => then(ok), fail, true);
  }

  // nickCall asks for the wanted nick. Whoever has it may be about to leave: it is asked for until another one is wanted.
  #nickCall(nick) {
    return this.#own(`NICK ${nick}`, (ok) => {
      this.#nickTries = 0;
      this.as = ok.nick || nick;
      this.#emit("nick", { nick: this.as });
      this.#grant();
    }, (e) => {
      this.#denied = this.#claim;
      if (!this.nick) return this.#grant();
      if (!this.#nickTries) this.#emit("nick", { nick: this.as, code: e.code, text: e.text });
      if (e.code !== "exists") return;
      this.#nickTimer = setTimeout(() => {
        if (this.nick !== nick) return;
        this.#claim++;
        this.#master.calls.push(this.#nickCall(nick));
        this.#flushMaster();
      }, Math.min(1000 * 2 ** this.#nickTries++, 15_000));
    });
  }

  // grant says that this session is the only one of the page: what is asked from now on has all that earlier ones sent.
  #grant() {
    this.#granted = this.#claim;
    for (const r of this.#all()) {
      if (r.state === "in" && r.synced && !r.settled) this.#barrier(r);
      if (r.state === "out") this.#enter(r); // perhaps the nick was taken there
      this.#flush(r);
    }
  }

  // stayGuest gives up the nick that is wanted.
  stayGuest() {
    clearTimeout(this.#nickTimer);
    this.nick = "";
    if (this.#denied === this.#claim) this.#grant();
  }

  // setNick takes another nick, for all rooms or for none.
  async setNick(nick) {
    if (/\s/.test(nick) || !nick) throw { code: "bad-name", text: "A nick is one word." };
    clearTimeout(this.#nickTimer);
    if (this.#granted !== this.#claim) this.#claim++;
    this.#renaming++;
    try {
      const { ok } = await this.ask("", `NICK ${nick}`);
      this.nick = this.as = ok.nick || nick;
    } finally {
      this.#renaming--;
      for (const r of this.#all()) this.#flush(r);
    }
    this.#emit("nick", { nick: this.nick });
    this.#grant();
    return this.nick;
  }

  // all are the rooms that are entered, or to be entered when there is a connection.
  #all() {
    return new Set(this.#rooms.values());
  }

  #room(name) {
    return name ? this.#rooms.get(fold(name)) : this.#master;
  }

  entered(name) {
    const r = this.#room(name);
    return r?.state === "in" ? r.entered : null;
  }

  // wants says whether the room is entered, or will be when there is a connection.
  wants(name) {
    return !!name && !!this.#room(name);
  }

  // enter enters a room, now and after each break. since is a seq up to which the caller knows the room's lines.
  enter(name, { password, since } = {}) {
    let r = this.#room(name);
    if (!r) {
      r = new Membership(name);
      this.#rooms.set(fold(name), r);
      const kept = this.outboxes.start(name);
      if (kept) Object.assign(r, { last: kept.last, kept });
      else if (since >= 0) r.last = since;
    }
    if (password !== undefined) r.password = password;
    if (r.state === "in") return Promise.resolve(r.entered);
    return new Promise((resolve, reject) => {
      r.waiting.push({ resolve, reject });
      if (r.state === "out" && this.#socket.ready) this.#enter(r);
    });
  }

  leave(name) {
    const r = this.#room(name);
    if (!r || !r.name) return;
    if (r.state !== "out" && this.#socket.ready) this.#socket.write(r.name, ["/quit"]);
    this.outboxes.drop(r.name);
    this.#forget(r, { code: "left", text: "You have left the room." });
  }

  #forget(r, why) {
    for (const [k, v] of this.#rooms) if (v === r) this.#rooms.delete(k);
    r.end(why);
  }

  // #enter enters a room by one message: what was asked before goes first, so that the newest lines come before a long
  // catch-up.
  #enter(r) {
    clearTimeout(r.timer);
    r.state = "entering";
    r.synced = r.settled = false;
    const lines = r.password ? [`/pass ${r.password}`] : [];
    r.asked = r.last;
    for (const c of r.calls.splice(0)) r.put(c, lines);
    if (r.last >= 0) {
      r.put(this.#sinceCall(r), lines);
      r.put(this.#barrierCall(r), lines);
    }
    this.#socket.write(r.name, lines);
  }

  #big(r) {
    return r.synced && r.total > bigReplay;
  }

  #sinceCall(r) {
    return this.#own(`/since ${r.last}`, (ok) => this.#since(r, ok), () => this.#since(r, { newest: r.last }));
  }

  #since(r, ok) {
    const newest = ok.newest || 0;
    r.synced = true;
    r.total = Math.max(0, newest - r.last);
    if (ok.oldest && r.asked > 0) this.#line(r, { type: "notice", gap: true, text: "Some lines that came meanwhile are no longer kept." });
    r.last = Math.min(r.last, newest); // the history was put back
  }

  // barrierCall asks for what comes behind the catch-up, and behind all lines of earlier sessions if the claim was granted.
  #barrierCall(r) {
    const claim = this.#claim;
    return this.#own("/ping", () => {
      if (this.#big(r)) this.#emit("progress", { room: r.name, done: r.total, total: r.total });
      r.total = 0;
      if (r.synced && this.#granted === claim) this.#settle(r);
    });
  }

  #barrier(r) {
    r.calls.push(this.#barrierCall(r));
    this.#flush(r);
  }

  // settle is called when all lines that came are compared: what did not come will not come.
  #settle(r) {
    r.settled = true;
    r.kept = null;
    this.outboxes.requeue(r.name);
    this.#flush(r);
  }

  // ask sends a command and resolves with its answer and the lines behind it. What only reads is asked again after a break.
  ask(name, line) {
    if (!this.#room(name)) this.enter(name).catch(() => {});
    const r = this.#room(name);
    return new Promise((resolve, reject) => {
      r.calls.push(call(line, resolve, reject));
      if (r === this.#master) this.#flushMaster();
      else this.#flush(r);
    });
  }

  // send takes what was typed: lines for the room and commands. It returns those that it does not take, with the reason.
  send(name, typed) {
    if (!this.#room(name)) this.enter(name).catch(() => {});
    const r = this.#room(name);
    const refused = [];
    for (const text of [typed].flat().flatMap((t) => t.split(/\r\n|\r|\n/))) {
      const why = this.#take(r, text);
      if (why) refused.push({ line: text, ...why });
    }
    this.outboxes.changed(r.name);
    this.#flush(r);
    return refused;
  }

  #take(r, text) {
    const word = /^\/(?!\/)/.test(text) ? wordOf(text) : "";
    const most = r.entered?.line_bytes || this.hello?.line_bytes || 4096;
    const rest = text.slice(word.length + 1).trim();
    if (word && !(isSaying(word) && rest)) {
      if (byteLength(text) > most) return { code: "too-long", text: `The longest line has ${most} bytes.` };
      if (["raw", "json", "echo", "since", "pass"].includes(word)) return { code: "bad-request", text: `/${word} is for programs; this page has no use for it.` };
      if (word === "quit") return this.leave(r.name);
      const done = word === "nick" ? this.setNick(rest).then((nick) => ({ ok: { text: `You are now ${nick}.` }, lines: [] })) : this.ask(r.name, text);
      done.then(({ ok, lines }) => this.#emit("answer", { room: r.name, command: word, text: ok.text || "", lines }),
        (e) => this.#emit("answer", { room: r.name, command: word, code: e.code, text: e.text, lines: [] }));
      return null;
    }
    return this.outboxes.add(r.name, text, most);
  }

  outbox(name) {
    return this.outboxes.list(this.#room(name)?.name || name, this.state === "online");
  }

  retract(id) {
    return this.outboxes.retract(id);
  }

  again(id) {
    const name = this.outboxes.again(id);
    if (name) this.#flush(this.#room(name));
  }

  // flush sends what may be sent: commands in a room that was entered, lines once those of earlier sessions were compared.
  #flush(r) {
    if (!r || r.state !== "in" || !this.#socket.ready) return;
    const lines = [];
    for (const c of r.calls.splice(0)) r.put(c, lines);
    if (r.settled && this.#granted === this.#claim && !this.#renaming) {
      for (const item of this.outboxes.take(r.name, this.#socket.number, this.as)) {
        r.put(item, lines);
      }
    }
    if (lines.length) this.#socket.write(r.name, lines);
  }

  #flushMaster() {
    if (!this.#socket.ready) return;
    const lines = [];
    for (const c of this.#master.calls.splice(0)) this.#master.put(c, lines);
    if (lines.length) this.#socket.write("", lines);
  }

  #received(data) {
    const end = data.indexOf("\n");
    const name = data.slice(0, end);
    const all = data.slice(end + 1).split("\n").filter((text) => text).map((text) => JSON.parse(text));
    // A renamed room says so by its first line under the new name.
    const r = this.#room(name) || (all[0]?.type === "renamed" && this.#room(all[0].was));
    if (!r) {
      if (all[0]?.command === "enter" && all[0].type === "ok") this.#socket.write(name, ["/quit"]); // left meanwhile
      return;
    }
    for (const f of all) this.#handle(r, f);
    if (this.#big(r)) this.#emit("progress", { room: r.name, done: Math.min(r.last - r.asked, r.total - 1), total: r.total });
    this.#flush(r);
  }

  #handle(r, f) {
    if (f.command === "enter") return this.#answeredEnter(r, f);
    switch (f.type) {
      case "ok": case "error": case "pong": return this.#answer(r, f);
      case "hello": return this.#greeted(f);
      case "end": return this.#ended(r, f);
      case "renamed": case "gone": return this.#changed(f);
    }
    if (r.collect(f)) return;
    if (r === this.#master) return this.#changed(f);
    if (f.type === "nick" && f.from === this.as) this.as = f.nick;
    if (f.seq) {
      if (!r.synced || f.seq <= r.last) return; // the catch-up brings it, or it was here
      r.last = f.seq;
      this.#confirm(r, f);
      if (f.type === "topic") r.entered.topic = f.text;
      r.entered.newest = Math.max(r.entered.newest, f.seq);
    }
    this.#line(r, f);
  }

  #line(r, line) {
    this.#emit("line", { room: r.name, line, live: r.total === 0 && r.synced });
  }

  #greeted(f) {
    this.hello = f;
    this.#emit("hello", f);
    this.#set("online");
  }

  #listed(rooms) {
    this.#names = new Map(rooms.map((x) => [x.id, x.name]));
    this.#emit("room", { type: "list", rooms });
  }

  // changed is a change of the list of rooms.
  #changed(f) {
    if (f.type === "room") this.#names.set(f.id, f.name);
    const r = f.type === "renamed" && this.#room(f.was);
    if (r && r.name === f.name) return; // the room itself has said so
    if (r) this.#renamed(r, f.name);
    this.#emit("room", f);
  }

  #renamed(r, name) {
    this.outboxes.renamed(r.name, name);
    r.name = name; // the earlier name still leads here
    if (r.entered) r.entered = { ...r.entered, name };
    this.#rooms.set(fold(name), r);
  }

  #answeredEnter(r, f) {
    if (f.type === "error") return this.#refusedEnter(r, f);
    const was = r.entered || r.kept;
    const other = was && (was.room_id !== f.room_id || was.epoch !== f.epoch);
    if (was && was.room_id !== f.room_id) this.outboxes.fail(r.name, "gone", "The room was deleted and created again meanwhile.");
    const unasked = r.state !== "entering"; // a line on its way has entered a room that had ended
    r.state = "in";
    r.tries = 0;
    r.entered = { newest: 0, topic: "", ...f };
    r.name = f.name || r.name; // as the server spells it
    this.as = f.nick || this.as;
    this.outboxes.base(r.name, { room_id: f.room_id, epoch: f.epoch, room: r });
    if (unasked && r.last >= 0) {
      r.asked = r.last;
      r.calls.unshift(this.#sinceCall(r), this.#barrierCall(r));
    }
    if (r.asked < 0 || (was && was.room_id !== f.room_id)) r.last = r.entered.newest;
    if (r.asked < 0) {
      r.synced = true;
      if (this.#granted === this.#claim) this.#settle(r);
    }
    this.#emit("enter", { ...r.entered, room: r.name, other: !!other, back: !!was });
    for (const w of r.waiting.splice(0)) w.resolve(r.entered);
    this.#flush(r);
  }

  #refusedEnter(r, f) {
    const again = !final.has(f.code) && r.entered;
    r.restart();
    const now = f.code === "no-room" && this.#names.get(r.entered?.id);
    if (now && fold(now) !== fold(r.name)) { // renamed while the connection was broken
      this.#emit("room", { type: "renamed", name: now, was: r.name, id: r.entered.id });
      this.#renamed(r, now);
      return this.#enter(r);
    }
    const waiting = r.waiting.splice(0);
    if (!waiting.length) this.#emit("refused", { room: r.name, code: f.code, text: f.text });
    for (const w of waiting) w.reject(f);
    if (again) r.timer = setTimeout(() => this.#socket.ready && r.state === "out" && this.#enter(r), Math.min(1000 * 2 ** r.tries++, lastPause));
    else this.#forget(r, f);
  }

  #ended(r, f) {
    if (f.code === "left") return; // and perhaps come back
    r.restart();
    this.outboxes.broke(r.name);
    if (f.code === "deleted") this.outboxes.fail(r.name, "gone", "The room was deleted.");
    this.#emit("end", { room: r.name, code: f.code, text: f.text });
    if (final.has(f.code)) this.#forget(r, f);
    else r.timer = setTimeout(() => this.#socket.ready && r.state === "out" && this.#enter(r), 500);
  }

  #answer(r, f) {
    if (f.command === "quit") return;
    if (f.command === "watch" && f.type === "ok") return r.collectAll(f, ({ lines }) => this.#listed(lines));
    const refused = r.answer(f);
    if (refused) this.outboxes.refuse(r.name, refused, f);
  }

  // confirm confirms a line of the outbox by its own line.
  #confirm(r, f) {
    if (!r.settled) return this.outboxes.confirmEarlier(r.name, f);
    const items = r.confirm((item) => this.outboxes.matches(item, f));
    const own = items.pop();
    for (const i of items) this.outboxes.refuse(r.name, i, { code: "ignored", text: "The server did not take the line." });
    if (own) this.outboxes.confirm(r.name, own);
  }
}

// random is a token: 128 bits. crypto.randomUUID is missing where the page does not come by TLS.
function random() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");
}
