// The page: its state, its addresses, and the wiring of its parts.
import { Composer } from "./composer.js";
import * as dialog from "./dialog.js";
import { keep } from "./keep.js";
import * as keys from "./keys.js";
import * as line from "./line.js";
import { Link } from "./link.js";
import { Log } from "./log.js";
import { People } from "./people.js";
import { Rooms } from "./rooms.js";
import { Search } from "./search.js";
import { count, el, fill, fold, icon, monogram, plural, roomHref, unseen } from "./text.js";

const $ = (id) => document.getElementById(id);
const base = new URL(document.baseURI);
const ws = new URL("ws", base);
ws.protocol = base.protocol === "https:" ? "wss:" : "ws:";

const link = new Link(ws.href);
const rooms = new Rooms({ mine: $("mine"), minePart: $("mine-part"), others: $("others"), note: $("rooms-note") });
const isRoom = (name) => rooms.has(name);
const log = new Log({ scroller: $("log"), rows: $("rows"), older: $("older"), newer: $("newer"), link, line });
log.isRoom = isRoom;
const search = new Search({
  panel: $("search"), input: $("search-input"), results: $("search-results"), status: $("search-status"), link, log,
  open: (room, seq) => {
    if (getComputedStyle($("search")).position === "absolute") closeSearch(); // it covers the messages
    go(room, { seq });
  },
});
const people = new People({
  list: $("members"), head: $("people-head"), note: $("people-note"),
  total: (n) => { $("people-count").textContent = n ? count(n) : ""; },
  pick: (nick) => {
    drawer("");
    if (nick === me) askNick();
    else composer.address(nick);
  },
});
const composer = new Composer({
  form: $("composer"), input: $("input"), choices: $("choices"), counter: $("counter"), send: $("send"), note: $("composer-note"), outbox: $("outbox"),
  link, me: () => me, nicks: () => people.nicks, rooms: () => rooms.all.map((r) => r.name), lastOwn: () => log.lastOwn(), sent: () => log.newest(), run,
});

let room = ""; // the name of the room in sight
let me = keep.get("nick", ""); // the nick the reader has: a guest's, too
let opening = 0; // counts changes of the room, so that late answers are left alone
let served = document.title; // the server's title
let ended = ""; // why the room in sight has ended, for the composer
let gone = ""; // the room that is not there, or no more, while the page says so

// Addresses. "r/lobby#812" is line 812 of the room lobby.

function place() {
  const path = location.pathname.slice(base.pathname.length);
  const name = path.startsWith("r/") ? path.slice(2).replace(/\/$/, "") : "";
  let decoded = "";
  try {
    decoded = decodeURIComponent(name);
  } catch { /* no name at all */ }
  return { name: decoded, seq: Number(/^#(\d{1,15})$/.exec(location.hash)?.[1] ?? 0) };
}

// go opens a room, and notes it in the browser's history.
function go(name, { seq = 0, password } = {}) {
  const href = new URL(roomHref(name, seq), base);
  if (href.href !== location.href) history.pushState(null, "", href);
  return show(name, { seq, password });
}

async function show(name, { seq = 0, password } = {}) {
  const turn = ++opening;
  name = rooms.get(name)?.name ?? name;
  const other = name !== room;
  room = name;
  rooms.current = name;
  ended = gone = "";
  rooms.draw();
  drawer("");
  drawHead();
  if (other) {
    search.hide();
    searching(false);
    $("newest").hidden = true;
    composer.show(room, { why: link.entered(name) || !rooms.get(name)?.locked ? whyNot(name) : "You are not in this room", limit: limit(name) });
  }
  if (!name) return nothing();
  if (!link.entered(name)) {
    if (other) log.clear();
    loading();
  }
  let answer;
  try {
    answer = await enter(name, { password });
  } catch (e) {
    if (turn === opening) refused(name, e);
    return;
  }
  if (turn !== opening) return;
  if (answer.name !== room) { // spelled in another way
    room = rooms.current = answer.name;
    history.replaceState(null, "", new URL(roomHref(room, seq), base));
  }
  const seen = rooms.seen(room);
  rooms.entered(answer);
  setMe(link.as); // the answer is older than the nick in a room that was entered before it
  blank();
  drawHead();
  composer.show(room, { why: whyNot(room), limit: limit(room) });
  log.show(room, { seq, unread: other && seen < answer.newest ? seen : -1 });
  people.show(room, me, (r, l) => link.ask(r, l));
  offerName();
  if ((other || document.activeElement === document.body) && !matchMedia("(pointer: coarse)").matches && !dialog.isOpen()) $("input").focus({ preventScroll: true });
}

const passwords = keep.session.get("passwords", {});

// enter enters a room, with the password that opened it before in this tab.
async function enter(name, { password = passwords[fold(name)], ...more } = {}) {
  try {
    const answer = await link.enter(name, password ? { password, ...more } : more);
    if (password) passwords[fold(answer.name)] = password;
    return answer;
  } catch (e) {
    if (e.code === "password") delete passwords[fold(name)];
    throw e;
  } finally {
    keep.session.set("passwords", passwords);
  }
}

const limit = (name) => link.entered(name)?.line_bytes ?? link.hello?.line_bytes ?? 4096;
const whyNot = (name) => ended || (link.entered(name)?.read_only ? "Only the operator writes in this room" : "");

addEventListener("popstate", () => {
  const { name, seq } = place();
  if (name) show(name, { seq });
  else home();
});

document.addEventListener("click", (e) => {
  const a = e.target.closest?.("a[href^='r/']");
  if (!a || e.defaultPrevented || e.button || e.ctrlKey || e.metaKey || e.shiftKey || e.altKey) return;
  e.preventDefault();
  const url = new URL(a.href);
  const seq = Number(url.hash.slice(1)) || 0;
  const name = decodeURIComponent(url.pathname.slice(base.pathname.length + 2));
  if (a.classList.contains("at")) {
    history.replaceState(null, "", url);
    dialog.copy(url.href);
  } else if (name !== room || seq) go(name, { seq });
  else {
    drawer("");
    if (!$("blank").hidden) show(name);
    else log.newest();
  }
});

// home opens the room that was last open, or the one with the most people.
function home() {
  const last = rooms.opened.findLast((n) => rooms.has(n));
  const open = rooms.all.filter((r) => !r.locked);
  const first = last ?? rooms.get("lobby")?.name ?? open.sort((a, b) => (b.members ?? 0) - (a.members ?? 0))[0]?.name ?? rooms.all[0]?.name;
  if (!first) return nothing();
  history.replaceState(null, "", new URL(roomHref(first), base));
  return show(first);
}

// The head of the room

function drawHead() {
  const r = rooms.get(room), answer = link.entered(room);
  $("room-name").textContent = room || served;
  const topic = answer ? r?.topic ?? answer.topic ?? "" : r?.topic ?? "";
  const topicButton = $("topic");
  topicButton.hidden = !answer && !topic;
  topicButton.disabled = !answer || !!whyNot(room);
  topicButton.classList.toggle("none", !topic);
  topicButton.title = topic;
  topicButton.setAttribute("aria-label", topic ? `Topic: ${topic}` : "Set a topic");
  const text = topic || "Set a topic";
  if ($("topic-text").textContent !== text) $("topic-text").textContent = text;
  const ways = waysIn(r ?? answer);
  const key = ways.map((w) => w.text).join("\n");
  if ($("ways").dataset.key !== key) {
    $("ways").dataset.key = key;
    $("ways").replaceChildren(...ways.map((w) => chip(w, true)));
  }
  for (const id of ["search-open", "people-open", "room-more"]) $(id).hidden = !room;
  $("search-open").disabled = !answer;
}

const isLocal = (host) => /^(localhost|127\.[\d.]+|\[::1\])$/.test(host);

// waysIn are the commands and addresses that lead into a room without this page.
function waysIn(r) {
  const hello = link.hello;
  if (!r?.port || !hello) return [];
  const host = hello.host || location.hostname;
  // A proxy has brought the page to another machine, where localhost is not the server.
  const away = (h) => isLocal(h) && !isLocal(location.hostname);
  const ways = away(host) ? [] : [{ text: `${hello.tls ? "ncat --ssl" : "nc"} ${host} ${r.port}` }];
  const irc = hello.irc?.[0];
  if (irc) {
    const [, at, port] = /^(.*):(\d+)$/.exec(irc) ?? [];
    const address = !at || /^(\[::\]|0\.0\.0\.0)$/.test(at) ? host : at;
    if (away(address)) return ways;
    const text = `${hello.tls ? "ircs" : "irc"}://${address}:${port}/${encodeURIComponent(r.name)}`;
    ways.push({ text, href: text, short: "IRC" });
  }
  return ways;
}

function chip(way, short) {
  if (way.href) return el("a", { class: "chip irc", href: way.href, title: way.text, "aria-label": `Open in an IRC client: ${way.text}` }, short ? way.short : way.text);
  const sign = icon("copy");
  const button = el("button", {
    class: "chip", title: "Copy", "aria-label": `Copy ${way.text}`, click: async () => {
      if (!await dialog.copy(way.text)) return;
      sign.className = "i i-check";
      button.classList.add("done");
      setTimeout(() => {
        sign.className = "i i-copy";
        button.classList.remove("done");
      }, 1600);
    },
  }, el("span", { dir: "ltr" }, way.text), sign);
  return button;
}

function editTopic() {
  const was = rooms.get(room)?.topic ?? "", name = room;
  return dialog.ask({
    title: `Topic of ${name}`, submit: "Set topic",
    fields: [{ name: "topic", label: "Topic", value: was, required: true, spellcheck: true, hint: "Everybody in the room and in the list of rooms sees it." }],
    run: ({ topic }) => link.ask(name, `/topic ${topic}`),
  });
}

// about shows what can be done with the room.
function about() {
  const name = room, r = rooms.get(name), answer = link.entered(name);
  const key = keep.get("keys", {})[r?.id], ways = waysIn(r ?? answer);
  const d = dialog.open(`About ${name}`, dialog.sheet(name, () => d.close(),
    r?.topic && fill(el("p", { dir: "auto" }), r.topic, { isRoom }),
    ...(ways.length ? [el("h3", {}, "Other ways into this room"), el("div", { class: "ways" }, ...ways.map((w) => chip(w, false)))] : []),
    el("h3", {}, "This room"),
    answer && !whyNot(name) && dialog.row("pencil", "Set the topic", () => { d.close(); editTopic(); }),
    dialog.row("link", "Copy the link to this room", () => { d.close(); dialog.copy(new URL(roomHref(name), base).href); }),
    muteRow(name),
    key && dialog.row("copy", "Copy the key that deletes this room", () => { d.close(); dialog.copy(key); }),
    rooms.opened.includes(name) && dialog.row("leave", "Leave this room", () => { d.close(); leave(name); }),
    r && dialog.row("trash", "Delete this room…", () => { d.close(); remove(name); }, { class: "sheet-row danger-quiet" })));
}

function muteRow(name) {
  const b = dialog.row("bell", "Notifications of this room", () => {
    rooms.mute(name, !rooms.isMuted(name));
    b.setAttribute("aria-checked", String(!rooms.isMuted(name)));
  }, { role: "switch", "aria-checked": String(!rooms.isMuted(name)) });
  b.append(el("span", { class: "switch", "aria-hidden": "true" }));
  return b;
}

function leave(name) {
  link.leave(name);
  rooms.forget(name);
  if (name !== room) return;
  const next = rooms.sorted().mine[0]?.name;
  if (next) go(next);
  else {
    room = rooms.current = "";
    history.pushState(null, "", base);
    nothing();
  }
}

async function createRoom(name = "") {
  const made = await dialog.ask({
    title: "Create a room", submit: "Create", text: "It is kept until somebody deletes it, and has a port of its own for nc.",
    fields: [
      { name: "name", label: "Name", value: name, required: true, maxlength: 64, hint: "Up to 32 letters, digits and - _ ." },
      { name: "password", label: "Password (optional)", type: "password", maxlength: 128, autocomplete: "new-password", hint: "Only people who have it get in." },
    ],
    run: async ({ name, password }) => {
      if (/\s/.test(name) || /\s/.test(password)) throw { text: "names and passwords have no spaces" };
      return { ...(await link.ask("", `CREATE ${name}${password ? ` ${password}` : ""}`)).ok, password };
    },
  });
  if (!made) return;
  await go(made.name, { password: made.password || undefined });
  const id = rooms.get(made.name)?.id;
  if (id && made.key) keep.set("keys", { ...keep.get("keys", {}), [id]: made.key });
}

async function remove(name) {
  const key = keep.get("keys", {})[rooms.get(name)?.id] ?? "";
  const done = await dialog.ask({
    title: `Delete ${name}?`, submit: "Delete", danger: true,
    text: "Everybody leaves the room, and its lines are gone. Only the operator can bring it back.",
    fields: [{ name: "key", label: "Key", value: key, hint: "The person who created the room has it. Where everybody may delete rooms, none is needed." }],
    run: ({ key }) => link.ask("", `DELETE ${name}${key ? ` ${key}` : ""}`),
  });
  if (done) dialog.toast(`${name} is deleted`);
}

// What stands in the place of the messages

function blank(mark, title, text, { bad = false, clear = false, actions = [], form } = {}) {
  const b = $("blank");
  b.hidden = !mark;
  b.className = `blank${bad ? " bad" : ""}${clear ? " clear" : ""}`;
  $("log").inert = !!mark && !clear;
  if (!mark) return b.replaceChildren();
  b.replaceChildren(el("span", { class: "blank-mark" }, icon(mark)), el("h2", { dir: "auto" }, title), text && el("p", {}, text), form ?? "",
    actions.length ? el("div", { class: "blank-actions" }, ...actions.map(([label, run, primary]) => el("button", { class: `button${primary ? " primary" : ""}`, click: run }, label))) : "");
}

function loading() {
  const b = $("blank");
  if (!b.hidden && b.querySelector(".bones")) return;
  b.hidden = false;
  b.className = "blank";
  const bones = el("div", { class: "bones", "aria-label": "Loading", role: "img" });
  for (const w of ["72%", "38%", "55%", "80%", "44%"]) {
    const bone = el("div", { class: "bone" }, el("i"), el("i"));
    bone.lastChild.style.setProperty("--w", w);
    bones.append(bone);
  }
  b.replaceChildren(bones);
}

function nothing() {
  room = rooms.current = "";
  drawHead();
  log.clear();
  people.show("", me);
  composer.show("", { why: "Open a room to write" });
  if (rooms.all.length) {
    blank("chat", "Choose a room", "Rooms keep their lines: read what was said before you came.", { actions: [["Jump to a room", jump, true], ["Create a room", () => createRoom()]] });
  } else {
    blank("chat", "No rooms yet", "Create the first one. Browsers, nc and IRC clients meet in it.", { actions: [["Create a room", () => createRoom(), true]] });
  }
  rooms.draw();
}

// refused shows why a room cannot be entered, or was left, by the code of the error.
function refused(name, e) {
  ended = "You are not in this room";
  gone = ["no-room", "deleted", "room deleted"].includes(e.code) ? fold(name) : "";
  composer.show(name, { why: ended });
  people.show("", me);
  drawHead();
  $("naming").hidden = true;
  const text = dialog.sentence({ text: e.text?.replace(`${name}: `, "") });
  const again = (label = "Try again") => ({ actions: [[label, () => show(name), true]] });
  const elsewhere = ["Jump to a room", jump];
  switch (e.code) {
    case "password": return blank("lock", `${name} has a password`, "Ask the person who created the room.", {
      form: oneField({ type: "password", "aria-label": `Password of ${name}`, placeholder: "Password", autocomplete: "current-password" }, "Open", (password) => enter(name, { password })),
    });
    case "exists": return blank("people", `${link.nick} is taken in ${name}`, text, { form: oneField({ "aria-label": "Another name", value: another(link.nick) }, "Use it", takeNick) });
    case "no-room":
      rooms.forget(name);
      return blank("ghost", `No room is named ${name}`, "It may have been deleted, or renamed.", { actions: [["Create it", () => createRoom(name), true], elsewhere] });
    case "deleted": case "room deleted":
      rooms.forget(name);
      return blank("trash", `${name} was deleted`, text, { actions: [elsewhere] });
    case "bad-name": return blank("ghost", "That is no name of a room", text, { actions: [elsewhere] });
    case "denied": case "banned": return blank("block", "You are banned here", text, { bad: true });
    case "kicked": return blank("leave", "You were asked to leave", text, { bad: true, ...again("Come back") });
    case "full": case "members": return blank("people", `${name} is full`, text, again());
    case "lagged": return blank("warn", "Too far behind", text, again("Open the room again"));
    case "busy": return blank("warn", "Not now", text, again());
    default: return blank("warn", `${name} cannot be opened`, text, { bad: true, ...again() });
  }
}

// oneField is a form with one field, which opens the room when run(value) has worked.
function oneField(props, label, run) {
  const name = room;
  const input = el("input", { class: "field", required: true, maxlength: 128, autocapitalize: "off", spellcheck: "false", ...props });
  const error = el("span", { class: "error", role: "alert" });
  setTimeout(() => input.select());
  return el("form", {
    submit: async (ev) => {
      ev.preventDefault();
      error.textContent = "";
      try {
        await run(input.value.trim());
        if (room === name) show(name);
      } catch (e) {
        error.textContent = dialog.sentence(e);
        input.select();
      }
    },
  }, input, el("button", { class: "button primary" }, label), error);
}

log.addEventListener("status", ({ detail: { room: name, state, text } }) => {
  if (name !== room || ended) return;
  if (state === "loading") return;
  if (state !== "error" && !link.entered(room)?.newest) blank("chat", `Welcome to ${room}`, "Nobody has said anything yet. The first line is yours.", { clear: true });
  else if (state === "error") blank("warn", "The messages cannot be read", text, { bad: true, actions: [["Try again", () => show(room), true]] });
  else blank();
});

// Names

function setMe(nick) {
  if (!nick) return;
  me = nick;
  people.me = me;
  $("me").replaceChildren(monogram(me, true), el("bdi", { class: "nick-me" }, me), unseen(["change your name"]));
}

const isGuest = (nick) => /^guest-\d+$/.test(nick);

let nickRefused = false; // lines wait for another one

// offerName asks for a name in place, once, while the messages can be read; and again if the wanted one was refused.
function offerName() {
  $("naming").hidden = !link.entered(room) || (!nickRefused && (!!keep.get("nick", "") || keep.get("guest", false)));
}

async function takeNick(nick) {
  const taken = await link.setNick(nick);
  const name = typeof taken === "string" ? taken : nick;
  keep.set("nick", name);
  setMe(name);
  nickRefused = false;
  offerName();
}

// another proposes a nick that is like one that is taken.
function another(nick) {
  const [, stem, n] = /^(.*?)(\d*)$/u.exec(nick);
  const used = new Set(people.nicks.map(fold));
  for (let i = (Number(n) || 1) + 1; ; i++) {
    const next = `${stem.slice(0, 28)}${i}`;
    if (!used.has(fold(next))) return next;
  }
}

function proposeNick(nick, e) {
  nickRefused = true;
  $("naming").hidden = false;
  const taken = e.code === "exists";
  $("naming-text").textContent = taken ? `${nick} is taken. Another name?` : "What should people call you?";
  $("naming-error").textContent = taken ? "" : dialog.sentence(e);
  $("name-input").value = taken ? another(nick) : nick;
}

$("naming").addEventListener("submit", async (e) => {
  e.preventDefault();
  const nick = $("name-input").value.trim();
  if (!nick) return $("name-input").focus();
  $("naming-error").textContent = "";
  try {
    await takeNick(nick);
    $("input").focus();
  } catch (err) {
    proposeNick(nick, err);
    $("name-input").select();
  }
});
$("stay-guest").addEventListener("click", () => {
  keep.set("guest", true);
  keep.set("nick", undefined);
  link.stayGuest();
  setMe(link.as);
  nickRefused = false;
  offerName();
  $("input").focus();
});

function askNick(nick = isGuest(me) ? "" : me) {
  return dialog.ask({
    title: "Your name", submit: "Use it",
    fields: [{ name: "nick", label: "Name", value: nick, required: true, maxlength: 64, autocomplete: "nickname", hint: "The same in all rooms. Up to 32 letters, digits and - _ ." }],
    run: async ({ nick }) => {
      try {
        await takeNick(nick);
      } catch (e) {
        if (e.code === "exists") document.querySelector("dialog [name=nick]").value = another(nick);
        throw e;
      }
    },
  });
}

// Commands of the composer. The others of a room's port make no sense here.
async function run(name, rest, whole) {
  switch (name) {
    case "nick": return rest ? takeNick(rest) : askNick();
    case "join": return rest ? go(rest.replace(/^#/, "")) : jump();
    case "create": return createRoom(rest.split(/\s/)[0]);
    case "leave": case "part": case "quit": return leave(room);
    case "search": return openSearch(rest);
    case "who": return showPeople();
    case "help": return keys.showKeys();
    case "topic": return rest ? link.ask(room, whole) : editTopic();
    case "msg": case "ping": return link.ask(room, whole);
  }
  return false;
}

// The parts at the sides

const drawers = { rooms: ["rooms", "rooms-open"], people: ["people", "people-open"] };

// drawer opens one of the drawers of a narrow page, or closes both with "".
function drawer(name) {
  let was = "";
  for (const [key, [part, button]] of Object.entries(drawers)) {
    if ($(part).classList.contains("open")) was = key;
    $(part).classList.toggle("open", key === name);
    $(button).setAttribute("aria-expanded", String(key === name));
  }
  $("scrim").hidden = !name;
  $("main").inert = !!name;
  if (name) $(name).querySelector("[aria-current], .room, .member, button")?.focus();
  else if (was && $(was).contains(document.activeElement)) $(drawers[was][1]).focus();
}

const isDrawer = (id) => getComputedStyle($(id)).position === "fixed";
const showPeople = () => isDrawer("people") ? drawer("people") : $("members").querySelector("button")?.focus();

function searching(on) {
  $("search-open").setAttribute("aria-expanded", String(on));
}

function openSearch(text = "") {
  if (!link.entered(room)) return;
  search.show(room);
  searching(true);
  if (text) {
    $("search-input").value = text;
    $("search-input").dispatchEvent(new Event("input"));
  }
}

function closeSearch() {
  search.hide();
  searching(false);
  $("input").focus();
}

const jump = () => rooms.jump(go, createRoom);

keys.listen({
  beside: (step, unread) => {
    const name = rooms.beside(step, unread);
    if (name) go(name);
  },
  jump, search: () => openSearch(), help: keys.showKeys,
  escape: () => {
    if (!$("scrim").hidden) drawer("");
    else if (!$("search").hidden) closeSearch();
    else {
      log.newest();
      $("input").focus();
    }
  },
});

const clicks = {
  "rooms-open": () => drawer("rooms"), "rooms-close": () => drawer(""), "people-open": () => drawer("people"), "people-close": () => drawer(""), scrim: () => drawer(""),
  jump, create: () => createRoom(), topic: editTopic, "room-more": about, me: () => askNick(), help: keys.showKeys, retry: () => link.retry(),
  "search-open": () => $("search").hidden ? openSearch() : closeSearch(), "search-close": closeSearch, newest: () => { log.newest(); $("input").focus({ preventScroll: true }); },
};
for (const [id, act] of Object.entries(clicks)) $(id).addEventListener("click", act);
$("skip").addEventListener("click", (e) => {
  e.preventDefault();
  $("input").focus();
});

// The theme

const themes = [["auto", "the system's"], ["light", "light"], ["dark", "dark"]];

function setTheme(theme) {
  const [name, label] = themes.find(([t]) => t === theme) ?? themes[0];
  if (name === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
  $("theme").firstElementChild.className = `i i-${{ light: "sun", dark: "moon" }[name] ?? "auto"}`;
  $("theme").setAttribute("aria-label", `Theme: ${label}`);
  $("theme").title = `Theme: ${label}`;
  const side = { light: "#f4f5f6", dark: "#16191c" };
  for (const m of document.querySelectorAll("meta[name=theme-color]")) m.content = side[name] ?? (m.media.includes("dark") ? side.dark : side.light);
}
$("theme").addEventListener("click", () => {
  const next = themes[(themes.findIndex(([t]) => t === keep.get("theme", "auto")) + 1) % themes.length];
  keep.set("theme", next[0] === "auto" ? undefined : next[0]);
  setTheme(next[0]);
  dialog.toast(`Theme: ${next[1]}`);
});
setTheme(keep.get("theme", "auto"));

// Notifications, asked for by a press of the bell only

const allowed = () => "Notification" in window && Notification.permission === "granted" && keep.get("bell", false);

function drawBell() {
  const on = allowed();
  $("bell").hidden = !("Notification" in window);
  $("bell").setAttribute("aria-pressed", String(on));
  $("bell").firstElementChild.className = `i i-${on ? "bell" : "mute"}`;
  $("bell").title = on ? "Desktop notifications: for mentions and private messages" : "Desktop notifications: off";
}
$("bell").addEventListener("click", async () => {
  const on = !allowed();
  if (on && await Notification.requestPermission() !== "granted") dialog.toast("The browser does not allow notifications here");
  else {
    keep.set("bell", on || undefined);
    dialog.toast(on ? "Notifications for mentions and private messages" : "No notifications");
  }
  drawBell();
});
drawBell();

function notify(name, l) {
  if (!allowed() || rooms.isMuted(name) || (!document.hidden && document.hasFocus())) return;
  try {
    const n = new Notification(l.type === "private" ? `${l.from}, only to you` : `${l.from} in ${name}`, { body: l.text, tag: `${name}:${l.from}`, icon: "icon.svg" });
    n.addEventListener("click", () => {
      window.focus();
      go(name, { seq: l.seq ?? 0 });
      n.close();
    });
  } catch { /* phones have them for installed pages only */ }
}

rooms.addEventListener("drawn", () => {
  const { unread, mentions } = rooms.totals();
  document.title = `${mentions ? `(@${mentions}) ` : unread ? `(${unread > 999 ? "999+" : unread}) ` : ""}${room ? `${room} · ` : ""}${served}`;
  const away = rooms.totals(room);
  $("elsewhere").hidden = !away.unread && !away.mentions;
  $("rooms-open").setAttribute("aria-label", away.mentions ? `Rooms, ${plural(away.mentions, "mention")}` : away.unread ? `Rooms, ${count(away.unread)} unread` : "Rooms");
  $("elsewhere").classList.toggle("mentions", away.mentions > 0);
  drawHead();
});

// The connection

let offlineTimer, countdown;

function drawState() {
  const { state, hello } = link;
  $("dot").className = `dot ${state}`;
  $("dot").title = { online: `Connected${hello?.version ? ` to roomd ${hello.version}` : ""}`, connecting: "Connecting", offline: "Not connected", refused: "Refused" }[state];
}

link.addEventListener("state", ({ detail: { state, why, at } }) => {
  drawState();
  clearInterval(countdown);
  if (state === "online") {
    clearTimeout(offlineTimer);
    offlineTimer = undefined;
    $("offline").hidden = true;
    return;
  }
  if (state === "refused") {
    clearTimeout(offlineTimer);
    $("offline").hidden = true;
    started = false; // all rooms are entered again if the server lets us
    ended = "Not connected";
    composer.show(room, { why: ended });
    people.show("", me);
    blank("block", "The server refuses this page", why && dialog.sentence({ text: why }), { bad: true, actions: [["Try again", () => link.retry(), true]] });
  } else {
    // A short break, such as an upgrade of the server, is shown by the dot alone.
    offlineTimer ??= setTimeout(() => {
      $("offline").hidden = false;
      $("offline-text").textContent = "No connection. What you write is sent when it is back.";
    }, 2000);
  }
  if (state === "offline" && at) {
    const tick = () => {
      const s = Math.max(0, Math.ceil((at - Date.now()) / 1000));
      $("retry").textContent = s > 1 ? `Try now (${s} s)` : "Try now";
    };
    tick();
    countdown = setInterval(tick, 1000);
  }
});

link.addEventListener("hello", ({ detail }) => {
  served = detail.title || served;
  $("title").textContent = served;
  drawState();
  drawHead();
});

let started = false;

link.addEventListener("room", ({ detail }) => {
  rooms.take(detail);
  if (detail.type === "renamed" && fold(detail.was) === fold(room)) {
    room = rooms.current = detail.name;
    history.replaceState(null, "", new URL(roomHref(room), base));
    show(room);
  } else if (detail.type === "list" && !started) {
    started = true;
    const { name, seq } = place();
    name ? show(name, { seq }) : home();
    for (const other of rooms.opened) {
      const r = rooms.get(other);
      if (r && r.name !== room) enter(r.name, { since: rooms.seen(r.name) }).then((a) => rooms.entered(a), () => { /* it is shown when it is opened */ });
    }
  } else if (gone && fold(detail.name) === gone && detail.type === "room") {
    show(room); // it is back
  } else if (!room && started && detail.type !== "list" && $("blank").querySelector("h2")) nothing();
  drawHead();
});

link.addEventListener("enter", ({ detail }) => {
  const name = detail.room ?? detail.name;
  setMe(detail.nick);
  if (detail.other) rooms.restart(detail);
  if (fold(name) !== fold(room)) return;
  if (rooms.opened.includes(detail.name)) rooms.entered(detail);
  people.show(room, me, (r, l) => link.ask(r, l));
});
for (const type of ["end", "refused"]) {
  link.addEventListener(type, ({ detail: { room: name, ...e } }) => { if (name === room) refused(name, e); });
}
link.addEventListener("nick", ({ detail: { nick, code, text } }) => {
  const wanted = keep.get("nick", "");
  setMe(nick);
  if (code && wanted) return proposeNick(wanted, { code, text });
  nickRefused = false;
  offerName();
});
link.addEventListener("line", ({ detail: { room: name, line: l, live } }) => {
  const named = rooms.line(name, l, me);
  people.line(name, l);
  if (l.seq && name === room && $("blank").classList.contains("clear")) blank();
  if (l.type === "nick" && l.from === me) setMe(l.nick);
  if (live && (named || (l.type === "private" && l.from !== me))) notify(name, l);
});
link.addEventListener("progress", ({ detail: { room: name, done, total } }) => {
  if (name !== room) return;
  const p = $("progress");
  p.hidden = done >= total;
  p.setAttribute("aria-valuenow", String(Math.round((100 * done) / (total || 1))));
  p.firstElementChild.style.setProperty("--done", String(done / (total || 1)));
});

log.addEventListener("bottom", ({ detail: { at, below } }) => {
  $("newest").hidden = at;
  $("newest-count").textContent = below ? plural(below, "new line") : "";
});
log.addEventListener("seen", ({ detail }) => rooms.saw(detail.room, detail.seq));
log.addEventListener("missing", () => dialog.toast("That line is no longer kept"));
log.addEventListener("announce", ({ detail: { text } }) => {
  if (!text) return;
  const live = $("announce");
  live.append(el("p", {}, text));
  while (live.childElementCount > 10) live.firstElementChild.remove();
});

// The keyboard of a phone makes the visible part of the page smaller. Browsers that do not shrink the
// page then tell its height here.
const visible = window.visualViewport;
visible?.addEventListener("resize", () => {
  if (visible.scale > 1.01) return;
  document.documentElement.style.setProperty("--height", `${visible.height}px`);
  scrollTo(0, 0);
});

addEventListener("beforeunload", (e) => {
  if (rooms.opened.some((name) => link.outbox(name).some((m) => m.state === "waiting"))) e.preventDefault();
});

drawHead();
loading();
if (me) setMe(me);
else $("me").replaceChildren(el("span", { class: "nick-me" }, "Choose a name"));
link.nick = me;
link.start();
