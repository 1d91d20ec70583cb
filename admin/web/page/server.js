// The commands of the server, and what it reports by itself. Both go through the process that serves
// this page.
import { question, secret } from "./dialog.js";

// quote makes a line of words, as the server splits it.
export const quote = (words) => words.map((w) => (w === "" || /[\s"'\\]/.test(w) ? `"${w.replace(/[\\"]/g, "\\$&")}"` : w)).join(" ");

// Refusal is an answer that is not OK.
export class Refusal extends Error {
  constructor({ code, text }) {
    super(text);
    this.code = code;
  }
}

// request sends a line and returns the answer: {verdict, code, text, lines}.
export async function request(line, more = {}) {
  let answer;
  try {
    answer = await fetch("run", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ line, ...more }) });
  } catch {
    return { verdict: "ERR", code: "unreachable", text: "roomd admin web does not answer: it has ended, or was stopped", lines: [] };
  }
  if (!answer.headers.get("Content-Type")?.startsWith("application/json")) return { verdict: "ERR", code: "refused", text: (await answer.text()).trim().slice(0, 300), lines: [] };
  return answer.json();
}

// values parses the lines of an answer in JSON.
export const values = (lines) => lines.flatMap((l) => {
  try {
    return [JSON.parse(l)];
  } catch {
    return [{ text: l }];
  }
});

// ask runs a command that only shows, and returns its value.
export async function ask(...words) {
  const a = await request(`--json ${quote(words)}`);
  if (a.verdict !== "OK" && a.lines.length === 0) throw new Refusal(a);
  return values(a.lines)[0];
}

// run runs a line, and has the questions of the server answered. It returns the answer, or null if
// the operator did not agree.
export async function run(line) {
  let a = await request(line);
  if (a.verdict === "ASK") {
    if (!await question(a.text)) return null;
    a = await request(line, { token: a.code });
  }
  if (a.verdict === "SECRET") {
    const given = await secret(a.text);
    if (!given) return null;
    a = await request(line, { secret: given });
  }
  return a;
}

// live has what the server reports: samples, events, log, and whether it is there. Each change is an
// event of that name.
export const live = new EventTarget();
Object.assign(live, { samples: [], events: [], log: [], here: undefined, text: "", since: 0, hello: null, ended: "" });

const limits = { samples: 450, events: 1000, log: 1000 };
let source = null;

function add(kind, more) {
  const all = live[kind];
  all.push(...more);
  all.splice(0, Math.max(0, all.length - limits[kind]));
  live.dispatchEvent(new CustomEvent(kind, { detail: more }));
}

const tell = (name) => live.dispatchEvent(new CustomEvent(name));

function receive(m) {
  switch (m.kind) {
  case "hello": // what was there comes once more
    live.hello = m.hello;
    for (const kind of Object.keys(limits)) live[kind] = [];
    tell("hello");
    break;
  case "samples":
    add("samples", m.samples ?? []);
    break;
  case "events":
  case "log":
    add(m.kind, m.values ?? []);
    break;
  case "missed":
    add("events", [{ missed: m.missed }]);
    break;
  case "state":
    if (live.here !== !!m.here) live.since = Date.now();
    live.here = !!m.here;
    live.text = m.text ?? "";
    tell("state");
    break;
  case "end":
    end(m.text);
  }
}

function end(text) {
  source?.close();
  source = null;
  live.ended = text;
  tell("state");
}

// connect begins to receive. A page that nobody sees receives nothing: a browser has few connections
// to one server.
export function connect() {
  if (source || live.ended || document.hidden) return;
  source = new EventSource("live");
  source.onmessage = (e) => receive(JSON.parse(e.data));
  source.onerror = () => {
    if (source?.readyState === EventSource.CLOSED) end("roomd admin web was ended, or this browser has no access any more");
    else if (live.lost) end("roomd admin web does not answer: it has ended");
    else live.lost = setTimeout(() => end("roomd admin web does not answer: it has ended"), 8000);
  };
  source.onopen = () => {
    clearTimeout(live.lost);
    live.lost = 0;
  };
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    source?.close();
    source = null;
  } else connect();
});
