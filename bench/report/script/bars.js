// A bar chart for each measure: bars from zero, the value and its distance from
// the best beside each, the range over seeds as a whisker.

function bars(figure, draw) {
  const c = drawing.bars.find((b) => b.id === figure.dataset.id);
  const slim = narrow();
  const f = c.scale.factor;
  const rows = c.bars.map((b) => ({
    ...b, v: b.value === null ? null : b.value * f,
    lo: b.min === undefined ? null : b.min * f, hi: b.max === undefined ? null : b.max * f,
  }));
  const valued = rows.filter((b) => b.v !== null);
  const spread = rows.filter((b) => b.lo !== null);
  const total = width(figure);
  const left = slim ? 0 : labels(rows.map((b) => b.design), total);
  const right = slim ? 64 : 74;
  const top = d3.max(valued, (b) => Math.max(b.v, b.hi ?? b.v)) || 1;
  const low = Math.min(0, d3.min(valued, (b) => b.v) ?? 0);
  const longest = d3.max(rows, (b) => b.text.length) || 0;
  const inside = total - left - right - 20 - longest * 7; // where bars end and their numbers begin
  const end = (b) => Math.max(b.v, b.hi ?? b.v);
  const svg = Plot.plot({
    width: total, height: rows.length * (slim ? 36 : 21) + 6,
    marginLeft: left, marginRight: right, marginTop: 2, marginBottom: 4,
    style: {fontSize: "12.5px", background: "transparent", color: "var(--ink)"},
    x: {axis: null, domain: [low, low + (top - low) * (total - left - right) / inside]},
    y: {axis: null, domain: rows.map((b) => b.design), padding: slim ? .1 : .3},
    marks: [
      slim ? null : Plot.axisY({tickSize: 0, label: null, fontSize: 12.5, tickFormat: (d) => fit(d, left)}),
      Plot.barX(valued, {x1: 0, x2: "v", y: "design", fill: (b) => b.best ? "var(--best)" : "var(--bar)", insetTop: slim ? 19 : 0, insetBottom: slim ? 4 : 0}),
      Plot.ruleX([0], {stroke: "var(--ink)"}),
      slim ? Plot.text(rows, {x: low, y: "design", text: (b) => shorten(b.design, total / 7), textAnchor: "start", dy: -10, fontSize: 12.5, dx: 2}) : null,
      Plot.ruleY(spread, {x1: "lo", x2: "hi", y: "design", stroke: "var(--ink)", strokeWidth: 1.5, dy: slim ? 8 : 0}),
      Plot.tickX(spread, {x: "lo", y: "design", stroke: "var(--ink)", insetTop: slim ? 22 : 4, insetBottom: slim ? 7 : 4}),
      Plot.tickX(spread, {x: "hi", y: "design", stroke: "var(--ink)", insetTop: slim ? 22 : 4, insetBottom: slim ? 7 : 4}),
      Plot.text(valued, {x: end, y: "design", text: "text", textAnchor: "start", dx: 6, dy: slim ? 8 : 0, fontWeight: (b) => b.best ? 700 : 400, fill: "var(--ink)"}),
      Plot.text(rows.filter((b) => b.v === null), {x: 0, y: "design", text: (b) => shorten(b.note || "none", inside / 6), textAnchor: "start", dx: 6, dy: slim ? 8 : 0, fill: "var(--muted)", fontStyle: "italic"}),
      Plot.text(valued, {y: "design", text: "diff", frameAnchor: "right", textAnchor: "end", dx: right - 2, dy: slim ? 8 : 0, fill: "var(--muted)", fontWeight: (b) => b.best ? 700 : 400}),
    ],
  });
  picture(svg, `Bar chart: ${c.title}. ${valued.length ? `First is ${valued[0].design} with ${valued[0].text}, last ${valued.at(-1).design} with ${valued.at(-1).text}. ` : ""}All values are in the table below.`);
  own(d3.select(svg).selectAll("g[data-mark=bar] rect"), (i) => valued[i].design);
  own(d3.select(svg).selectAll("g[data-mark='y-axis tick label'] text"), (d, i) => rows[i].design);
  draw.replaceChildren(svg);
}
