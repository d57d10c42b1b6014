// How far the emulator is from theory: a dot for each figure of each design.

function errors(figure, draw) {
  const list = result.calibration.map((c) => ({...c, title: c.title.charAt(0).toUpperCase() + c.title.slice(1), percent: c.error * 100}));
  const wrong = list.filter((c) => !c.agrees);
  const titles = [...new Set(list.map((c) => c.title))];
  const bounds = titles.map((t) => ({title: t, bound: d3.max(list.filter((c) => c.title === t), (c) => c.bound) * 100}));
  const slim = narrow();
  const total = width(figure);
  const far = Math.max(d3.max(list, (c) => Math.abs(c.percent)), d3.max(bounds, (b) => b.bound)) * 1.1 || 1;
  const left = slim ? 6 : labels(titles, total);
  const svg = Plot.plot({
    width: total, height: titles.length * (slim ? 52 : 36) + 48, marginLeft: left, marginRight: slim ? 10 : 24, marginTop: 6, marginBottom: 42,
    style: {fontSize: "12.5px", background: "transparent", color: "var(--ink)"},
    x: {domain: [-far, far], label: "error, %", labelAnchor: "center", labelArrow: "none", ticks: slim ? 5 : 9, tickFormat: (v) => v ? d3.format("+~r")(v) : "0"},
    y: {axis: null, domain: titles, padding: .25},
    marks: [
      slim ? Plot.text(titles, {x: -far, y: (t) => t, text: (t) => t, textAnchor: "start", dy: -19}) : Plot.axisY({tickSize: 0, label: null, tickFormat: (t) => fit(t, left)}),
      Plot.barX(bounds, {x1: (b) => -b.bound, x2: "bound", y: "title", fill: "var(--payload)", insetTop: slim ? 10 : 0}),
      Plot.ruleX([0], {stroke: "var(--muted)"}),
      Plot.dot(list.filter((c) => c.agrees), {x: "percent", y: "title", r: 5, fill: "var(--pod)", fillOpacity: .55, stroke: "var(--bg)", dy: slim ? 5 : 0}),
      Plot.dot(wrong, {x: "percent", y: "title", r: 6, symbol: "times", stroke: "var(--bad)", strokeWidth: 2.5, dy: slim ? 5 : 0}),
      // Names grow towards the middle; when there are many, the list below has them.
      ...[[1, "end"], [-1, "start"]].map(([sign, textAnchor]) => Plot.text(wrong.length > 6 ? [] : wrong.filter((c) => Math.sign(c.percent) === sign),
        {x: "percent", y: "title", text: "design", fill: "var(--bad)", dx: -12 * sign, dy: slim ? 5 : 0, textAnchor})),
    ],
  });
  picture(svg, `Dot plot: error of ${list.length} figures against theory, ${wrong.length} of them out of bounds. All are in the table below.`);
  draw.replaceChildren(svg);
}
