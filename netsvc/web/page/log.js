// The log of one room: a window over its lines. Some hundred rows are in the document, whatever
// is scrolled; what is beyond is asked of the server (/before) when the reader comes near. Rows are
// changed once a frame, and what the reader sees stays where it is.
import { copy } from "./dialog.js";
import { Rows } from "./rows.js";
import { count, el, fold, roomHref } from "./text.js";

const page = 100; // lines that are asked for at a time
const mostQueued = 2000; // lines that wait for a load
const mostAppended = 800; // rows below a reader who is further up, until the end is let go
const near = 24; // px from the end that count as the end
const quietTime = 900; // ms between announcements

export class Log extends EventTarget {
  #scroller;
  #rows;
  #older;
  #newer;
  #link;
  #line;
  #stuck = false; // the window ends with the newest line, and the reader is there
  #loading = 0; // the number of the load under way; 0: none
  #loads = 0;
  #unread = -1; // the divider stands behind this seq; -1: none
  #slow = 0; // the timer of a slow answer
  #below = 0; // new lines since the reader left the end
  #queue = []; // lines that came since the last frame
  #frame = 0;
  #anchor = null; // an entry of rows and where it was seen: what stays in place
  #seen = 0;
  #voice = { texts: [], timer: 0 };
  #at = {}; // where the scroller was, and how large
  #told = {}; // what was told last, by the type of the event

  room = "";

  constructor({ scroller, rows, older, newer, link, line }) {
    super();
    this.#scroller = scroller;
    this.#rows = new Rows(rows, {
      render: (l, prev) => line.render(l, prev, { nick: this.#nick, room: this.room, isRoom: this.isRoom }),
      merge: line.merge,
    });
    this.#older = older;
    this.#newer = newer;
    this.#link = link;
    this.#line = line;
    this.copyButton = el("button", { class: "copy tool", type: "button", "aria-label": "Copy the link to this line", title: "Copy the link to this line", tabindex: "-1" },
      el("span", { class: "i i-link", "aria-hidden": "true" }));
    this.copyButton.addEventListener("click", () => this.copyLink(this.copyButton.closest(".row")));
    scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    scroller.addEventListener("keydown", (e) => this.#key(e));
    for (const type of ["pointerover", "focusin"]) rows.addEventListener(type, (e) => this.#offer(e.target.closest?.(".row")));
    rows.addEventListener("pointerleave", () => this.copyButton.remove());
    const sizes = new ResizeObserver(() => this.#resized());
    for (const e of [scroller, ...scroller.children]) sizes.observe(e);
    document.addEventListener("visibilitychange", () => this.#turned());
    link.addEventListener("line", ({ detail }) => this.#came(detail));
    link.addEventListener("connect", () => this.#cameBack());
    link.addEventListener("enter", ({ detail }) => this.#entered(detail));
    link.addEventListener("room", ({ detail }) => this.#renamed(detail));
    link.addEventListener("answer", ({ detail }) => this.#answered(detail));
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  // tell emits what is not as it was told before.
  #tell(type, detail) {
    const now = JSON.stringify(detail);
    if (now === this.#told[type]) return;
    this.#told[type] = now;
    this.#emit(type, detail);
  }

  #status(state, text = "") {
    this.#tell("status", { room: this.room, state, text });
  }

  // show shows the newest lines of a room, or the line seq and what is around it. The divider "new"
  // stands behind the line unread.
  async show(room, { seq = 0, unread = -1 } = {}) {
    this.room = room;
    this.#unread = unread;
    this.#below = 0;
    this.#seen = 0;
    clearTimeout(this.#slow);
    this.#slow = setTimeout(() => this.#emptied(), 120); // the rows of the room before are no answer
    this.#rows.ends = this.#stuck = false;
    this.#queue = [];
    await this.#load(async () => {
      const answer = await this.#link.ask(room, seq ? `/before ${seq + page / 2} ${page}` : `/history ${page}`);
      const none = seq && !answer.lines.length;
      const shown = none ? await this.#link.ask(room, `/history ${page}`) : answer;
      return () => {
        clearTimeout(this.#slow);
        this.#replace(shown);
        if (none) this.#emit("missing", { room, seq });
        if (seq && !none) this.#target(this.#rows.at(seq), seq);
        else this.#toEnd();
      };
    });
  }

  // load runs one load at a time: f asks and returns what changes the rows, which is left out if
  // another room was shown meanwhile.
  async #load(f) {
    const number = this.#loading = ++this.#loads;
    if (!this.#rows.all.length) this.#status("loading");
    try {
      const change = await f();
      if (this.#loading !== number) return;
      this.#loading = 0;
      change();
      this.#status(this.#rows.all.length ? "ready" : "empty");
      this.#bars();
      this.#flush();
      this.#look();
    } catch (e) {
      if (!e.code) throw e;
      if (this.#loading !== number) return;
      this.#loading = 0;
      this.#bars();
      this.#status("error", e.text);
    }
  }

  // newest goes to the newest line.
  newest() {
    this.#unread = -1;
    this.#rows.mark(this.#unread);
    if (!this.#rows.ends) return this.show(this.room);
    this.#toEnd();
    this.#look();
  }

  lastOwn() {
    const own = (l) => l.type === "message" && l.from === this.#nick;
    return this.#rows.all.findLast((e) => own(e.line))?.line;
  }

  clear() {
    clearTimeout(this.#slow);
    this.room = "";
    this.#loading = 0;
    this.#clear();
  }

  get #nick() {
    return this.#link.as || this.#link.nick;
  }

  #clear() {
    this.#rows.clear();
    this.#bars();
  }

  #emptied() {
    this.#clear();
    this.#status("loading");
  }

  // replace replaces what is in the window by an answer.
  #replace({ ok, lines }) {
    const rows = this.#rows;
    const last = lines.at(-1)?.seq ?? 0;
    rows.clear();
    rows.ends = last >= (ok.newest || 0) || !lines.length;
    rows.begins = lines.length < page;
    rows.append(this.#weave(lines, lines[0]?.seq ?? 0, rows.ends ? Infinity : last - 1));
    rows.mark(this.#unread);
    this.#bars();
  }

  #weave(lines, from, to) {
    this.#queue = this.#queue.filter(({ line }) => line.seq); // the others are remembered
    return this.#rows.weave(this.room, lines, from, to);
  }

  // steady runs a change of the rows and puts the first row in sight back where it was.
  #steady(change) {
    if (this.#stuck && this.#scroller.scrollTop < this.#at.top - 2) this.#scrolled(); // in this very frame
    this.#anchor = this.#stuck ? null : this.#topRow();
    change();
    if (this.#stuck) this.#toEnd();
    else this.#hold(0);
    this.#anchor = this.#stuck ? null : this.#topRow();
  }

  // hold puts the anchor where it was, but for what the reader has scrolled since.
  #hold(scrolled) {
    const a = this.#anchor;
    if (a?.entry.row.isConnected) this.#shift(a.entry.row.getBoundingClientRect().bottom - a.bottom + scrolled);
  }

  #shift(by) {
    if (Math.abs(by) >= 0.5) this.#scroller.scrollBy({ top: by, behavior: "instant" });
  }

  // topRow is the first row in sight, and its place. Its lower edge counts: what stands above its
  // text changes with the row before it.
  #topRow() {
    const entry = this.#rows.inSight(this.#scroller.getBoundingClientRect().top);
    return entry && { entry, bottom: entry.row.getBoundingClientRect().bottom, scrolled: this.#scroller.scrollTop };
  }

  #toEnd() {
    const s = this.#scroller;
    this.#stuck = this.#rows.ends;
    this.#at = { height: s.scrollHeight, screen: s.clientHeight, top: s.scrollHeight - s.clientHeight };
    s.scrollTo({ top: s.scrollHeight, behavior: "instant" });
    if (this.#stuck) this.#below = 0;
  }

  #target(row, seq) {
    this.#stuck = false;
    const s = this.#scroller;
    const r = row.getBoundingClientRect();
    this.#shift(r.top - s.getBoundingClientRect().top - Math.max(0, (s.clientHeight - r.height) / 2));
    row.classList.add("target");
    setTimeout(() => row.classList.remove("target"), 3000);
    if (Number(row.dataset.seq) !== seq) this.#emit("missing", { room: this.room, seq });
  }

  // bars says what is beyond the window.
  #bars() {
    const some = this.#rows.all.length > 0;
    this.#older.hidden = !some;
    this.#older.classList.toggle("loading", some && !this.#rows.begins);
    this.#older.textContent = !this.#rows.begins ? "Earlier lines" : this.#rows.first > 1 ? "Earlier lines are no longer kept" : "The beginning of this room";
    this.#newer.hidden = !some || this.#rows.ends;
    this.#newer.classList.toggle("loading", !this.#newer.hidden);
    this.#newer.textContent = "Later lines";
  }

  // scrolled: what grew is no scroll of the reader, who stays at the end. One pixel upwards leaves it.
  #scrolled() {
    const { scrollTop: top, scrollHeight: height, clientHeight: screen } = this.#scroller;
    const was = this.#at;
    const below = height - top - screen;
    if (this.#stuck && (was.height !== height || was.screen !== screen)) return this.#toEnd();
    this.#at = { height, screen, top };
    this.#anchor = this.#topRow();
    this.#stuck = this.#rows.ends && (below <= 1 || (below <= near && top >= was.top));
    if (this.#stuck) this.#below = 0;
    this.#look();
  }

  // look loads what the reader comes near to, and tells what is in sight.
  #look() {
    const s = this.#scroller;
    const screen = s.clientHeight;
    this.#tell("bottom", { at: this.#stuck, below: this.#below });
    this.#tellSeen();
    if (this.#loading || !this.#rows.all.length || !this.#link.wants(this.room)) return;
    if (!this.#rows.begins && s.scrollTop < 1.5 * screen) this.#loadOlder();
    else if (!this.#rows.ends && s.scrollHeight - s.scrollTop - screen < 1.5 * screen) this.#loadNewer();
  }

  #tellSeen() {
    if (document.hidden || !this.#rows.all.length) return;
    let seq = this.#rows.last;
    if (!this.#stuck) {
      const end = this.#scroller.getBoundingClientRect().bottom;
      const seen = this.#rows.all.findLast((e) => e.line.seq && e.row.getBoundingClientRect().top < end);
      seq = seen?.line.seq ?? 0;
    }
    if (seq <= this.#seen) return;
    this.#seen = seq;
    this.#emit("seen", { room: this.room, seq });
  }

  #loadOlder() {
    return this.#load(async () => {
      const first = this.#rows.first;
      const { lines } = await this.#link.ask(this.room, `/before ${first} ${page}`);
      return () => this.#steady(() => {
        this.#rows.begins = lines.length < page;
        this.#rows.prepend(this.#weave(lines, lines[0]?.seq ?? first, first - 1));
        this.#rows.trim(false);
        this.#rows.mark(this.#unread);
      });
    });
  }

  // loadNewer asks for the lines behind the window. There is no request for that: it asks for what
  // is before a later seq, further on if there is a hole.
  #loadNewer() {
    return this.#load(async () => {
      const last = this.#rows.last;
      let answer;
      for (let step = page; ; step *= 4) {
        answer = await this.#link.ask(this.room, `/before ${last + step + 1} ${page + 1}`);
        if (answer.lines.some((l) => l.seq > last) || last + step >= answer.ok.newest) break;
      }
      while (answer.lines.length > page && answer.lines[0].seq > last + 1) { // it begins behind the hole's end
        const back = await this.#link.ask(this.room, `/before ${answer.lines[0].seq} ${page + 1}`);
        if (!back.lines.some((l) => l.seq > last)) break;
        answer = back;
      }
      const lines = answer.lines.filter((l) => l.seq > last);
      return () => this.#steady(() => {
        this.#rows.ends = (lines.at(-1)?.seq ?? last) >= answer.ok.newest;
        this.#rows.append(this.#weave(lines, last, this.#rows.ends ? Infinity : (lines.at(-1)?.seq ?? last) - 1));
        this.#rows.trim(true);
        this.#rows.mark(this.#unread);
      });
    });
  }

  // came takes a line of any room.
  #came({ room, line, live }) {
    if (!line.seq) this.#rows.remember(room, this.#link.entered(room)?.newest ?? 0, line);
    if (fold(room) !== fold(this.room)) return;
    this.#queue.push({ line, live });
    if (this.#frame) return;
    const flush = () => {
      this.#frame = 0;
      this.#flush();
    };
    this.#frame = document.hidden ? setTimeout(flush, 500) : requestAnimationFrame(flush);
  }

  // flush shows the lines that came since the last frame: all of them by one change.
  #flush() {
    if (!this.#queue.length) return;
    if (this.#loading && !this.#rows.ends) { // behind what is loading
      this.#queue = this.#queue.slice(-mostQueued);
      return;
    }
    const last = this.#rows.last;
    const came = this.#queue.filter(({ line }) => !line.seq || line.seq > last);
    this.#queue = [];
    if (!this.#stuck) this.#below += came.filter(({ line }) => line.seq).length;
    if (came.some(({ line, live }) => live && line.seq && line.from === this.#nick)) this.#unread = -1;
    if (this.#rows.ends && came.length) {
      const shown = came.slice(-mostAppended);
      this.#steady(() => {
        this.#rows.append(shown.map(({ line }) => line));
        // Who reads further up keeps the rows there; the end is then asked for again.
        if (this.#stuck) this.#rows.trim(true);
        else if (this.#rows.all.length > mostAppended) this.#rows.trim(false);
        this.#rows.mark(this.#unread);
      });
      this.#bars();
      this.#status("ready");
    }
    this.#say(came);
    this.#tell("bottom", { at: this.#stuck, below: this.#below });
    this.#tellSeen();
  }

  // say announces new lines, in sentences that a voice can keep up with.
  #say(came) {
    const v = this.#voice;
    for (const { line, live } of came) {
      const text = live && line.from !== this.#nick && this.#line.spoken(line);
      if (text) v.texts.push(text);
    }
    if (v.timer || !v.texts.length || document.hidden) return;
    const texts = v.texts.splice(0);
    this.#emit("announce", { text: texts.length > 3 ? `${count(texts.length)} new lines` : texts.join("\n") });
    v.timer = setTimeout(() => {
      v.timer = 0;
      this.#say([]);
    }, quietTime);
  }

  #resized() {
    if (this.#stuck) this.#toEnd();
    else if (this.#anchor) this.#hold(this.#scroller.scrollTop - this.#anchor.scrolled);
  }

  // turned: what comes while nobody looks stands below the divider.
  #turned() {
    if (document.hidden && this.#stuck) this.#unread = this.#rows.last;
    this.#voice.texts = [];
    if (!document.hidden) this.#look();
  }

  // cameBack asks for the newest lines before the catch-up, so that they are there at once.
  #cameBack() {
    if (!this.#rows.all.length || this.#loading || !this.#link.wants(this.room)) return;
    const last = this.#rows.last;
    this.#link.ask(this.room, `/history ${page}`).then((answer) => {
      const { lines, ok } = answer;
      if (last !== this.#rows.last || !lines.length || lines[0].seq <= last || ok.newest <= last) return; // the catch-up goes on where the window ends
      if (!this.#stuck) {
        this.#rows.ends = false;
        this.#bars();
        return;
      }
      if (this.#unread < 0) this.#unread = last;
      this.#replace(answer);
      this.#toEnd();
    }, () => {});
  }

  #entered({ room, other }) {
    if (!other) return;
    this.#rows.forget(room);
    if (fold(room) === fold(this.room)) this.show(this.room);
  }

  #renamed({ type, name, was }) {
    if (type === "renamed" && fold(was) === fold(this.room)) this.room = name;
  }

  // answered shows the answer of a command that was typed.
  #answered({ room, text, code, lines }) {
    const members = lines.filter((l) => l.type === "member").map((l) => l.nick);
    const said = members.length ? `${text}: ${members.join(", ")}` : text;
    if (said) this.#came({ room, live: true, line: { type: "notice", local: true, code, time: new Date().toISOString(), text: said } });
  }

  #offer(row) {
    if (row?.dataset.seq && this.copyButton.parentNode !== row) row.append(this.copyButton);
  }

  copyLink(row) {
    if (row?.dataset.seq) copy(new URL(roomHref(this.room, row.dataset.seq), document.baseURI).href);
  }

  // key: Enter goes from the log to its last line in sight, arrows from line to line, c copies the
  // link to it.
  #key(e) {
    if (e.altKey || e.ctrlKey || e.metaKey) return;
    const row = e.target.closest(".row");
    const focus = (r) => {
      if (!r) return;
      r.tabIndex = -1;
      r.focus({ preventScroll: true });
      r.scrollIntoView({ block: "nearest" });
    };
    if (e.target === this.#scroller && e.key === "Enter") {
      const end = this.#scroller.getBoundingClientRect().bottom;
      focus(this.#rows.all.findLast((x) => x.row.getBoundingClientRect().bottom <= end + 1)?.row);
    } else if (e.target === row && e.key === "ArrowUp") focus(row.previousElementSibling);
    else if (e.target === row && e.key === "ArrowDown") focus(row.nextElementSibling);
    else if (e.target === row && (e.key === "c" || e.key === "Enter")) this.copyLink(row);
    else if (e.target === row && e.key === "Escape") this.#scroller.focus();
    else return;
    e.preventDefault();
    e.stopPropagation();
  }
}
