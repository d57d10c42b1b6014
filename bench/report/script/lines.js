// Curves over time of all designs in one chart, named at their ends, with what
// happened meanwhile as marks.

const hidden = new Set();

function lines(figure, draw) {
  const t = drawing.timelines.find((x) => x.id === figure.dataset.id);
  const curves = result.series.filter((s) => s.id === t.series && s.name === t.name && s.points.length && !hidden.has(s.design))
    .map((s) => ({...s, ...style(s.design), points: s.points.map((p) => ({t: p.time / 1e9, v: p.value * t.scale.factor}))}));
  const all = curves.flatMap((s) => s.points);
  const marks = [...new Map(curves.flatMap((s) => s.marks || []).map((m) => [m.time + m.text, m])).values()].sort((a, b) => a.time - b.time);
  const slim = narrow();
  const total = width(figure);
  const right = slim ? 12 : 8 + labels(curves.map((s) => s.design), total);
  const rows = stagger(marks, d3.extent(all, (p) => p.t), total - right - 54);
  const above = 14 + 17 * (d3.max(rows, (m) => m.row + 1) || 0);
  const height = 300 + above;
  const top = d3.max(all, (p) => p.v) || 1;
  const svg = Plot.plot({
    width: total, height, marginTop: above, marginRight: right, marginLeft: 54, marginBottom: 38,
    style: {fontSize: "12px", background: "transparent", color: "var(--ink)"},
    x: {nice: false},
    y: {domain: [0, top * 1.04], label: null, grid: false},
    marks: [
      Plot.gridY({stroke: "var(--grid)", strokeOpacity: 1, ticks: 5}),
      Plot.axisX({label: "seconds", labelAnchor: "center", labelArrow: "none", ticks: slim ? 5 : 10, tickSize: 4}), Plot.axisY({label: null, ticks: 5, tickSize: 0}),
      Plot.ruleY([0], {stroke: "var(--muted)"}),
      Plot.ruleX(rows, {x: (m) => m.time / 1e9, stroke: "var(--bad)", strokeDasharray: "3 3", y1: 0, y2: top * 1.04}),
      ...curves.map((s) => Plot.line(s.points, {x: "t", y: "v", stroke: s.color, strokeWidth: 1.9, strokeDasharray: s.dash || "none"})),
    ],
  });
  picture(svg, `Line chart: ${t.title}, ${t.name} of ${curves.length} designs over time. ${marks.map((m) => `${m.text} at ${span(m.time)}`).join("; ")}. The table below sums it up.`);
  const x = svg.scale("x"), y = svg.scale("y");
  const s = d3.select(svg);
  own(s.selectAll("g[data-mark=line] path"), (d, i) => curves[i].design);
  for (const m of rows) {
    s.append("text").attr("class", "fault").attr("x", m.x + 54).attr("y", 11 + 17 * m.row).attr("text-anchor", m.anchor).attr("fill", "var(--bad)").text(m.text);
    s.append("path").attr("d", `M${x.apply(m.time / 1e9)},${15 + 17 * m.row}V${above}`).attr("stroke", "var(--bad)").attr("stroke-dasharray", "3 3");
  }
  if (!slim) names(s, curves, x, y, total - right, above, height - 38, right - 8);
  draw.replaceChildren(svg);
  if (!figure.querySelector(".toggles input")) toggles(figure, t);
}

// names writes each curve's name at its end; those that would lie upon each
// other are spread, with a leader to their curve. Curves that are one and the
// same have one name.
function names(svg, curves, x, y, edge, top, bottom, room) {
  if (!curves.length) return;
  const alike = [...d3.group(curves, (s) => JSON.stringify(s.points)).values()];
  const text = (same) => same.length === 1 ? same[0].design : same.length === curves.length ? `all ${same.length} alike` : `${same[0].design} +${same.length - 1}`;
  const labels = d3.sort(alike.map((same) => ({s: same[0], text: text(same), at: y.apply(same[0].points.at(-1).v), end: x.apply(same[0].points.at(-1).t)})), (l) => l.at);
  const step = Math.min(14, (bottom - top + 20) / labels.length);
  labels.forEach((l, i) => { l.y = Math.max(l.at, i ? labels[i - 1].y + step : top - 8); });
  for (let i = labels.length - 1, floor = bottom + 8; i >= 0; i--, floor -= step) labels[i].y = Math.min(labels[i].y, floor);
  const g = svg.selectAll(null).data(labels).enter().append("g").attr("fill", "none");
  g.append("path").attr("d", (l) => `M${l.end + 1},${l.at}L${edge + 12},${l.y}`).attr("stroke", (l) => l.s.color).attr("stroke-opacity", .6);
  own(g.append("text").attr("class", "curve-name").attr("x", edge + 15).attr("y", (l) => l.y).attr("dy", ".32em").attr("text-anchor", "start").attr("fill", (l) => l.s.color).attr("font-size", 11.5).text((l) => fit(l.text, room)), (l) => l.s.design);
}

// stagger puts the texts of marks in rows in which none lies upon another.
function stagger(marks, [from, to], room) {
  const ends = [];
  return marks.map((m) => {
    const at = to > from ? (m.time / 1e9 - from) / (to - from) * room : 0;
    const long = m.text.length * 6.7;
    const anchor = at + long > room + 40 ? "end" : "start";
    const start = anchor === "end" ? at - long : at;
    let row = ends.findIndex((end) => end < start - 8);
    if (row < 0) row = ends.length;
    ends[row] = start + long;
    return {...m, x: at, anchor, row};
  });
}

// toggles lets designs be hidden, in all charts over time at once.
function toggles(figure, t) {
  const box = figure.querySelector(".toggles");
  const designs = [...new Set(result.series.filter((s) => s.id === t.series && s.name === t.name).map((s) => s.design))];
  const show = (list, on) => {
    for (const d of list) hidden[on ? "delete" : "add"](d);
    for (const i of document.querySelectorAll(".toggles input")) i.checked = !hidden.has(i.value);
    for (const f of document.querySelectorAll("[data-chart=lines]")) lines(f, f.querySelector(".draw"));
  };
  for (const d of designs) {
    const input = element("input", {type: "checkbox", value: d});
    input.checked = !hidden.has(d);
    input.addEventListener("change", () => show([d], input.checked));
    const label = element("label", {}, input);
    const st = style(d);
    d3.select(label).append("svg").attr("viewBox", "0 0 24 8").attr("aria-hidden", true)
      .append("path").attr("d", "M0,4H24").attr("stroke", st.color).attr("stroke-width", 2.5).attr("stroke-dasharray", st.dash || null);
    label.append(d);
    box.append(label);
  }
  for (const [text, on] of [["all", true], ["none", false]]) {
    const b = element("button", {type: "button"}, text);
    b.addEventListener("click", () => show(designs, on));
    box.append(b);
  }
}
