// The stack of headers of one packet of each design, to scale: every byte has the
// same width. The payload, which is long and the same everywhere, is torn.

const roles = [
  ["underlay", "underlay: under any design"], ["tunnel", "tunnel: what the design adds"],
  ["pod", "pod: the pod’s own headers"], ["payload", "payload: what the program sent"], ["padding", "padding"],
];
const brief = {Ethernet: "Eth", IPv4: "IP", WireGuard: "WG", payload: "payload", padding: "pad"};

function headers(figure, draw) {
  const packets = result.designs.filter((d) => d.packet).map((d) => ({design: d.name, ...d.packet}));
  const extra = (p) => d3.sum(p.layers, (l) => l.role === "tunnel" ? l.bytes : 0);
  const rows = d3.sort(packets, extra);
  const slim = narrow();
  const total = width(figure);
  const left = slim ? 0 : labels(rows.map((p) => p.design), total);
  const right = slim ? 0 : 86;
  const head = (p) => { const l = p.layers.find((l) => l.role === "payload"); return l ? l.offset : p.bytes; };
  const tail = (p) => { const l = p.layers.findLast((l) => l.role === "payload"); return l ? p.bytes - l.offset - l.bytes : 0; };
  const torn = 26; // bytes that the payload takes at least
  const longest = d3.max(rows, (p) => head(p) + tail(p)) + torn;
  const px = (total - left - right) / longest;
  const pitch = slim ? 50 : 34, tall = 25;
  const svg = d3.create("svg")
    .attr("role", "group").attr("aria-label", "Headers of one packet under each design, to scale. Arrow keys move between layers and designs.");
  hatches(svg);
  const top = legend(svg, rows, total) + 28, height = top + rows.length * pitch;
  svg.attr("viewBox", [0, 0, total, height]).attr("width", total).attr("height", height);
  ruler(svg, left, top, px, d3.max(rows, head), height);
  const order = rows.map((p, i) => {
    const y = top + i * pitch + (slim ? 18 : 4);
    const g = svg.append("g");
    own(g, () => p.design);
    g.append("text").attr("x", slim ? 0 : left - 8).attr("y", slim ? y - 5 : y + tall / 2).attr("dy", slim ? 0 : ".34em").attr("text-anchor", slim ? "start" : "end")
      .attr("font-size", 12.5).attr("fill", "var(--ink)").text(slim ? shorten(p.design, total / 10) : fit(p.design, left));
    const price = extra(p);
    g.append("text").attr("x", total).attr("y", slim ? y - 5 : y + tall / 2).attr("dy", slim ? 0 : ".34em").attr("text-anchor", "end").attr("font-size", 12.5)
      .attr("fill", price ? "var(--tunnel)" : "var(--muted)").attr("font-weight", price ? 700 : 400).text(price ? `+${price} bytes` : "adds none");
    return layers(g, p, left, y, tall, px, longest - head(p) - tail(p), head(p));
  });
  walkable(order, (e) => tellLayer(e));
  draw.replaceChildren(svg.node());
}

// layers draws one packet and returns its layers' elements. The payload is
// drawn so long that all packets end at one line.
function layers(g, p, left, y, tall, px, room, head) {
  let at = head;
  return p.layers.map((l) => {
    const payload = l.role === "payload";
    const from = l.offset < head ? l.offset : at;
    const bytes = payload ? room : l.bytes;
    if (l.offset >= head) at += bytes;
    const e = g.append("g").datum({p, l}).attr("role", "img").attr("aria-label", layerText(p, l).join(". ")).attr("class", "layer");
    const x = left + from * px, w = bytes * px;
    e.append("rect").attr("x", x + .5).attr("y", y).attr("width", Math.max(w - 1, 1)).attr("height", tall).attr("fill", `var(--${l.role})`);
    if (!payload) bytesOf(e, x, y, tall, px, l.bytes);
    if (l.encrypted) e.append("rect").attr("x", x + .5).attr("y", y).attr("width", Math.max(w - 1, 1)).attr("height", tall).attr("fill", payload ? "url(#hatch-dark)" : "url(#hatch)");
    if (payload) tear(e, x + w * .72, y, tall);
    const space = w * (payload ? .7 : 1); // for its name
    const [text, size] = [[l.name, 11.5], [l.name, 9.5], [brief[l.name] || l.name, 11.5], [brief[l.name] || l.name, 9]].find(([s, size]) => s.length * size * .62 + 2 < space) || [];
    if (text) {
      e.append("text").attr("x", payload ? x + w * .36 : x + w / 2).attr("y", y + tall / 2).attr("dy", ".34em").attr("text-anchor", "middle").attr("font-size", size).attr("font-weight", 600)
        .attr("fill", payload || l.role === "padding" ? "var(--ink)" : "var(--on-role)")
        .attr("paint-order", "stroke").attr("stroke", `var(--${l.role})`).attr("stroke-width", l.encrypted ? 5 : 0).attr("stroke-linejoin", "round").text(text);
    }
    return e.node();
  });
}

// bytesOf marks where one byte ends and the next begins.
function bytesOf(e, x, y, tall, px, n) {
  let d = "";
  for (let i = 1; i < n; i++) d += `M${(x + i * px).toFixed(2)},${y + tall}v${i % 4 ? -3 : -6}`;
  if (px >= 2) e.append("path").attr("d", d).attr("stroke", "var(--on-role)").attr("stroke-opacity", .7).attr("stroke-width", .8);
}

function tear(e, x, y, tall) {
  const n = 5, h = tall / n;
  let d = `M${x},${y}`, back = "";
  for (let i = 1; i <= n; i++) {
    d += `L${x + (i % 2 ? 5 : 0)},${y + i * h}`;
    back = `L${x + 6 + (i % 2 ? 5 : 0)},${y + i * h}` + back;
  }
  e.append("path").attr("d", `${d}${back}L${x + 6},${y}Z`).attr("fill", "var(--bg)");
}

function ruler(svg, left, top, px, last, height) {
  const step = px * 10 > 34 ? 10 : 20;
  const g = svg.append("g").attr("aria-hidden", true);
  for (let i = 0; i <= last; i += step) {
    g.append("path").attr("d", `M${left + i * px},${top - 8}V${height}`).attr("stroke", "var(--grid)");
    g.append("text").attr("x", left + i * px).attr("y", top - 13).attr("text-anchor", i || left ? "middle" : "start").attr("font-size", 11).attr("fill", "var(--muted)").text(i || !left ? i : "byte 0");
  }
}

function hatches(svg) {
  const defs = svg.append("defs");
  for (const [id, color, opacity] of [["hatch", "var(--on-role)", .55], ["hatch-dark", "var(--ink)", .3]]) {
    defs.append("pattern").attr("id", id).attr("width", 6).attr("height", 6).attr("patternUnits", "userSpaceOnUse").attr("patternTransform", "rotate(45)")
      .append("rect").attr("width", 2).attr("height", 6).attr("fill", color).attr("fill-opacity", opacity);
  }
}

function layerText(p, l) {
  return [
    `${p.design}: ${l.name}, ${l.bytes} ${l.bytes === 1 ? "byte" : "bytes"} at offset ${l.offset}`,
    (roles.find((r) => r[0] === l.role) || ["", l.role])[1] + (l.encrypted ? ", encrypted" : ""),
    ...(l.text ? [l.text] : []),
  ];
}

function tellLayer(e) {
  const {p, l} = d3.select(e).datum();
  const [first, ...rest] = layerText(p, l);
  $("headers-tell").replaceChildren(element("b", {}, first), `. ${rest.join(". ")}. Seen at ${p.point}, ${d3.format(",")(p.bytes)} bytes in all.`);
}

// legend writes above the packets what the colours mean, in as many lines as it
// takes, and returns its height.
function legend(svg, packets, total) {
  const all = packets.flatMap((p) => p.layers);
  const items = roles.filter((r) => all.some((l) => l.role === r[0])).map(([role, text]) => ({fill: `var(--${role})`, text}));
  if (all.some((l) => l.encrypted)) items.push({fill: "var(--pod)", text: "encrypted", over: "url(#hatch)"});
  const g = svg.append("g").attr("aria-hidden", true).attr("font-size", 12.5).attr("fill", "var(--ink)");
  let x = 0, y = 2;
  for (const i of items) {
    const long = 50 + i.text.length * 6.9;
    if (x && x + long > total) [x, y] = [0, y + 22];
    for (const fill of [i.fill, i.over]) if (fill) g.append("rect").attr("x", x).attr("y", y).attr("width", 24).attr("height", 13).attr("fill", fill);
    g.append("text").attr("x", x + 31).attr("y", y + 11).text(i.text);
    x += long;
  }
  return y + 30;
}
