// One packet and its answer at every point that captures see, as a line with
// stops. Above each stop stands the frame, as tall as it has bytes.

const walk = {design: "", at: 0, hops: [], timer: 0};

const place = (h) => h.machine ? `${h.machine}/${h.device}` : h.device;
const heading = (h) => ({request: "Request", answer: "Answer"})[h.of] || h.of;

function path(figure, draw) {
  const designs = result.designs.filter((d) => (d.path || []).length);
  if (!designs.length) {
    draw.replaceChildren(element("p", {class: "tell"}, "No packet was followed."));
    return;
  }
  if (!walk.design) {
    walk.design = designs[0].name;
    walkControls(designs);
  }
  const path = designs.find((d) => d.name === walk.design).path;
  walk.hops = path.filter((h) => h.of !== "arp");
  walk.at = Math.min(walk.at, walk.hops.length - 1);
  const stops = columns(walk.hops);
  const svg = narrow() ? downwards(stops, width(figure)) : across(stops, width(figure));
  svg.attr("role", "group").attr("aria-label", `The way of one packet under ${walk.design}, ${walk.hops.length} points. Arrow keys move along it.`);
  draw.replaceChildren(svg.node());
  wire(svg);
  list(path);
  show(walk.at, false);
}

// columns gives every point that the packet passes a place along the line, in the
// order of the request; points that only the answer passes go where it passes them.
function columns(hops) {
  const line = [];
  const key = (h) => place(h);
  for (const h of hops.filter((h) => h.of !== "answer")) if (!line.some((c) => c.key === key(h))) line.push({key: key(h), machine: h.machine || "", device: h.device});
  let last = line.length;
  for (const h of hops.filter((h) => h.of === "answer")) {
    const at = line.findIndex((c) => c.key === key(h));
    if (at >= 0) last = at;
    else line.splice(last, 0, {key: key(h), machine: h.machine || "", device: h.device});
  }
  return line;
}

// bands are runs of points on one machine.
function bands(line) {
  const list = [];
  line.forEach((c, i) => {
    const b = list.at(-1);
    if (b && b.machine === c.machine) b.to = i;
    else list.push({machine: c.machine, from: i, to: i});
  });
  return list;
}

// across draws it from left to right: the request above, the answer below.
function across(line, total) {
  const hops = walk.hops, step = total / line.length, grow = 62 / d3.max(hops, (h) => h.bytes);
  const rows = {request: 124, answer: 230}, height = 318;
  const svg = d3.create("svg").attr("viewBox", [0, 0, total, height]).attr("width", total).attr("height", height);
  for (const b of bands(line)) {
    const x = b.from * step + 3, w = (b.to - b.from + 1) * step - 6;
    svg.append("rect").attr("x", x).attr("y", 0).attr("width", w).attr("height", height).attr("rx", 6).attr("fill", "var(--panel)");
    svg.append("text").attr("x", x + 10).attr("y", 21).attr("font-size", 13).attr("font-weight", 700).attr("fill", "var(--ink)").text(shorten(b.machine || "wire", w / 8));
  }
  line.forEach((c, i) => {
    svg.append("text").attr("x", (i + .5) * step).attr("y", 181).attr("text-anchor", "middle").attr("font-size", 12).attr("fill", "var(--ink)").text(shorten(c.device, step / 6.6));
  });
  const at = (h) => [(line.findIndex((c) => c.key === place(h)) + .5) * step, h.of === "answer" ? rows.answer : rows.request];
  route(svg, hops.map(at), (a, b) => a[1] === b[1] ? `L${b}` : `C${a[0] + step * .62},${a[1]} ${b[0] + step * .62},${b[1]} ${b}`);
  const base = baseline(hops);
  hops.forEach((h, i) => {
    const [x, y] = at(h), below = h.of === "answer";
    const g = stop(svg, h, i, x, y);
    const inner = Math.min(h.bytes, base) * grow, outer = Math.max(h.bytes - base, 0) * grow;
    const from = below ? y + 13 : y - 13 - inner;
    frame(g, x - 15, from, 30, inner, "var(--pod)");
    if (outer > 0) frame(g, x - 15, below ? y + 13 + inner : from - outer, 30, outer, "var(--tunnel)");
  });
  return svg;
}

// downwards draws it from top to bottom: the request left, the answer right.
function downwards(line, total) {
  const hops = walk.hops, step = 44, cols = {request: total * .24, answer: total * .76};
  const grow = total * .15 / d3.max(hops, (h) => h.bytes), base = baseline(hops);
  const tops = [];
  let y = 6;
  line.forEach((c, i) => {
    if (!i || line[i - 1].machine !== c.machine) y += 28;
    tops.push(y + step / 2);
    y += step;
  });
  const height = y + 8;
  const svg = d3.create("svg").attr("viewBox", [0, 0, total, height]).attr("width", total).attr("height", height);
  for (const b of bands(line)) {
    const top = tops[b.from] - step / 2 - 24;
    svg.append("rect").attr("x", 0).attr("y", top).attr("width", total).attr("height", tops[b.to] + step / 2 - top - 4).attr("rx", 6).attr("fill", "var(--panel)");
    svg.append("text").attr("x", 10).attr("y", top + 18).attr("font-size", 13).attr("font-weight", 700).attr("fill", "var(--ink)").text(b.machine || "wire");
  }
  line.forEach((c, i) => svg.append("text").attr("x", total / 2).attr("y", tops[i]).attr("dy", ".34em").attr("text-anchor", "middle").attr("font-size", 12).attr("fill", "var(--ink)").text(shorten(c.device, total * .4 / 6.8)));
  const at = (h) => [h.of === "answer" ? cols.answer : cols.request, tops[line.findIndex((c) => c.key === place(h))]];
  route(svg, hops.map(at), (a, b) => a[0] === b[0] ? `L${b}` : `C${a[0]},${a[1] + step * .6} ${b[0]},${b[1] + step * .6} ${b}`);
  hops.forEach((h, i) => {
    const [x, yy] = at(h), right = h.of === "answer";
    const g = stop(svg, h, i, x, yy);
    const inner = Math.min(h.bytes, base) * grow, outer = Math.max(h.bytes - base, 0) * grow;
    frame(g, right ? x + 13 : x - 13 - inner, yy - 9, inner, 18, "var(--pod)");
    if (outer > 0) frame(g, right ? x + 13 + inner : x - 13 - inner - outer, yy - 9, outer, 18, "var(--tunnel)");
  });
  return svg;
}

// baseline is the size of the pod's own frame: more than that is the design's.
const baseline = (hops) => hops[0].bytes;

function route(svg, points, curve) {
  let d = "";
  points.forEach((p, i) => { d += i ? curve(points[i - 1], p) : `M${p}`; });
  svg.append("path").attr("d", d).attr("fill", "none").attr("stroke", "var(--muted)").attr("stroke-width", 3);
}

function frame(g, x, y, w, h, fill) {
  g.append("rect").attr("x", x).attr("y", y).attr("width", w).attr("height", h).attr("fill", fill).attr("stroke", "var(--panel)").attr("stroke-width", .5);
}

// stop draws a point of the way. The circle comes first: it shows the focus.
function stop(svg, h, i, x, y) {
  const g = svg.append("g").attr("class", "stop").attr("role", "button").attr("aria-label", `${heading(h)}, point ${i + 1} of ${walk.hops.length}: ${place(h)}, ${h.bytes} bytes${h.drop ? `, dropped: ${h.drop}` : ""}`);
  g.style("cursor", "pointer");
  g.append("circle").attr("cx", x).attr("cy", y).attr("r", 8).attr("fill", h.drop ? "var(--bad)" : "var(--bg)").attr("stroke", h.drop ? "var(--bad)" : "var(--ink)").attr("stroke-width", 2.5);
  if (h.drop) g.append("path").attr("d", `M${x - 4},${y - 4}l8,8m0,-8l-8,8`).attr("stroke", "var(--bg)").attr("stroke-width", 2.5);
  g.append("rect").attr("x", x - 24).attr("y", y - 14).attr("width", 48).attr("height", 28).attr("fill", "transparent");
  return g;
}

// wire lets keys and pointer move along the way.
function wire(svg) {
  const nodes = svg.selectAll(".stop").nodes();
  nodes.forEach((e, i) => {
    e.addEventListener("click", () => { play(false); show(i, true); });
    e.addEventListener("keydown", (event) => {
      const to = {ArrowRight: i + 1, ArrowDown: i + 1, ArrowLeft: i - 1, ArrowUp: i - 1, Home: 0, End: nodes.length - 1, Enter: i, " ": i}[event.key];
      if (to === undefined) return;
      event.preventDefault();
      play(false);
      show(Math.max(0, Math.min(to, nodes.length - 1)), true);
    });
  });
}

// show tells about one point.
function show(i, focus) {
  walk.at = i;
  const nodes = document.querySelectorAll("#walk .stop");
  nodes.forEach((e, n) => {
    e.setAttribute("tabindex", n === i ? 0 : -1);
    if (n === i) e.setAttribute("aria-current", "step"); else e.removeAttribute("aria-current");
    const dot = e.querySelector("circle");
    dot.setAttribute("r", n === i ? 11 : 8);
    if (!walk.hops[n].drop) dot.setAttribute("fill", n === i ? "var(--tunnel)" : "var(--bg)");
  });
  if (focus) nodes[i].focus();
  const h = walk.hops[i];
  const facts = element("ul", {});
  for (const f of facts_(h)) facts.append(element("li", {}, f));
  const parts = [element("b", {}, `${heading(h)} ${i + 1}/${walk.hops.length}: ${place(h)}`), facts];
  const changes = changed(walk.hops[i - 1], h);
  if (changes) parts.push(element("p", {class: "change"}, changes));
  parts.push(element("code", {}, h.packet));
  $("walk-hop").replaceChildren(...parts);
  $("walk-back").disabled = i === 0;
  $("walk-next").disabled = i === walk.hops.length - 1;
}

function facts_(h) {
  const list = [`at ${span(h.time)}`, `${h.bytes} bytes`];
  if (h.direction) list.push(h.direction === "in" ? "coming in" : "going out");
  if (h.ttl && h.ttl.length) list.push(`TTL ${h.ttl.join(" around ")}`);
  return list;
}

// changed says what is not as it was at the point before.
function changed(before, h) {
  const list = [];
  if (before && before.of === h.of) {
    const more = h.bytes - before.bytes;
    if (more) list.push(more > 0 ? `${more} bytes more` : `${-more} bytes less`);
    const ttl = (x) => x.ttl && x.ttl.length ? x.ttl.at(-1) : 0;
    if (ttl(before) && ttl(h) && ttl(h) < ttl(before) && h.ttl.length <= before.ttl.length + 1) list.push(`TTL ${ttl(before)} → ${ttl(h)}`);
    if (h.time > before.time) list.push(`${span(h.time - before.time)} later`);
  }
  if (h.note) list.push(h.note);
  if (h.drop) list.push(`dropped: ${h.drop}`);
  return list.join(" · ");
}

function walkControls(designs) {
  $("walk-design").addEventListener("change", (event) => {
    play(false);
    walk.design = event.target.value;
    walk.at = 0;
    const f = $("walk");
    path(f, f.querySelector(".draw"));
  });
  $("walk-back").addEventListener("click", () => { play(false); show(Math.max(walk.at - 1, 0), false); });
  $("walk-next").addEventListener("click", () => { play(false); show(Math.min(walk.at + 1, walk.hops.length - 1), false); });
  $("walk-play").addEventListener("click", () => play(!walk.timer));
}

// play moves on by itself, until the end.
function play(on) {
  clearInterval(walk.timer);
  walk.timer = 0;
  $("walk-play").setAttribute("aria-pressed", on);
  $("walk-play").textContent = on ? "Pause" : "Play";
  if (!on) return;
  if (walk.at === walk.hops.length - 1) show(0, false);
  walk.timer = setInterval(() => {
    if (walk.at + 1 < walk.hops.length) show(walk.at + 1, false);
    if (walk.at + 1 >= walk.hops.length) play(false);
  }, still() ? 1600 : 900);
}

// list writes all points as text.
function list(path) {
  $("walk-list").replaceChildren(...path.map((h) => element("li", {},
    h.of === "arp" ? "" : `${heading(h)} at ${place(h)}, ${facts_(h).join(", ")}. `, element("code", {}, h.packet), h.note ? ` ${h.note}.` : "", h.drop ? ` Dropped: ${h.drop}.` : "")));
}
