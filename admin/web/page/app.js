// The operator's page: which view is shown, and the state of the server.
import { byId, clock, el, fill, sentence } from "./dom.js";
import { connect, live } from "./server.js";
import * as views from "./views.js";
import { commands } from "./commands.js";

// A view is a function of its parts of the address; it fills an element, and returns what ends it.
const all = [
  ["overview", "Overview", views.overview], ["rooms", "Rooms", views.rooms], ["members", "Members", views.members], ["live", "Live", views.follow],
  ["bans", "Bans", views.bans], ["trash", "Trash", views.trash], ["plans", "Plans", views.plans], ["audit", "Audit", views.audit], ["commands", "Commands", commands],
];

let leave = null;
let shown = "";

function show() {
  const [name = "overview", ...rest] = location.hash.replace(/^#\/?/, "").split("/").filter(Boolean).map(part);
  const [id, title, view] = name === "room" ? ["rooms", rest[0] ?? "", views.room] : all.find(([id]) => id === name) ?? all[0];
  leave?.();
  leave = null;
  const content = el("div", { class: "view" });
  byId("title").textContent = title;
  document.title = `${title} - roomd admin`;
  fill(byId("view"), content);
  for (const a of byId("nav").children) {
    if (a.dataset.view === id) {
      a.setAttribute("aria-current", "page");
      a.scrollIntoView({ block: "nearest", inline: "center" });
    }
    else a.removeAttribute("aria-current");
  }
  if (shown && shown !== location.hash) {
    byId("main").scrollTo(0, 0);
    byId("main").focus();
  }
  shown = location.hash || "#/";
  leave = view(content, ...rest);
}

function part(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function state() {
  const [kind, text] = live.ended ? ["bad", "ended"] : live.here ? ["good", "connected"] : live.here === undefined ? ["", "connecting"] : ["fair", "server gone"];
  fill(byId("state"), el("span", { class: `dot ${kind}`, "aria-hidden": "true" }), text);
  const banner = byId("banner");
  let says = "";
  if (live.ended) says = `This page has ended. ${sentence(live.ended)} Run roomd admin web again for a new link.`;
  else if (live.here === false) says = `The server is gone since ${clock(new Date(live.since))}; waiting for it. ${live.text ? sentence(live.text) : ""}`;
  banner.hidden = !says;
  banner.className = `banner ${live.ended ? "bad" : "fair"}`;
  if (banner.textContent !== says) banner.textContent = says;
}

fill(byId("nav"), all.map(([id, title]) => el("a", { href: `#/${id}`, "data-view": id }, title)));
byId("skip").addEventListener("click", (e) => {
  e.preventDefault();
  byId("main").focus();
});
live.addEventListener("state", state);
live.addEventListener("hello", () => {
  byId("where").textContent = `${live.hello.user}, ${live.hello.socket}`;
  byId("badge").hidden = !live.hello.read_only;
  document.body.classList.toggle("read-only", live.hello.read_only);
  if (shown) return;
  show();
  addEventListener("hashchange", show);
});
state();
connect();
