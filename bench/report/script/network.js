// Lines from machines that join segments to these segments. Where there is no
// room to draw them, the segments say who joins them.

function network() {
  const net = $("net");
  net.querySelector(":scope > svg")?.remove();
  if (narrow()) return;
  const box = net.getBoundingClientRect();
  const segments = new Map([...net.querySelectorAll(".segment")].map((s) => [s.dataset.segment, s.querySelector("h3").getBoundingClientRect()]));
  const paths = [];
  for (const m of net.querySelectorAll(".joints .machine")) {
    const from = m.querySelector(".box").getBoundingClientRect();
    const links = (result.topology.links || []).filter((l) => l.machine === m.dataset.machine && segments.has(l.segment));
    links.forEach((l, i) => {
      const to = segments.get(l.segment);
      const x = from.left - box.left + from.width * (i + 1) / (links.length + 1), y = from.bottom - box.top;
      const tx = Math.min(Math.max(x, to.left - box.left + 20), to.right - box.left - 20), ty = to.top - box.top;
      paths.push(`M${x},${y}V${(y + Math.min(ty, y + 48)) / 2}H${tx}V${ty}`);
    });
  }
  if (!paths.length) return;
  const svg = d3.create("svg").attr("aria-hidden", true);
  svg.selectAll("path").data(paths).enter().append("path").attr("d", (d) => d);
  net.prepend(svg.node());
}
