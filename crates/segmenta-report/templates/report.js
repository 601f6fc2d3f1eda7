// Pointing at a curve reads out the values of the nearest epoch. Without this, each dot has a title of its own.
"use strict";
for (const curve of document.querySelectorAll(".curve")) {
  const chart = curve.querySelector("svg"), readout = curve.querySelector(".readout");
  const dots = [...chart.querySelectorAll("circle")].map(dot => {
    const [epoch, ...value] = dot.querySelector("title").textContent.split(" · ");
    return { x: dot.cx.baseVal.value, y: dot.cy.baseVal.value, epoch, value: value.join(" · ") };
  });
  if (!dots.length) continue;
  const ys = dots.map(dot => dot.y);
  const guide = document.createElementNS("http://www.w3.org/2000/svg", "line");
  guide.setAttribute("class", "mark");
  guide.setAttribute("y1", Math.min(...ys) - 6);
  guide.setAttribute("y2", chart.viewBox.baseVal.height - 46);
  const show = event => {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(chart.getScreenCTM().inverse());
    const nearest = dots.reduce((a, b) => Math.abs(b.x - at.x) < Math.abs(a.x - at.x) ? b : a);
    guide.setAttribute("x1", nearest.x);
    guide.setAttribute("x2", nearest.x);
    chart.append(guide);
    const values = dots.filter(dot => dot.x === nearest.x).map(dot => dot.value);
    readout.textContent = [nearest.epoch, ...values].join(" · ");
  };
  chart.addEventListener("pointermove", show);
  chart.addEventListener("pointerdown", show);
  chart.addEventListener("pointerleave", () => { guide.remove(); readout.textContent = ""; });
}
