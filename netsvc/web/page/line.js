// One line of a log as an element. A row has what belongs to it above it: the divider of a day. Rows
// of one sender within five minutes are a group: only the first has the nick, and one every 64 lines
// for who scrolls through the output of a program.
import { clock, day, el, fill, icon, mentions, monogram, paint, plural, roomHref, sameDay, time } from "./text.js";

export { mentions };

const groupFor = 5 * 60e3;

const presence = new Set(["join", "leave", "nick", "presence"]);
const spokenTypes = new Set(["message", "action", "private"]);

// groups says whether a line goes on with the group of the line before it.
function groups(line, prev) {
  return prev && line.type === "message" && prev.type === "message" && prev.from === line.from &&
    !prev.notice === !line.notice && sameDay(line.time, prev.time) &&
    Date.parse(line.time) - Date.parse(prev.time) < groupFor && line.seq >> 6 === prev.seq >> 6;
}

// render makes the row of a line. prev is the line before it in the log, or null; nick is the reader's
// own, room the name of the room; isRoom(name) says whether there is such a room.
export function render(line, prev, { nick, room, isRoom } = {}) {
  const row = el("div", { class: `row ${line.type}`, "data-seq": line.seq });
  if (line.time && !(prev?.time && sameDay(line.time, prev.time))) {
    row.append(el("div", { class: "day" }, el("span", {}, day(line.time))));
  }
  const body = el("div", { class: "body" });
  row.append(body);
  if (spokenTypes.has(line.type)) said(row, body, line, prev, { nick, room, isRoom });
  else if (presence.has(line.type)) body.append(quiet("people", summary(line), line));
  else if (line.type === "topic") {
    const text = line.text
      ? ["The topic is now ", fill(el("b", { dir: "auto" }), line.text, { isRoom }), ", set by ", who(line.from)]
      : ["The topic was removed by ", who(line.from)];
    body.append(quiet("pencil", text, line, room));
  } else {
    row.classList.add("notice");
    const [, from, text] = /^(?:(operator|[^\s:]+): )?(.*)$/su.exec(line.text ?? "");
    const operator = from === "operator";
    if (operator) row.classList.add("operator");
    body.append(icon(operator ? "horn" : "info"), el("div", { class: "text", dir: "auto" },
      operator && el("b", { class: "label" }, "Operator"), fill(el("span"), operator || from === room ? text : line.text ?? "", { isRoom })));
  }
  return row;
}

function said(row, body, line, prev, { nick, room, isRoom }) {
  const own = line.from === nick;
  if (own) row.classList.add("own");
  if (line.notice) row.classList.add("bot");
  if (!own && (line.type === "private" || mentions(line.text, nick))) row.classList.add("mention");
  const at = stamp(line, room);
  const text = el("div", { class: "text", dir: "auto" });
  if (line.type === "action") {
    body.append(monogram(line.from), text);
    text.append(who(line.from), " ");
    body.append(at);
  } else if (groups(line, prev)) {
    row.classList.add("cont");
    body.append(at, text);
  } else {
    const head = el("div", { class: "head" }, who(line.from));
    if (line.type === "private") head.append(el("span", { class: "tag" }, icon("lock"), own ? "to " : "only to you", own && who(line.to)));
    if (line.notice) head.append(el("span", { class: "tag" }, "notice"));
    head.append(at);
    body.append(monogram(line.from), head, text);
  }
  fill(text, line.text, { nick: own ? "" : nick, isRoom });
}

export const who = (nick) => paint(el("bdi", { class: "nick" }, nick), nick);

// stamp is the time of a line, and the link to it if it is kept.
function stamp(line, room) {
  if (!line.seq) return el("span", { class: "at" }, time(line.time));
  return el("a", { class: "at", href: roomHref(room, line.seq), tabindex: "-1", "aria-label": `Link to this line, ${clock(line.time)}` }, time(line.time));
}

function quiet(name, text, line, room) {
  const e = el("div", { class: "quiet" }, icon(name), el("span", { dir: "auto" }, ...text));
  if (line.time) e.append(line.seq ? stamp(line, room) : el("span", { class: "at" }, time(line.time)));
  return e;
}

// summary says in one sentence who came and went.
function summary(line) {
  const events = line.type === "presence" ? line.events : [line];
  const came = new Map(), renamed = [];
  for (const e of events) {
    const types = came.get(e.from);
    if (e.type === "nick" && types?.at(-1) === "join") { // "ann joined" says it
      came.delete(e.from);
      came.set(e.nick, types);
    } else if (e.type === "nick") renamed.push([e.from, e.nick]);
    else came.set(e.from, [...(came.get(e.from) ?? []), e.type]);
  }
  const lists = { joined: [], left: [], "came and went": [], "left and came back": [] };
  for (const [nick, types] of came) {
    const first = types[0], last = types.at(-1);
    if (first === "join") lists[last === "join" ? "joined" : "came and went"].push(nick);
    else lists[last === "leave" ? "left" : "left and came back"].push(nick);
  }
  const parts = [];
  for (const [verb, nicks] of Object.entries(lists)) {
    if (nicks.length) parts.push([...names(nicks), ` ${verb}`]);
  }
  for (const [was, now] of renamed) parts.push([who(was), " is now ", who(now)]);
  return parts.flatMap((p, i) => (i ? [" · ", ...p] : p));
}

const named = 4;

// names lists nicks: "ann, bob and 12 others".
function names(nicks) {
  const shown = nicks.length > named + 1 ? nicks.slice(0, named) : nicks;
  const rest = nicks.length - shown.length;
  return shown.flatMap((n, i) => {
    const sep = i === 0 ? [] : i === shown.length - 1 && !rest ? [" and "] : [", "];
    return [...sep, who(n)];
  }).concat(rest ? [` and ${plural(rest, "other")}`] : []);
}

// merge returns the presence line of last and a join, leave or nick line; null if the line stands alone.
export function merge(last, line) {
  if (!last || !presence.has(line.type) || !presence.has(last.type) || !sameDay(last.time, line.time)) return null;
  const events = [...(last.type === "presence" ? last.events : [last]), line];
  return { type: "presence", time: line.time, events: events.slice(-500) };
}

// spoken is what a screen reader says of a new line; "" for lines that are not worth an interruption.
export function spoken(line) {
  switch (line.type) {
    case "message": return `${line.from}: ${line.text}`;
    case "action": return `${line.from} ${line.text}`;
    case "private": return `${line.from}, only to you: ${line.text}`;
    case "topic": return line.text ? `Topic: ${line.text}` : "The topic was removed";
    case "notice": case "deleted": return line.text ?? "";
  }
  return "";
}
