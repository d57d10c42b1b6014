// Saving a chart as an SVG file of its own, for slides and documents: what the
// page's style says is written into it, in the colours of the moment.

const kept = ["fill", "fill-opacity", "stroke", "stroke-width", "stroke-opacity", "stroke-dasharray", "font-size", "font-weight", "font-style", "text-anchor", "paint-order", "opacity"];

// hex shortens a colour that has no alpha.
const hex = (value) => value.replace(/rgb\((\d+), (\d+), (\d+)\)/g, (_, ...rgb) => "#" + rgb.slice(0, 3).map((n) => Number(n).toString(16).padStart(2, "0")).join(""));

function standalone(svg, title) {
  const copy = svg.cloneNode(true);
  const from = [svg, ...svg.querySelectorAll("*")], to = [copy, ...copy.querySelectorAll("*")];
  from.forEach((e, i) => {
    const now = getComputedStyle(e), parent = e === svg ? null : getComputedStyle(e.parentNode);
    const t = to[i];
    for (const name of kept) {
      const value = now.getPropertyValue(name);
      const inherited = parent && parent.getPropertyValue(name) === value && !["opacity"].includes(name);
      t.removeAttribute(name);
      if (!inherited && !(initial[name] === value)) t.setAttribute(name, hex(value.replace(/px$/, "")));
    }
    for (const a of t.attributes) if (!a.name.includes("opacity")) a.value = a.value.replace(/-?\d+\.\d{2,}/g, (n) => Math.round(n * 10) / 10);
    for (const name of ["style", "class", "tabindex", "data-design", "role", "aria-label", "aria-hidden", "aria-current", "data-mark"]) t.removeAttribute(name);
  });
  for (const s of copy.querySelectorAll("style")) s.remove();
  copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  copy.setAttribute("font-family", "system-ui, sans-serif");
  copy.setAttribute("role", "img");
  copy.setAttribute("aria-label", title);
  const {width, height} = svg.viewBox.baseVal;
  const back = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  for (const [k, v] of Object.entries({x: -12, y: -12, width: width + 24, height: height + 24, fill: getComputedStyle(document.body).backgroundColor})) back.setAttribute(k, v);
  copy.setAttribute("viewBox", `-12 -12 ${width + 24} ${height + 24}`);
  copy.setAttribute("width", width + 24);
  copy.setAttribute("height", height + 24);
  copy.prepend(back);
  return new XMLSerializer().serializeToString(copy);
}

const initial = {"fill-opacity": "1", "stroke": "none", "stroke-width": "1px", "stroke-opacity": "1", "stroke-dasharray": "none", "font-weight": "400", "font-style": "normal", "text-anchor": "start", "paint-order": "normal", "opacity": "1"};

function saving() {
  for (const figure of document.querySelectorAll(".chart")) {
    const name = figure.dataset.id || figure.id;
    const title = figure.querySelector("h3, h4")?.firstChild.textContent.trim() || figure.closest("section").querySelector("h2").textContent;
    const b = element("button", {type: "button", class: "save"}, "Save as SVG", element("span", {class: "sr"}, `: ${title}`));
    b.addEventListener("click", () => {
      const svg = figure.querySelector(".draw svg");
      if (!svg) return;
      const url = URL.createObjectURL(new Blob([standalone(svg, title)], {type: "image/svg+xml"}));
      element("a", {href: url, download: `${name}.svg`}).click();
      setTimeout(() => URL.revokeObjectURL(url), 10000);
    });
    figure.append(b);
  }
}
