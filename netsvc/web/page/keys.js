// The keys of the page, and the dialog that shows them and the commands.
import * as dialog from "./dialog.js";
import { el } from "./text.js";

const mac = /mac|iphone|ipad/i.test(navigator.platform);
export const ctrl = mac ? "⌘" : "Ctrl";

// Each key as the dialog shows it. What they do is in app.js.
const shown = [
  ["Rooms", [
    [["Alt ↑", "Alt ↓"], "The room above, below"],
    [["Alt Shift ↑", "Alt Shift ↓"], "The same, with unread lines"],
    [[`${ctrl} K`], "Jump to a room"],
  ]],
  ["Messages", [
    [["Esc"], "Close what is open, then the newest line"],
    [["Page ↑", "Page ↓"], "Scroll"],
    [["Enter", "↑", "↓", "c"], "In the messages: choose a line, c copies its link"],
    [[`${ctrl} Shift F`], "Search this room"],
    [["F6", "Shift F6"], "Next, previous part of the page"],
    [["?", `${ctrl} /`], "Show the keys and commands"],
  ]],
  ["Writing", [
    [["Enter"], "Send"],
    [["Shift Enter"], "A new line; each is sent as a message"],
    [["↑"], "In an empty box: your last line again, to send it with changes"],
    [["Tab"], "Complete a nick, #room or /command"],
  ]],
];

// Commands of the composer: those of a room's port, and a few of the page.
export const commands = [
  ["/me", "text", "Say an action"],
  ["/msg", "nick text", "Tell one member; it is not stored"],
  ["/nick", "name", "Take another name"],
  ["/topic", "text", "Set the topic"],
  ["/notice", "text", "Say what no bot answers"],
  ["/join", "room", "Open a room"],
  ["/create", "room", "Create a room"],
  ["/leave", "", "Leave this room"],
  ["/search", "text", "Search this room"],
  ["/who", "", "Show the members"],
  ["/help", "", "Show the keys and commands"],
];

export function showKeys() {
  const rows = (list, tag) => el("dl", {}, ...list.flatMap(([keys, what]) => [el("dt", {}, ...keys.map((k) => el(tag, {}, k))), el("dd", {}, what)]));
  const d = dialog.open("Keys and commands", dialog.sheet("Keys and commands", () => d.close(),
    ...shown.flatMap(([name, list]) => [el("h3", {}, name), rows(list, "kbd")]),
    el("h3", {}, "Commands"),
    rows(commands.map(([name, args, what]) => [[`${name} ${args}`.trim()], what]), "code")), { className: "keys-dialog" });
  return d;
}

// parts are the regions that F6 goes through, in the order of the page.
const parts = ["#rooms", "#log", "#input", "#people"];

function nextPart(step) {
  const found = parts.map((p) => document.querySelector(p)).filter((e) => !e.disabled && getComputedStyle(e).visibility !== "hidden");
  const at = found.findIndex((e) => e === document.activeElement || e.contains(document.activeElement));
  const next = found.at((at + step + (at < 0 && step < 0 ? 1 : 0)) % found.length);
  const inside = next.id === "rooms" ? next.querySelector("[aria-current], .room") : next.id === "people" ? next.querySelector(".member") : null;
  (inside ?? next).focus();
}

// listen calls the actions {beside(step, unread), jump, search, escape, help} for the page's keys.
export function listen(act) {
  document.addEventListener("keydown", (e) => {
    if (e.defaultPrevented || e.isComposing) return;
    const typing = e.target.closest?.("input, textarea");
    const mod = e.ctrlKey || (mac && e.metaKey);
    const key = e.key;
    if (key === "F6" && !dialog.isOpen()) nextPart(e.shiftKey ? -1 : 1);
    else if (dialog.isOpen()) return;
    else if (e.altKey && !mod && (key === "ArrowUp" || key === "ArrowDown")) act.beside(key === "ArrowDown" ? 1 : -1, e.shiftKey);
    else if (mod && !e.altKey && !e.shiftKey && key.toLowerCase() === "k") act.jump();
    else if (mod && e.shiftKey && key.toLowerCase() === "f") act.search();
    else if (mod && key === "/") act.help();
    else if (key === "?" && !typing && !mod && !e.altKey) act.help();
    else if (key === "Escape") act.escape();
    else return;
    e.preventDefault();
  });
}
