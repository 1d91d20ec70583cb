// Charts over the last 15 minutes, drawn as SVG.
import { clock, el } from "./dom.js";

const longest = 15 * 60 * 1000;
const shortest = 60 * 1000;
const gap = 7000; // between two samples with this much time the server was away
const [width, height] = [300, 72];

const svg = (tag, props) => {
  const e = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(props)) e.setAttribute(name, value);
  return e;
};

// ceiling is the number at the top of a scale: 1, 2 or 5 times a power of ten.
function ceiling(most, least) {
  const step = 10 ** Math.floor(Math.log10(Math.max(most, least)));
  return [1, 2, 5, 10].map((n) => n * step).find((n) => n >= most - 1e-9) ?? most;
}

// Chart shows one number of the samples. of: {name, title, value(sample), text(number), least}.
export class Chart {
  #of;
  #samples = [];
  #period = shortest; // from the left to the right

  constructor(of) {
    this.#of = of;
    this.number = el("output", { class: "chart-number" }, "–");
    this.when = el("span", { class: "chart-when" });
    this.from = el("span");
    this.top = el("span", { class: "chart-top", "aria-hidden": "true" });
    this.area = svg("path", { class: "area" });
    this.line = svg("path", { class: "line" });
    this.mark = svg("line", { class: "mark", y1: 0, y2: height, x1: -9, x2: -9 });
    this.svg = svg("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", role: "img", "aria-label": of.title });
    this.svg.append(svg("line", { class: "grid", x1: 0, x2: width, y1: height / 2, y2: height / 2 }), this.area, this.line, this.mark);
    this.svg.addEventListener("pointermove", (e) => this.#point(e));
    this.svg.addEventListener("pointerleave", () => {
      this.mark.setAttribute("x1", -9);
      this.mark.setAttribute("x2", -9);
      this.draw(this.#samples);
    });
    this.element = el("figure", { class: "chart", "data-chart": of.name },
      el("figcaption", {}, el("span", { class: "chart-title" }, of.title), this.number, this.when),
      el("div", { class: "chart-box" }, this.svg, this.top), el("div", { class: "chart-axis", "aria-hidden": "true" }, this.from, el("span", {}, "now")));
  }

  // draw shows the samples, the newest at the right.
  draw(samples) {
    const { value, text, title, least = 1 } = this.#of;
    this.#samples = samples;
    const points = samples.map((s) => ({ t: s.t, v: value(s) })).filter((p) => p.v !== null && p.v !== undefined);
    if (points.length === 0) return;
    const now = samples.at(-1).t;
    const period = this.#period = Math.min(longest, Math.max(shortest, now - samples[0].t));
    this.from.textContent = `${Math.round(period / 60000)} min ago`;
    const most = Math.max(...points.map((p) => p.v));
    const top = ceiling(most, least);
    const x = (p) => (width * (1 - (now - p.t) / period)).toFixed(1);
    const y = (p) => (height - 1 - (height - 4) * p.v / top).toFixed(1);
    let line = "", area = "", from = null, before = null;
    const close = () => { if (before) area += `L${x(before)} ${height}L${x(from)} ${height}Z`; };
    for (const p of points) {
      if (!before || p.t - before.t > (this.#of.sparse ? 10 * gap : gap)) {
        close();
        from = p;
        line += `M${x(p)} ${y(p)}`;
        area += `M${x(p)} ${y(p)}`;
      } else {
        line += `L${x(p)} ${y(p)}`;
        area += `L${x(p)} ${y(p)}`;
      }
      before = p;
    }
    close();
    this.line.setAttribute("d", line);
    this.area.setAttribute("d", area);
    this.top.textContent = text(top);
    this.number.textContent = text(points.at(-1).v);
    this.when.textContent = "";
    this.svg.setAttribute("aria-label", `${title}: ${text(points.at(-1).v)} now, ${text(most)} at most in the last ${Math.round(period / 60000)} min`);
  }

  #point(e) {
    const box = this.svg.getBoundingClientRect();
    const now = this.#samples.at(-1)?.t;
    if (!now) return;
    const t = now - this.#period * (1 - (e.clientX - box.left) / box.width);
    const points = this.#samples.filter((s) => this.#of.value(s) !== null);
    const near = points.reduce((a, b) => (Math.abs(b.t - t) < Math.abs(a.t - t) ? b : a), points[0]);
    if (!near) return;
    const x = width * (1 - (now - near.t) / this.#period);
    this.mark.setAttribute("x1", x);
    this.mark.setAttribute("x2", x);
    this.number.textContent = this.#of.text(this.#of.value(near));
    this.when.textContent = clock(new Date(near.t));
  }
}
