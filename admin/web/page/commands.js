// Every command of the server: a form for each, made from its table, and the line of the console.
import { button, el, fill, sentence } from "./dom.js";
import { ask, live, quote, request, run, values } from "./server.js";
import { value } from "./values.js";
import { event } from "./views.js";

// hidden are flags that the page sets by itself.
const hidden = ["--json", "--yes", "--token", "--relative"];

let table = null;

export function commands(content, name) {
  let end = () => {};
  const index = el("nav", { class: "index", "aria-label": "Commands" });
  const one = el("div", { class: "command" });
  content.append(el("div", { class: "split" }, index, one));
  (async () => {
    try {
      table ??= (await ask("help")).filter((c) => !c.console);
    } catch (e) {
      fill(one, el("p", { class: "error" }, sentence(e.message)));
      return;
    }
    const groups = Map.groupBy(table, (c) => c.group);
    fill(index, [...groups].map(([group, all]) => [el("h2", {}, group), el("ul", {}, all.map((c) => el("li", {},
      el("a", { href: `#/commands/${c.name}`, title: c.does, "aria-current": c.name === name && "page", class: c.changes && "change" }, c.name))))]));
    const c = table.find((c) => c.name === name);
    end = c ? formOf(one, c) : lineOf(one);
  })();
  return () => end();
}

// lineOf is the prompt of the console.
function lineOf(box) {
  const out = outcome();
  const input = el("input", { class: "field fixed", "aria-label": "Command line", placeholder: "rooms --sort members", spellcheck: "false", autocomplete: "off", list: "words" });
  const words = el("datalist", { id: "words" });
  complete(input, words, (typed) => [typed, typed.slice(0, typed.lastIndexOf(" ") + 1)]);
  box.append(el("h2", {}, "Command line"), el("p", { class: "soft" }, "Type a line as in the console, or choose a command for its form."),
    el("form", { class: "prompt", submit: (e) => { e.preventDefault(); out.run(input.value); } }, el("span", { "aria-hidden": "true", class: "fixed" }, "roomd>"), input, words, el("button", { class: "button primary", type: "submit" }, "Run")), out.element);
  input.focus();
  return out.end;
}

// complete offers the words that can end what was typed. of returns the line so far, and what stands
// before the word.
function complete(input, list, of) {
  let timer = 0;
  const offer = async () => {
    const [line, before] = of(input.value);
    const a = await request(quote(["complete", line]));
    if (a.verdict === "OK") fill(list, a.lines.slice(0, 100).map((w) => el("option", { value: before + w })));
  };
  const later = () => {
    clearTimeout(timer);
    timer = setTimeout(offer, 150);
  };
  input.addEventListener("input", later);
  input.addEventListener("focus", later);
}

// formOf is the form of a command.
function formOf(box, c) {
  const out = outcome();
  const fields = [];
  const preview = el("output", { class: "fixed preview" });
  const words = () => {
    const flags = fields.flatMap((f) => f.flag?.() ?? []);
    const args = fields.flatMap((f) => f.arg?.() ?? []);
    return [c.name, ...flags, ...(args.some((a) => a.startsWith("-")) ? ["--"] : []), ...args];
  };
  const show = () => { preview.textContent = quote(words()); };
  const before = (at) => quote([c.name, ...fields.slice(0, at).flatMap((f) => f.arg?.() ?? [])]);
  c.args.forEach((p, at) => {
    const kinds = p.name.split("|");
    const id = `arg-${at}`;
    const choice = kinds.every((k) => k === k.toLowerCase());
    const list = el("datalist", { id: `${id}-words` });
    const input = choice
      ? el("select", { class: "field", id, change: show }, p.optional && el("option", { value: "" }, "–"), kinds.map((k) => el("option", {}, k)))
      : el("input", { class: "field", id, required: !p.optional, dir: "auto", spellcheck: "false", autocomplete: "off", list: `${id}-words`, input: show });
    if (!choice && !["TEXT", "FILE", "BINARY", "LINE"].includes(p.name)) complete(input, list, (typed) => [`${before(at)} ${typed}`, ""]);
    fields.push({
      // Text is one word; a command that takes several words of another kind gets them apart.
      arg: () => (input.value === "" ? [] : p.several && p.name !== "TEXT" ? input.value.trim().split(/\s+/) : [input.value]),
      element: el("label", {}, el("span", {}, p.name.replaceAll("|", ", "), p.optional && el("span", { class: "hint" }, " (optional)")), input, list),
    });
  });
  for (const [at, f] of c.flags.entries()) {
    if (hidden.includes(f.name)) continue;
    const id = `flag-${at}`;
    const input = f.value
      ? el("input", { class: "field", id, placeholder: f.default, dir: "auto", spellcheck: "false", autocomplete: "off", input: show })
      : el("input", { type: "checkbox", id, change: show });
    if (/ROOM|USER|KEY/.test(f.value ?? "")) {
      const list = el("datalist", { id: `${id}-words` });
      input.setAttribute("list", list.id);
      complete(input, list, (typed) => [`${c.name} ${f.name} ${typed}`, ""]);
      box.append(list);
    }
    const label = [el("span", { class: "fixed" }, f.flag), " ", el("span", { class: "hint" }, f.does)];
    fields.push(f.value
      ? { flag: () => (input.value === "" ? [] : [f.name, input.value]), element: el("label", {}, el("span", {}, label), input) }
      : { flag: () => (input.checked ? [f.name] : []), element: el("label", { class: "check" }, input, el("span", {}, label)) });
  }
  show();
  box.append(el("h2", { class: "fixed" }, c.command), el("p", {}, sentence(c.does), " ", c.about && el("span", { class: "about" }, c.about)),
    el("form", { class: "form wide", submit: (e) => { e.preventDefault(); out.run(quote(words())); } }, fields.map((f) => f.element),
      el("div", { class: "prompt" }, el("button", { class: `button ${c.changes ? "danger" : "primary"}`, type: "submit", disabled: c.changes && live.hello.read_only }, c.stream ? "Watch" : "Run"), preview)),
    el("p", { class: "soft" }, "Example: ", el("code", {}, c.example)), out.element);
  return out.end;
}

// outcome shows the answer to a line: its values, or their JSON.
function outcome() {
  const verdict = el("p", { role: "status" });
  const shown = el("div", {});
  const raw = button("JSON", () => {
    raw.setAttribute("aria-pressed", String(raw.getAttribute("aria-pressed") !== "true"));
    draw();
  }, "tab", { "aria-pressed": "false", hidden: true });
  const element = el("section", { class: "outcome", "aria-label": "Answer" }, el("div", { class: "bar" }, verdict, raw), shown);
  let got = [];
  let source = null;
  const say = (text, failed) => {
    verdict.textContent = text;
    verdict.className = failed ? "error" : "soft";
  };
  const draw = () => {
    if (raw.getAttribute("aria-pressed") === "true") fill(shown, el("pre", { tabindex: "0" }, got.map((v) => JSON.stringify(v, null, 2)).join("\n")));
    else fill(shown, got.map(value));
  };
  const end = () => {
    source?.close();
    source = null;
  };
  const follow = (line) => {
    const most = 300;
    got = [];
    say("Running until you leave.", false);
    raw.hidden = true;
    const box = el("div", { class: "flow", role: "log", "aria-label": "Stream", tabindex: "0" });
    fill(shown, el("div", { class: "bar" }, button("End", () => {
      end();
      say("Ended.", false);
    })), box);
    source = new EventSource(`watch?line=${encodeURIComponent(`--json ${line}`)}`);
    source.onerror = () => {
      if (source?.readyState === EventSource.CLOSED) say("The stream was refused, or has ended.", true);
      end();
    };
    source.onmessage = (e) => {
      const m = JSON.parse(e.data);
      if (m.verdict) {
        end();
        say(m.verdict === "OK" ? "Ended." : sentence(m.text), m.verdict !== "OK");
        return;
      }
      if (m.note) {
        box.append(el("p", { class: "line soft" }, sentence(m.note)));
        return;
      }
      const v = values([m.line])[0];
      if ("value" in v) fill(box, value(v.value)); // a frame of a table
      else box.append(v.type ? event(v) : el("p", { class: "line fixed", dir: "auto" }, v.text ?? m.line));
      while (box.childElementCount > most) box.firstElementChild.remove();
      box.scrollTop = box.scrollHeight;
    };
  };
  return {
    element, end,
    async run(line) {
      end();
      fill(shown);
      if (!line.trim()) return;
      say("Running …", false);
      const a = await run(`--json ${line}`);
      if (!a) {
        say("Nothing was done.", true);
        return;
      }
      if (a.code === "stream") {
        follow(line);
        return;
      }
      got = values(a.lines);
      raw.hidden = got.length === 0;
      say(a.verdict === "OK" ? "Done." : sentence(a.text), a.verdict !== "OK");
      draw();
    },
  };
}
