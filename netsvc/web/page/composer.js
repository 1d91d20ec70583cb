// The box that messages are written in: completion, commands, pasting, and what waits to be sent.
import * as dialog from "./dialog.js";
import { keep } from "./keep.js";
import { commands } from "./keys.js";
import { byteLength, count, el, fill, fold, icon, monogram, plural } from "./text.js";

// A message that has its own line back within this time is not shown as waiting.
const patience = 350; // ms

export class Composer {
  #room = "";
  #drafts = keep.session.get("drafts", {});
  #again = false; // the last own line is in the box again
  #limit = 4096;
  #choices = [];
  #at = -1;
  #token = null; // what the choices complete: {start, end}
  #timer;

  // me() is the reader's nick, nicks() are the members' nicks, rooms() the names of rooms, lastOwn() the newest own line; sent()
  // is told that lines are on their way; run(name, rest) does a command of the page and returns false if it has none of that name.
  constructor({ form, input, choices, counter, send, note, outbox, link, me, nicks, rooms, lastOwn, sent, run }) {
    Object.assign(this, { form, input, choices, counter, button: send, note, outbox, link, me, nicks, rooms, lastOwn, sent, run });
    form.addEventListener("submit", (e) => {
      e.preventDefault();
      this.send();
    });
    input.addEventListener("input", () => this.#changed());
    input.addEventListener("keydown", (e) => this.#key(e));
    input.addEventListener("paste", (e) => this.#paste(e));
    input.addEventListener("blur", () => this.#close());
    link.addEventListener("outbox", (e) => { if (e.detail.room === this.#room) this.drawOutbox(); });
  }

  // show brings the composer to a room; why says why nothing can be written there, if so.
  show(room, { why = "", limit = 4096 } = {}) {
    if (room !== this.#room) {
      this.#store();
      this.#room = room;
      this.input.value = this.#drafts[room] ?? "";
      this.#again = false;
      this.say("");
    }
    this.#limit = limit;
    this.input.disabled = !room || why !== "";
    this.input.placeholder = why || (room ? `Message ${room}` : "Message");
    this.#changed();
    this.drawOutbox();
  }

  #store() {
    if (!this.#room) return;
    if (this.input.value) this.#drafts[this.#room] = this.input.value;
    else delete this.#drafts[this.#room];
    keep.session.set("drafts", this.#drafts);
  }

  say(text, bad = false) {
    this.note.textContent = text;
    this.note.classList.toggle("bad", bad);
  }

  insert(text) {
    this.input.setRangeText(text, this.input.selectionStart, this.input.selectionEnd, "end");
    this.#changed();
    this.input.focus();
  }

  // address begins a private message to a member.
  address(nick) {
    if (!this.input.value) this.input.value = `/msg ${nick} `;
    else this.input.setRangeText(`${nick} `, this.input.selectionStart, this.input.selectionEnd, "end");
    this.#changed();
    this.input.focus();
  }

  #changed() {
    const { input } = this;
    if (!CSS.supports("field-sizing", "content")) {
      input.style.height = "auto";
      input.style.height = `${input.scrollHeight}px`;
    }
    const longest = input.value.split("\n").reduce((n, l) => Math.max(n, byteLength(l)), 0);
    const near = longest > this.#limit * .8, over = longest > this.#limit;
    this.counter.hidden = !near;
    this.counter.textContent = `${count(longest)} / ${count(this.#limit)}`;
    this.counter.classList.toggle("over", over);
    this.button.disabled = input.disabled || over || !input.value.trim();
    if (this.#again && !input.value) {
      this.#again = false;
      this.say("");
    } else if (this.note.classList.contains("bad")) this.say("");
    this.#suggest();
    this.#store();
  }

  // send sends each line of the box. Only a line that stands alone is a command.
  async send() {
    const { input } = this, room = this.#room;
    if (this.button.disabled) {
      if (this.counter.classList.contains("over")) this.say(`A message has at most ${count(this.#limit)} bytes.`, true);
      return;
    }
    const text = input.value.replace(/\s+$/, "");
    let lines = text.split("\n").filter((l) => l.trim());
    this.#close();
    input.value = "";
    this.#again = false;
    this.say("");
    this.#changed();
    const command = lines.length === 1 && /^\/(?!\/)(\S*)\s*(.*)$/su.exec(lines[0]);
    if (!command || ["me", "notice"].includes(command[1])) {
      if (lines.length > 1) lines = lines.map((l) => (l.startsWith("/") ? "/" + l : l));
      const refused = this.link.send(room, lines)?.filter((r) => r.code !== "blank") ?? [];
      if (refused.length < lines.length) this.sent();
      if (!refused.length) return;
      input.value = [...refused.map((r) => r.line), input.value].filter(Boolean).join("\n");
      this.#changed();
      this.say(dialog.sentence(refused[0]), true);
      return;
    }
    try {
      if (await this.run(command[1].toLowerCase(), command[2].trim(), lines[0]) === false) {
        throw { text: `there is no /${command[1]} here; //${command[1]} sends it as text` };
      }
    } catch (e) {
      if (room !== this.#room) return;
      if (!input.value) input.value = text;
      this.#changed();
      this.say(dialog.sentence(e), true);
    }
  }

  #key(e) {
    const { input } = this;
    if (e.isComposing) return;
    const plain = !e.altKey && !e.ctrlKey && !e.metaKey;
    const listed = this.#choices.length > 0;
    if (e.key === "Enter" && !e.shiftKey && plain) {
      if (listed && this.#at >= 0) this.#take(this.#at);
      else this.send();
    } else if (e.key === "Tab" && !e.shiftKey && plain) {
      // Without anything to complete, Tab goes on to the next control.
      if (!listed) this.#suggest(true);
      if (!this.#choices.length) return;
      this.#take(Math.max(this.#at, 0));
    } else if (listed && plain && (e.key === "ArrowDown" || e.key === "ArrowUp")) {
      this.#choose(this.#at + (e.key === "ArrowDown" ? 1 : -1));
    } else if (e.key === "ArrowUp" && plain && !e.shiftKey && !input.value) {
      const line = this.lastOwn();
      if (!line) return;
      input.value = line.text.replace(/^\//, "//");
      this.#again = true;
      this.#changed();
      this.say("Your last line. Enter sends it again, Esc leaves it.");
    } else if (e.key === "Escape" && (listed || this.#again)) {
      if (listed) this.#close();
      else {
        input.value = "";
        this.#changed();
      }
    } else return;
    e.preventDefault();
  }

  async #paste(e) {
    const text = e.clipboardData?.getData("text/plain").replace(/\r\n?/g, "\n").replace(/\n+$/, "") ?? "";
    const lines = text.split("\n").filter((l) => l.trim());
    if (lines.length < 2) return;
    e.preventDefault();
    const done = await dialog.ask({
      title: `Paste ${plural(lines.length, "line")}?`,
      text: "Each line becomes a message of its own.",
      body: el("pre", { class: "paste", tabindex: "0", "aria-label": "Lines" }, lines.slice(0, 20).join("\n") + (lines.length > 20 ? "\n…" : "")),
      submit: "A message each",
      others: [{ label: "Join into one", run: () => lines.map((l) => l.trim()).join(" ") }],
      run: () => lines.join("\n"),
    });
    if (typeof done === "string") this.insert(done);
    else this.input.focus();
  }

  // suggest finds what completes the word before the caret. Commands and rooms are offered while they
  // are typed, nicks when Tab asks for them or behind an @.
  #suggest(tab = false) {
    const { input } = this;
    const before = input.value.slice(0, input.selectionStart);
    const word = /\S*$/u.exec(before)[0], start = before.length - word.length;
    let found = [];
    const starts = (list, prefix) => list.filter((n) => fold(n).startsWith(fold(prefix))).slice(0, 50);
    const command = start === 0 && /^\/\w*$/.test(word);
    const arg = /^\/(join|create|msg)\s+\S*$/.exec(before)?.[1];
    if (command) found = commands.filter(([name]) => name.startsWith(word.toLowerCase())).map(([name, args, what]) => ({ text: args ? `${name} ` : name, label: `${name} ${args}`, what }));
    else if (word.startsWith("#")) found = starts(this.rooms(), word.slice(1)).map((n) => ({ text: `#${n} `, label: `#${n}`, what: "" }));
    else if (arg === "join") found = starts(this.rooms(), word).map((n) => ({ text: n, label: n, what: "" }));
    else if (word && (tab || (word.startsWith("@") && word.length > 1) || (arg === "msg" && word))) {
      const prefix = word.replace(/^@/, "");
      found = starts(this.nicks(), prefix).map((n) => ({ text: start === 0 ? `${n}: ` : `${n} `, label: n, what: "" }));
    }
    if (found.length === 1 && found[0].text.trim() === word && !tab) found = command ? found : [];
    this.#token = { start, end: before.length };
    this.#show(found);
    if (tab && found.length > 1) this.#choose(0);
  }

  #show(found) {
    this.#choices = found;
    this.#at = -1;
    const { choices, input } = this;
    choices.hidden = found.length === 0 || document.activeElement !== input;
    if (choices.hidden) this.#choices = [];
    choices.replaceChildren(...this.#choices.map((c, i) => el("div", {
      class: "choice", role: "option", id: `choice-${i}`, "aria-selected": "false",
      pointerdown: (e) => e.preventDefault(), click: () => this.#take(i),
    }, el("span", { dir: "auto" }, c.label), el("span", {}, c.what))));
    input.removeAttribute("aria-activedescendant");
  }

  #choose(i) {
    this.#at = (i + this.#choices.length) % this.#choices.length;
    [...this.choices.children].forEach((c, n) => c.setAttribute("aria-selected", String(n === this.#at)));
    this.input.setAttribute("aria-activedescendant", `choice-${this.#at}`);
    this.choices.children[this.#at].scrollIntoView({ block: "nearest" });
  }

  #take(i) {
    const c = this.#choices[i];
    this.#close();
    this.input.setRangeText(c.text, this.#token.start, this.#token.end, "end");
    this.#changed();
    this.#close();
  }

  #close() { this.#show([]); }

  // drawOutbox draws what waits to be sent, below the newest line.
  drawOutbox() {
    clearTimeout(this.#timer);
    const all = this.#room ? this.link.outbox(this.#room) : [];
    const now = Date.now();
    // A message on its way is shown once it takes longer than usual.
    const fresh = all.filter((m) => m.state === "sent" && now - (m.time ?? this.#first(m)) < patience);
    const shown = all.filter((m) => !fresh.includes(m));
    if (fresh.length) this.#timer = setTimeout(() => this.drawOutbox(), patience);
    this.outbox.hidden = shown.length === 0;
    this.outbox.replaceChildren(...shown.map((m, i) => this.#waiting(m, i === 0)));
    const known = new Set(all.map((m) => m.id));
    for (const id of this.#since.keys()) if (!known.has(id)) this.#since.delete(id);
  }

  #since = new Map();
  #first(m) {
    if (!this.#since.has(m.id)) this.#since.set(m.id, Date.now());
    return this.#since.get(m.id);
  }

  #waiting(m, first) {
    const words = { waiting: "waiting for the connection", sent: "sending", unsure: "checking whether it arrived", failed: "not sent" };
    const li = el("li", { class: `out ${m.state}` }, first && monogram(this.me(), true), fill(el("div", { class: "text", dir: "auto" }), m.text),
      el("span", { class: "out-state" }, m.state === "failed" ? icon("warn") : el("span", { class: "pulse", "aria-hidden": "true" }), words[m.state]));
    if (m.state === "failed") {
      li.lastChild.append(el("button", { class: "tool", type: "button", click: () => this.link.again(m.id) }, "Try again"));
      if (m.why) li.append(el("span", { class: "out-why" }, dialog.sentence({ text: m.why.replace(/^not sent: /, "") })));
    }
    if (m.state === "failed" || m.state === "waiting") {
      li.querySelector(".out-state").append(el("button", { class: "tool", type: "button", "aria-label": "Do not send this", title: "Do not send this", click: () => this.link.retract(m.id) }, icon("x")));
    }
    return li;
  }
}
