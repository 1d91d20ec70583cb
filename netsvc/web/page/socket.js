// The WebSocket of the page: it is opened again after each break, with growing pauses, and a
// server that is silent is asked for a word.
import { byteLength } from "./text.js";

const firstPause = 250; // ms at most before the first attempt; each further one doubles it
const lastPause = 30_000;
const openTime = 15_000; // from an attempt to the first word of the server
const quietTime = 60_000; // without a word until the server is asked
const probeTime = 8_000; // that it then has to answer
const frameBytes = 60_000; // of a message; the server takes 64 KiB
const refusedCode = 1008; // a ban, or a refusal after the handshake
const upgradeCode = 1012;

// Socket tells its owner: opened(), received(text), lost({code, why, at}), where at is the time of
// the next attempt or undefined; connecting(); and probe(), which has to ask the server something.
export class Socket {
  #url;
  #owner;
  #socket = null;
  #tries = 0;
  #refused = false; // the page comes back only if the reader wants it
  #heard = 0; // when the server last said something
  #tick = 0; // when the clock was last looked at
  #timers = {};

  number = 0; // of the connection

  constructor(url, owner) {
    this.#url = url;
    this.#owner = owner;
  }

  start() {
    addEventListener("online", () => this.#refused || this.retry());
    addEventListener("offline", () => this.#probe());
    addEventListener("pageshow", (e) => e.persisted && this.#wake());
    document.addEventListener("visibilitychange", () => document.hidden || this.#wake());
    this.#tick = Date.now();
    setInterval(() => this.#look(), 5_000);
    this.#connect();
  }

  get ready() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  // retry connects at once, or asks the server for a word if there is a connection.
  retry() {
    if (this.ready) this.#probe();
    else this.#connect();
  }

  // wake is called when the page may have been asleep.
  #wake() {
    if (!this.#socket && this.#timers.retry) this.#connect();
    else if (this.ready && Date.now() - this.#heard > 10_000) this.#probe();
  }

  #look() {
    const slept = Date.now() - this.#tick > 30_000;
    this.#tick = Date.now();
    if (slept) this.#wake();
    else if (this.ready && !document.hidden && Date.now() - this.#heard > quietTime) this.#probe();
  }

  // probe: a page does not see the pings of the WebSocket.
  #probe() {
    if (!this.ready || this.#timers.probe) return;
    this.#timer("probe", probeTime, () => this.#lost(0, "the server does not answer"));
    this.#owner.probe();
  }

  #timer(name, ms, f) {
    clearTimeout(this.#timers[name]);
    this.#timers[name] = ms === undefined ? 0 : setTimeout(f, ms);
  }

  #connect() {
    this.#timer("retry");
    this.#drop();
    this.number++;
    this.#owner.connecting();
    const s = this.#socket = new WebSocket(this.#url, "roomd.v1");
    this.#timer("open", openTime, () => this.#lost(0, "the server does not answer"));
    s.onopen = () => this.#owner.opened();
    s.onmessage = (e) => {
      this.#heard = Date.now();
      this.#timer("open");
      this.#timer("probe");
      this.#tries = 0;
      this.#owner.received(e.data);
    };
    s.onclose = (e) => this.#lost(e.code, e.reason);
  }

  #drop() {
    const s = this.#socket;
    if (!s) return;
    s.onopen = s.onmessage = s.onclose = null;
    if (s.readyState === WebSocket.CONNECTING) s.onopen = () => s.close(); // else the browser complains
    else s.close();
    this.#socket = null;
  }

  // lost ends the connection for the page. The browser would say so of a dead one after minutes.
  #lost(code, why) {
    this.#drop();
    this.#timer("open");
    this.#timer("probe");
    this.#refused = code === refusedCode;
    if (this.#refused) return this.#owner.lost({ code, why });
    if (code === upgradeCode) this.#tries = 0;
    const most = Math.min(firstPause * 2 ** Math.min(this.#tries++, 20), lastPause);
    const pause = most / 2 + Math.random() * (most / 2);
    this.#timer("retry", pause, () => this.#connect());
    this.#owner.lost({ code, why, at: Date.now() + pause });
  }

  // write sends lines for a room in as many messages as the server's limit asks for.
  write(room, lines) {
    let part = "", n = 0;
    for (const line of lines) {
      const l = byteLength(line) + 1;
      if (part && n + l > frameBytes) {
        this.#socket.send(`${room}\n${part}`);
        part = "";
        n = 0;
      }
      part += `${line}\n`;
      n += l;
    }
    this.#socket.send(part ? `${room}\n${part}` : room);
  }
}
