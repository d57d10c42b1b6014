// What all parts of the page share: the result, the picked design, the theme.

const $ = (id) => document.getElementById(id);
const result = JSON.parse($("result").textContent);
const drawing = JSON.parse($("drawing").textContent);
for (const list of ["designs", "series", "calibration"]) result[list] ??= [];
const root = document.documentElement;
const narrow = () => window.innerWidth < 640;
const still = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

// Curves are told apart by colour and dashes: eight of one times four of the
// other, more than there are designs. Names stand beside them all the same.
const dashes = ["", "7 3", "2 3", "9 3 2 3"];
const style = (design) => {
  const i = drawing.designs.indexOf(design);
  return {color: `var(--c${i % 8})`, dash: dashes[Math.floor(i / 8) % 4]};
};

const numeral = (decimals) => d3.format(`,.${decimals}f`);
const textOf = (scale, v) => numeral(scale.decimals)(v * scale.factor) + (scale.suffix ? "\u00a0" + scale.suffix : "");

// span writes nanoseconds.
function span(ns) {
  for (const [unit, size] of [["s", 1e9], ["ms", 1e6], ["µs", 1e3]]) {
    if (ns >= size) return `${d3.format(",.6~r")(ns / size)}\u00a0${unit}`;
  }
  return `${ns}\u00a0ns`;
}

// element makes an HTML element with text: what comes from the result never
// becomes markup.
function element(name, attributes = {}, ...content) {
  const e = document.createElement(name);
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
  e.append(...content);
  return e;
}

// width is what there is for a chart, also where it is folded away.
function width(figure) {
  const main = $("main").getBoundingClientRect().width;
  const inner = main - (narrow() ? 32 : 48);
  const beside = figure.classList.contains("wide") || window.innerWidth <= 1000 ? 0 : 344; // the explanation
  return Math.max(Math.floor(inner - beside), 260);
}

// labels is how much room the names at the left of a chart get, and name what fits.
const labels = (names, total) => Math.min(14 + (d3.max(names, (n) => n.length) || 0) * 7.1, total * .36);
const fit = (name, room) => shorten(name, Math.floor((room - 14) / 7) + 1);
function shorten(text, letters) {
  return text.length <= letters ? text : text.slice(0, Math.max(letters - 1, 6)) + "…";
}

// pick marks one design wherever it occurs; "" marks none.
let picked = "";
function pick(design) {
  picked = design;
  root.classList.toggle("picked", design !== "");
  for (const e of document.querySelectorAll("[data-design]")) e.classList.toggle("on", e.dataset.design === design);
  for (const b of document.querySelectorAll("[data-pick]")) b.setAttribute("aria-pressed", b.dataset.pick === design);
  $("highlight").value = design;
}

// picture makes a chart one picture to screen readers, with a text. What Plot
// calls its groups of marks, for them, becomes data-mark, for us.
function picture(svg, text) {
  for (const e of svg.querySelectorAll("[aria-label]")) {
    e.dataset.mark = e.getAttribute("aria-label");
    e.removeAttribute("aria-label");
  }
  for (const e of svg.querySelectorAll("[aria-description]")) e.removeAttribute("aria-description");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", text);
}

// own says which design marks belong to, so that they can be picked, by pointer too.
function own(selection, design) {
  selection.each(function (d, i) {
    const name = design(d, i);
    this.dataset.design = name;
    this.classList.toggle("on", name === picked);
    this.style.cursor = "pointer";
    this.addEventListener("click", () => pick(picked === name ? "" : name));
  });
}

// walkable makes marks one stop of the Tab key, with arrow keys between them.
// rows is an array of arrays of elements; tell is called with what has focus.
function walkable(rows, tell) {
  const all = rows.flat();
  const go = (e) => {
    for (const o of all) o.setAttribute("tabindex", o === e ? 0 : -1);
    e.focus();
  };
  rows.forEach((row, y) => row.forEach((e, x) => {
    e.setAttribute("tabindex", -1);
    e.addEventListener("focus", () => tell(e));
    e.addEventListener("pointerenter", () => tell(e));
    e.addEventListener("click", () => go(e));
    e.addEventListener("keydown", (event) => {
      const line = (n) => rows[n] && rows[n][Math.min(x, rows[n].length - 1)];
      const to = {ArrowLeft: row[x - 1], ArrowRight: row[x + 1], ArrowUp: line(y - 1), ArrowDown: line(y + 1), Home: row[0], End: row[row.length - 1]}[event.key];
      if (!to) return;
      event.preventDefault();
      go(to);
    });
  }));
  if (all.length) all[0].setAttribute("tabindex", 0);
}

function theme() {
  const names = {"": ["Auto", "are as the system has them"], light: ["Light", "are light"], dark: ["Dark", "are dark"]};
  const set = (t) => {
    if (t) root.dataset.theme = t; else delete root.dataset.theme;
    $("theme").textContent = names[t][0];
    $("theme").setAttribute("aria-label", `${names[t][0]}: colours ${names[t][1]}`);
  };
  let now = "";
  try { now = localStorage.getItem("podwire-theme") || ""; } catch { /* a page from a file may have no storage */ }
  set(now in names ? now : "");
  $("theme").addEventListener("click", () => {
    const order = ["", "light", "dark"];
    const next = order[(order.indexOf(root.dataset.theme || "") + 1) % 3];
    set(next);
    try { localStorage.setItem("podwire-theme", next); } catch { /* it lasts as long as the page, then */ }
  });
}

// sorting lets the headings of the overview sort it.
function sorting() {
  const table = $("overview-table");
  if (!table) return;
  const body = table.tBodies[0];
  table.tHead.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    const th = button.closest("th");
    const down = th.getAttribute("aria-sort") === "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    th.setAttribute("aria-sort", down ? "descending" : "ascending");
    const by = button.dataset.sort;
    const key = (tr) => {
      if (by === "name") return tr.dataset.design;
      const v = tr.cells[Number(by) + 1].dataset.value;
      return v === "" ? Infinity : Number(v);
    };
    const rows = d3.sort([...body.rows], (a, b) => (down ? d3.descending : d3.ascending)(key(a), key(b)) || a.dataset.order - b.dataset.order);
    body.append(...rows);
  });
}

// contents marks the section that is being read in the list of sections.
function contents() {
  const links = new Map([...document.querySelectorAll("nav a")].map((a) => [a.hash.slice(1), a]));
  const seen = new IntersectionObserver((entries) => {
    for (const e of entries) {
      if (!e.isIntersecting) continue;
      for (const a of links.values()) a.removeAttribute("aria-current");
      links.get(e.target.id)?.setAttribute("aria-current", "true");
    }
  }, {rootMargin: "-20% 0px -70% 0px"});
  for (const id of links.keys()) if ($(id)) seen.observe($(id));
}

// download hands the result out as the file it was made from.
function download() {
  const blob = new Blob([JSON.stringify(result, null, 2) + "\n"], {type: "application/json"});
  $("download").href = URL.createObjectURL(blob);
}
