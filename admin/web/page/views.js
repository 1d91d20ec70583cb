// The views. Each is a function that fills an element and returns what ends it.
import { button, clock, date, el, fill, number, plural, sentence, size, span } from "./dom.js";
import { Chart } from "./charts.js";
import { form, toast } from "./dialog.js";
import { ask, live, quote, run } from "./server.js";
import { List, cell, moment, object, table, tag } from "./values.js";

// refresh calls load now, at an interval, after events of these types, and when the server is back.
// Between two loads it leaves ten times the time that one takes, so that a long list costs the server
// little. It returns what ends that.
function refresh(load, { every = 5000, types = [] } = {}) {
  const least = 1000; // between two loads
  let timer = 0;
  let due = Infinity;
  let rested = 0; // when the next load may begin
  let running = false;
  let again = false;
  let ended = false;
  const plan = (ms) => {
    if (ended || Date.now() + ms >= due) return;
    clearTimeout(timer);
    due = Date.now() + ms;
    timer = setTimeout(go, ms);
  };
  async function go() {
    clearTimeout(timer);
    due = Infinity;
    if (running) {
      again = true;
      return;
    }
    running = true;
    again = false;
    const began = Date.now();
    try {
      if (live.here && !document.hidden) await load();
    } catch (e) {
      if (!ended && e.code !== "unreachable") toast(e.message, true);
    }
    running = false;
    const pause = Math.max(least, 10 * (Date.now() - began));
    rested = Date.now() + pause;
    plan(again ? pause : Math.max(every, pause));
  }
  const happened = (e) => {
    if (!e.detail.some((v) => types.includes(v.type))) return;
    if (running) again = true;
    else plan(Math.max(150, rested - Date.now()));
  };
  live.addEventListener("events", happened);
  live.addEventListener("state", go);
  go();
  return Object.assign(() => {
    ended = true;
    clearTimeout(timer);
    live.removeEventListener("events", happened);
    live.removeEventListener("state", go);
  }, { now: go });
}

// command makes a line: flags is an object, whose empty values are left out.
function command(name, flags, ...args) {
  const words = [name];
  for (const [flag, v] of Object.entries(flags)) if (v) words.push(`--${flag}`, ...(v === true ? [] : [v]));
  const given = args.filter((a) => a !== undefined);
  return quote([...words, ...(given.some((a) => a.startsWith("-")) ? ["--"] : []), ...given]);
}

// act runs a line and says what became of it. It throws what the server refuses.
async function act(line) {
  const a = await run(line);
  if (!a) throw new Error("nothing was done");
  if (a.verdict !== "OK") throw new Error(a.text);
  const said = a.lines.length > 3 ? "" : a.lines.join(" ");
  toast(said || "done");
}

// doing runs a line for a button.
const doing = (line, then) => async () => {
  try {
    await act(line());
    then?.();
  } catch (e) {
    toast(e.message, true);
  }
};

const change = (text, click, kind = "", of = "") => button(text, click, `change ${kind}`, { "aria-label": of && `${text} ${of}` });
const roomLink = (name) => el("a", { href: `#/room/${encodeURIComponent(name)}`, dir: "auto" }, name);
const when = (v) => (v ? Date.parse(v) : 0);
const ago = (v) => (v ? el("time", { datetime: v, title: v }, `${span(Date.now() - when(v))} ago`) : "–");
const agoText = (of) => (row) => (of(row) ? span(Date.now() - when(of(row))) : "");

// fields of forms
const why = { name: "why", label: "Reason (optional)" };
const time = { name: "for", label: "For how long", hint: "For example 10m, 24h or 30d. Empty: until it is lifted." };

/* Overview */

const charts = [
  { name: "members", title: "Members", value: (s) => s.members, text: number, least: 10 },
  { name: "lines", title: "Lines a second", value: (s) => s.lines, text: number, least: 1 },
  { name: "deliveries", title: "Deliveries a second", value: (s) => s.deliveries, text: number, least: 10 },
  { name: "lag", title: "Lag of the slowest member", value: (s) => s.worst, text: (n) => plural(n, "event"), least: 10 },
  { name: "commit", title: "Commit time", value: (s) => s.commit ?? null, text: (n) => `${number(n)} ms`, least: 1, sparse: true },
  { name: "disk", title: "Database", value: (s) => s.database, text: size, least: 1e6 },
];

const fact = (name) => {
  const v = el("dd", {}, "–");
  return { element: el("div", {}, el("dt", {}, name), v), v };
};

export function overview(content) {
  const facts = Object.fromEntries([["version", "Version"], ["up", "Up for"], ["rooms", "Rooms"], ["members", "Members"], ["connections", "Connections"], ["lagging", "Lagging"], ["free", "Free on disk"]].map(([id, name]) => [id, fact(name)]));
  const drawn = charts.map((c) => new Chart(c));
  const findings = el("div", {});
  const plan = el("div", {});
  const busy = el("div", {});
  content.append(el("dl", { class: "facts" }, Object.values(facts).map((f) => f.element)), plan, el("section", { class: "charts", "aria-label": "Charts" }, drawn.map((c) => c.element)),
    el("div", { class: "two" },
      el("section", { class: "card" }, el("div", { class: "card-head" }, el("h2", {}, "Busiest rooms"), el("a", { href: "#/rooms" }, "All rooms")), busy),
      el("section", { class: "card" }, el("div", { class: "card-head" }, el("h2", {}, "Health"), button("Check now", () => check())), findings)));
  const draw = () => {
    const last = live.samples.at(-1);
    if (!last) return;
    for (const c of drawn) c.draw(live.samples);
    facts.rooms.v.textContent = number(last.rooms);
    facts.members.v.textContent = number(last.members);
    facts.connections.v.textContent = number(last.connections);
    facts.lagging.v.textContent = number(last.lagging);
    facts.free.v.textContent = last.disk ? size(last.disk) : "–";
  };
  async function check() {
    try {
      fill(findings, table(await ask("doctor")));
    } catch (e) {
      fill(findings, el("p", { class: "error" }, sentence(e.message)));
    }
  }
  const stop = refresh(async () => {
    const s = await ask("status");
    facts.version.v.textContent = s.version;
    facts.up.v.textContent = span(Date.now() - when(s.started));
    fill(plan, s.stop && el("p", { class: "banner fair" }, "The server is to stop at ", moment(s.stop), ". ", change("Cancel the stop", doing(() => "stop --cancel", () => stop.now()))));
    const all = await ask("rooms", "--sort", "rate");
    fill(busy, all.length === 0 ? el("p", { class: "none" }, "There are no rooms.") : el("table", {}, el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Room"), ["Members", "Lines a minute"].map((t) => el("th", { scope: "col", class: "number" }, t)))),
      el("tbody", {}, all.slice(0, 5).map((r) => el("tr", {}, el("td", {}, roomLink(r.name)), el("td", { class: "number" }, number(r.members)), el("td", { class: "number" }, number(r.rate)))))));
    if (!findings.firstChild) await check();
  }, { every: 5000, types: ["command", "reload"] });
  live.addEventListener("samples", draw);
  live.addEventListener("hello", draw);
  draw();
  return () => {
    stop();
    live.removeEventListener("samples", draw);
    live.removeEventListener("hello", draw);
  };
}

/* Rooms */

const changesOfRooms = ["create", "delete", "restore", "purge", "rename", "move", "set", "topic", "join", "leave", "command"];

export function rooms(content) {
  const list = new List({
    name: "Rooms", sort: "name", key: (r) => r.name, empty: "There are no rooms.",
    columns: [
      { name: "name", title: "Room", of: (r) => r.name, show: (r) => roomLink(r.name) },
      { name: "port", title: "Port", of: (r) => r.port, number: true, show: (r) => String(r.port || "–") },
      { name: "state", title: "State", of: (r) => r.state, text: (r) => `${r.state}${r.read_only}${r.deletion}${r.cause}`, show: (r) => [cell("state", r.state), r.read_only && tag("read-only", "fair"), r.deletion && tag("to be deleted", "bad"), r.cause && el("div", { class: "soft" }, r.cause)] },
      { name: "members", title: "Members", of: (r) => r.members, number: true },
      { name: "rate", title: "Lines a minute", of: (r) => r.rate, number: true },
      { name: "lines", title: "Lines", of: (r) => r.lines, number: true },
      { name: "bytes", title: "Size", of: (r) => r.bytes, number: true },
      { name: "spoke", title: "Newest line", of: (r) => when(r.spoke), number: true, text: agoText((r) => r.spoke), show: (r) => ago(r.spoke) },
      { name: "topic", title: "Topic", of: (r) => r.topic, kind: "wide" },
    ],
    tools: [change("Create a room", () => create(() => stop.now()), "primary")],
  });
  content.append(list.element);
  const stop = refresh(async () => list.set(await ask("rooms")), { types: changesOfRooms });
  return stop;
}

const create = (then) => form({
  title: "Create a room", submit: "Create it",
  fields: [{ name: "room", label: "Name", required: true }, { name: "topic", label: "Topic (optional)" }, { name: "port", label: "Port (optional)", hint: "Without it the next free one." }],
  run: ({ room, ...flags }) => act(command("create", flags, room)),
}).then((done) => done && then?.());

export function room(content, name) {
  const go = (to) => { location.hash = to; };
  const again = () => stop.now();
  const one = (props) => () => form(props).then((done) => done && again());
  const info = el("div", {});
  const settings = el("div", {});
  const lines = el("div", { class: "lines" });
  const list = memberList("Members of the room", again, name);
  let topic = "";
  content.append(
    el("div", { class: "bar" }, el("a", { href: "#/rooms", class: "button" }, "All rooms"),
      change("Say", one({ title: `Send a notice to ${name}`, submit: "Send it", fields: [{ name: "text", label: "Notice", required: true }], run: ({ text }) => act(command("say", {}, name, text)) })),
      change("Topic", () => one({ title: `Topic of ${name}`, submit: "Set it", fields: [{ name: "text", label: "Topic", value: topic, hint: "Empty: no topic." }], run: ({ text }) => act(command("topic", {}, name, text)) })()),
      change("Rename", one({ title: `Rename ${name}`, submit: "Rename it", fields: [{ name: "to", label: "New name", value: name, required: true }], run: ({ to }) => act(command("rename", {}, name, to)).then(() => go(`#/room/${encodeURIComponent(to)}`)) })),
      change("Move", one({ title: `Move ${name} to another port`, text: "Its members stay.", submit: "Move it", fields: [{ name: "port", label: "Port", required: true }], run: ({ port }) => act(command("port", {}, name, port)) })),
      change("Delete", () => remove(name, () => go("#/rooms")), "danger-quiet")),
    el("div", { class: "two" },
      el("section", { class: "card" }, el("h2", {}, "Room"), info),
      el("section", { class: "card" }, el("h2", {}, "Settings"), settings)),
    el("section", { class: "card" }, el("h2", {}, "Members"), list.element),
    el("section", { class: "card" }, el("h2", {}, "Newest lines"), lines));
  const set = (row) => (row.key === "password"
    ? [change(row.own ? "Replace" : "Set", doing(() => command("set", {}, name, "password"), again), "", "password"), row.own && change("Remove", doing(() => command("set", { remove: true }, name, "password"), again), "", "password")]
    : change("Change", one({ title: `${row.key} of ${name}`, text: sentence(row.does), submit: "Set it", fields: [{ name: "value", label: "Value", value: row.value, required: true, hint: `${sentence(row.values).slice(0, -1)}; default takes that of the configuration.` }], run: ({ value }) => act(command("set", {}, name, row.key, value)) }), "", row.key));
  const stop = refresh(async () => {
    let r;
    try {
      r = await ask("room", name);
    } catch (e) {
      if (e.code !== "no-room") throw e;
      fill(content, el("p", { class: "none" }, "There is no such room any more. ", el("a", { href: "#/rooms" }, "All rooms")));
      stop();
      return;
    }
    topic = r.topic;
    fill(info, object(r));
    const [rows, members, newest] = await Promise.all([ask("set", name), ask("members", name), ask("read", name, "-n", "30")]);
    if (!settings.contains(document.activeElement)) {
      fill(settings, el("div", { class: "scroll" }, el("table", {}, el("thead", {}, el("tr", {}, ["Setting", "Value", "Does", ""].map((t) => el("th", { scope: "col" }, t || el("span", { class: "unseen" }, "Change"))))),
        el("tbody", {}, rows.map((row) => el("tr", {}, el("td", {}, row.key), el("td", {}, row.value, " ", row.own && tag("own", "fair")), el("td", { class: "soft" }, row.does), el("td", {}, el("div", { class: "actions" }, set(row)))))))));
    }
    list.set(members);
    fill(lines, newest.length === 0 ? el("p", { class: "none" }, "No lines yet.") : newest.map(said));
  }, { types: changesOfRooms });
  return () => stop();
}

const said = (l) => el("p", { class: "line" }, el("time", { datetime: l.time, title: l.time }, date(new Date(l.time))), " ", el("b", { dir: "auto" }, l.from), " ",
  el("span", { dir: "auto" }, l.type === "topic" ? `set the topic: ${l.text}` : l.text));

const remove = (name, then) => form({
  title: `Delete ${name}`, text: "The room goes to the trash, from where it can be restored for some time. Its members are disconnected.", submit: "Delete it", danger: true,
  fields: [{ name: "say", label: "Notice to its members (optional)" }, { name: "in", label: "When", hint: "For example 60s or 1h from now; its members are told. Empty: at once." }],
  run: (flags) => act(command("delete", flags, name)),
}).then((done) => done && then?.());

/* Members */

function memberList(name, again, room) {
  const of = (m) => `#${m.id}`;
  const acts = (m, now) => {
    const ask = (title, submit, fields, line) => form({ title: `${title} ${now().nick}`, submit, fields, run: (v) => act(line(v)) }).then((done) => done && again());
    return el("div", { class: "actions" },
      change("Kick", () => ask("Kick", "Kick", [{ name: "say", label: "Notice to the member (optional)" }], (v) => command("kick", v, of(m))), "", m.nick),
      m.muted ? change("Unmute", doing(() => command("unmute", {}, of(m)), again), "", m.nick) : change("Mute", () => ask("Mute", "Mute", [time, why], (v) => command("mute", v, of(m))), "", m.nick),
      change("Ban", () => ask("Ban", "Ban", [time, { ...why, hint: "The banned client gets it." }], (v) => command("ban", v, of(m))), "danger-quiet", m.nick));
  };
  return new List({
    name, sort: "nick", key: (m) => m.id, empty: "Nobody is there.",
    columns: [
      { name: "nick", title: "Nick", of: (m) => m.nick },
      !room && { name: "room", title: "Room", of: (m) => m.room, show: (m) => roomLink(m.room) },
      { name: "door", title: "Door", of: (m) => m.door || "port" },
      { name: "remote", title: "Address", of: (m) => m.remote, kind: "fixed" },
      { name: "since", title: "Here for", of: (m) => -when(m.since), number: true, text: agoText((m) => m.since), show: (m) => span(Date.now() - when(m.since)) },
      { name: "spoke", title: "Spoke", of: (m) => when(m.spoke), number: true, text: agoText((m) => m.spoke), show: (m) => ago(m.spoke) },
      { name: "lines", title: "Lines", of: (m) => m.lines, number: true },
      { name: "behind", title: "Behind", of: (m) => m.behind, number: true },
      { name: "state", title: "State", of: (m) => [m.state, m.muted && "muted"].filter(Boolean).join(", "), show: (m) => [m.state && tag(m.state, "fair"), m.muted && tag("muted", "fair")] },
      { name: "actions", title: "", text: (m) => `${m.nick} ${m.muted}`, show: acts },
    ].filter(Boolean),
  });
}

export function members(content) {
  const list = memberList("Members", () => stop.now());
  content.append(list.element);
  const stop = refresh(async () => list.set(await ask("members")), { types: ["join", "leave", "nick", "mute", "unban", "ban", "command"] });
  return stop;
}

/* Live */

export function follow(content) {
  const most = 500;
  let kind = "events";
  let paused = null; // the values as they were when it was paused
  const box = el("div", { class: "flow", role: "log", tabindex: "0", "aria-label": "Events" });
  const filter = el("input", { type: "search", class: "field", placeholder: "Filter", "aria-label": "Filter", input: () => draw() });
  const level = el("select", { class: "field", "aria-label": "Lowest level", hidden: true, change: () => draw() }, ["debug", "info", "warn", "error"].map((l) => el("option", { selected: l === "info" }, l)));
  const pause = button("Pause", () => {
    paused = paused ? null : { events: [...live.events], log: [...live.log] };
    pause.textContent = paused ? "Continue" : "Pause";
    pause.setAttribute("aria-pressed", String(!!paused));
    if (!paused) draw();
  }, "", { "aria-pressed": "false" });
  const tabs = ["events", "log"].map((k) => button(k === "events" ? "Events" : "Log", () => {
    kind = k;
    draw();
  }, "tab"));
  content.append(el("div", { class: "bar" }, el("div", { class: "tabs", role: "group", "aria-label": "Show" }, tabs), filter, level, pause), box);
  content.classList.add("tall");
  const levels = ["debug", "info", "warn", "error"];
  const fits = (v) => (kind === "events" || levels.indexOf(v.level) >= levels.indexOf(level.value)) && JSON.stringify(Object.values(v)).toLowerCase().includes(filter.value.trim().toLowerCase());
  const show = (v) => (v.missed ? el("p", { class: "line soft" }, `${plural(v.missed, "value")} not shown: they came too fast`) : kind === "events" ? event(v) : logLine(v));
  const bottom = () => { box.scrollTop = box.scrollHeight; };
  let fresh = [];
  let planned = 0;
  function draw() {
    fresh = []; // they are among the others
    tabs.forEach((t, i) => t.setAttribute("aria-pressed", String((kind === "log") === (i === 1))));
    level.hidden = kind !== "log";
    box.setAttribute("aria-label", kind === "log" ? "Log" : "Events");
    const rows = (paused ?? live)[kind].filter(fits).slice(-most).map(show);
    fill(box, rows.length ? rows : el("p", { class: "none" }, kind === "events" ? "Nothing has happened since the page was opened. Joins, leaves, refusals, bans and changes come here." : "The log says nothing yet."));
    bottom();
  }
  const add = (of) => (e) => {
    if (paused || of !== kind) return;
    fresh.push(...e.detail.filter(fits));
    planned ||= requestAnimationFrame(() => {
      planned = 0;
      if (fresh.length === 0) return;
      const stays = box.scrollHeight - box.scrollTop - box.clientHeight > 40;
      box.querySelector(".none")?.remove();
      box.append(...fresh.slice(-most).map(show));
      fresh = [];
      while (box.childElementCount > most) box.firstElementChild.remove();
      if (!stays) bottom();
    });
  };
  const listeners = [["events", add("events")], ["log", add("log")], ["hello", () => setTimeout(() => { if (!paused) draw(); })]];
  for (const [name, f] of listeners) live.addEventListener(name, f);
  draw();
  return () => {
    cancelAnimationFrame(planned);
    for (const [name, f] of listeners) live.removeEventListener(name, f);
  };
}

const bad = ["refuse", "ban", "mute", "delete", "purge"];
const good = ["create", "restore", "unban"];

// event is one line for an event, with the words in the order of the console.
export function event(v) {
  const by = v.by && `by ${v.by}${v.door ? ` (${v.door})` : ""}`;
  const words = [v.room && roomLink(v.room), v.member && el("b", { dir: "auto" }, v.member), v.remote && el("span", { class: "soft" }, v.remote), by && el("span", { class: "soft", dir: "auto" }, by), v.text && el("span", { dir: "auto" }, v.text), v.cause && el("span", { class: "soft", dir: "auto" }, v.cause)];
  return el("p", { class: "line" }, el("time", { datetime: v.time, title: v.time }, clock(new Date(v.time))), " ", tag(v.type, bad.includes(v.type) ? "bad" : good.includes(v.type) ? "good" : ""), words.filter(Boolean).map((w) => [" ", w]));
}

const logLine = (v) => el("p", { class: `line fixed ${v.level}`, dir: "auto" }, v.text);

/* Bans, trash, plans, audit */

export function bans(content) {
  const list = new List({
    name: "Bans and mutes", sort: "id", down: true, key: (b) => b.id, empty: "Nobody is banned or muted.",
    columns: [
      { name: "id", title: "ID", of: (b) => b.id, show: (b) => `#${b.id}` },
      { name: "kind", title: "Kind", of: (b) => b.kind },
      { name: "addr", title: "Address", of: (b) => b.addr, kind: "fixed" },
      { name: "nick", title: "Nick", of: (b) => b.nick },
      { name: "room", title: "Room", of: (b) => b.room || "every room" },
      { name: "created", title: "Since", of: (b) => when(b.created), show: (b) => moment(b.created) },
      { name: "until", title: "Until", of: (b) => when(b.until), show: (b) => (b.until ? moment(b.until) : "it is lifted") },
      { name: "by", title: "By", of: (b) => b.by },
      { name: "why", title: "Reason", of: (b) => b.why, kind: "wide" },
      { name: "actions", title: "", show: (b) => el("div", { class: "actions" }, change("Lift", doing(() => command("unban", {}, `#${b.id}`), () => stop.now()), "", `#${b.id}`)) },
    ],
    tools: [change("Ban", () => form({
      title: "Ban an address, a network or a nick", submit: "Ban", danger: true,
      fields: [{ name: "who", label: "Address, network or nick", required: true }, { name: "room", label: "Only in this room (optional)" }, time, { ...why, hint: "The banned client gets it." }],
      run: ({ who, ...flags }) => act(command("ban", flags, who)),
    }).then((done) => done && stop.now()), "primary")],
  });
  content.append(list.element);
  const stop = refresh(async () => list.set(await ask("bans")), { types: ["ban", "mute", "unban", "command"] });
  return stop;
}

export function trash(content) {
  const list = new List({
    name: "Deleted rooms", sort: "deleted", down: true, key: (t) => t.id, empty: "The trash is empty.",
    columns: [
      { name: "name", title: "Room", of: (t) => t.name },
      { name: "id", title: "ID", of: (t) => t.id, show: (t) => `#${t.id}` },
      { name: "port", title: "Port", of: (t) => t.port, number: true, show: (t) => String(t.port) },
      { name: "deleted", title: "Deleted", of: (t) => when(t.deleted), show: (t) => moment(t.deleted) },
      { name: "lines", title: "Lines", of: (t) => t.lines, number: true },
      { name: "bytes", title: "Size", of: (t) => t.bytes, number: true },
      { name: "actions", title: "", show: (t) => el("div", { class: "actions" }, change("Restore", doing(() => command("restore", {}, `#${t.id}`), () => stop.now()), "", `${t.name} #${t.id}`), change("Purge", doing(() => command("purge", {}, `#${t.id}`), () => stop.now()), "danger-quiet", `${t.name} #${t.id}`)) },
    ],
  });
  content.append(list.element);
  const stop = refresh(async () => list.set(await ask("trash")), { types: ["delete", "restore", "purge", "command"] });
  return stop;
}

export function plans(content) {
  const list = new List({
    name: "Plans", sort: "due", key: (p) => p.room, filter: false, empty: "Nothing is planned.",
    columns: [
      { name: "what", title: "Plan", of: (p) => p.what },
      { name: "room", title: "Room", of: (p) => p.room, show: (p) => (p.room ? roomLink(p.room) : "–") },
      { name: "due", title: "Due", of: (p) => when(p.due), show: (p) => moment(p.due) },
      { name: "in", title: "In", of: (p) => when(p.due), number: true, text: (p) => span(when(p.due) - Date.now()), show: (p) => span(when(p.due) - Date.now()) },
      { name: "actions", title: "", show: (p) => el("div", { class: "actions" }, change("Cancel", doing(() => (p.room ? command("delete", { cancel: true }, p.room) : "stop --cancel"), () => stop.now()), "", p.what.toLowerCase() + (p.room && ` ${p.room}`))) },
    ],
    tools: [
      change("Plan a deletion", () => plan("Plan the deletion of a room", [{ name: "room", label: "Room", required: true }], ({ room, ...flags }) => command("delete", flags, room))),
      change("Plan a stop", () => plan("Plan the stop of the server", [], (flags) => command("stop", flags))),
    ],
  });
  const plan = (title, fields, line) => form({
    title, text: "Members are told now, and again shortly before.", submit: "Plan it", danger: true,
    fields: [...fields, { name: "in", label: "In", hint: "For example 10m or 24h.", required: true }, { name: "say", label: "Notice (optional)" }], run: (v) => act(line(v)),
  }).then((done) => done && stop.now());
  content.append(list.element);
  const stop = refresh(async () => {
    const [all, status] = await Promise.all([ask("rooms"), ask("status")]);
    list.set([...all.filter((r) => r.deletion).map((r) => ({ what: "Delete the room", room: r.name, due: r.deletion })), ...(status.stop ? [{ what: "Stop the server", room: "", due: status.stop }] : [])]);
  }, { every: 1000, types: ["command", "delete"] });
  return stop;
}

export function audit(content) {
  const list = new List({
    name: "Audit", sort: "time", down: true, key: (a) => `${a.time} ${a.line} ${a.result}`, empty: "Nothing was changed yet.",
    columns: [
      { name: "time", title: "Time", of: (a) => when(a.time), show: (a) => moment(a.time) },
      { name: "user", title: "User", of: (a) => a.user || a.from },
      { name: "door", title: "Door", of: (a) => a.door },
      { name: "line", title: "Command", of: (a) => a.line, kind: "fixed wide" },
      { name: "result", title: "Result", of: (a) => a.result, kind: "wide" },
    ],
  });
  content.append(list.element);
  return refresh(async () => list.set(await ask("audit", "-n", "1000")), { types: ["command", "create", "delete"] });
}
