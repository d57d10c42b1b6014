// Everything is drawn when the page opens, and again when its width changes.

const charts = {bars, lines, headers, path, errors};

function drawAll() {
  for (const figure of document.querySelectorAll("[data-chart]")) charts[figure.dataset.chart](figure, figure.querySelector(".draw"));
  network();
}

theme();
sorting();
download();
saving();
drawAll();
contents();
$("highlight").addEventListener("change", (event) => pick(event.target.value));
for (const b of document.querySelectorAll("[data-pick]")) b.addEventListener("click", () => pick(picked === b.dataset.pick ? "" : b.dataset.pick));
let drawn = window.innerWidth, pending = 0;
window.addEventListener("resize", () => {
  cancelAnimationFrame(pending);
  pending = requestAnimationFrame(() => {
    if (window.innerWidth === drawn) return;
    drawn = window.innerWidth;
    drawAll();
  });
});
root.dataset.ready = "true";
