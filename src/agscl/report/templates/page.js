"use strict";
// The node map after any task, and a word on each node by pointer or arrow keys. The page is complete without.
for (const figure of document.querySelectorAll(".nodemap")) {
  const tasks = JSON.parse(figure.dataset.tasks), columns = Number(figure.dataset.columns);
  const slider = figure.querySelector("input"), readout = figure.querySelector(".readout");
  const layers = [...figure.querySelectorAll(".layer")].map((element) => ({
    name: element.dataset.name, svg: element.querySelector(".cells svg"), at: 0,
    first: JSON.parse(element.dataset.first), dead: JSON.parse(element.dataset.dead),
    importance: JSON.parse(element.dataset.importance), used: JSON.parse(element.dataset.used),
  }));
  const show = () => {
    const task = Number(slider.value);
    figure.querySelector("output").textContent = `${task + 1}: ${tasks[task]}`;
    for (const layer of layers) {
      for (const path of layer.svg.querySelectorAll("[data-task]"))
        path.classList.toggle("off", Number(path.dataset.task) > task);
      const dots = layer.dead[task].map((n) => `M${n % columns}.5 ${Math.floor(n / columns)}.5h0`);
      layer.svg.querySelector(".dead").setAttribute("d", dots.join(""));
    }
  };
  const tell = (layer, node) => {
    const task = Number(slider.value), first = layer.first[node];
    const dead = layer.dead[task].includes(node) ? "dead" : "free";
    const users = (layer.used[node] ?? []).filter((user) => user <= task).map((user) => user + 1);
    const used = users.length ? `; used by task${users.length > 1 ? "s" : ""} ${users.join(", ")}` : "";
    const frozen = () =>
      `important since task ${first + 1} (${tasks[first]}), ${layer.importance[node]} in the end${used}`;
    readout.textContent = `${layer.name}, node ${node}: ${first >= 0 && first <= task ? frozen() : dead}`;
    readout.hidden = false;
    layer.cursor.setAttribute("x", node % columns);
    layer.cursor.setAttribute("y", Math.floor(node / columns));
    layer.at = node;
  };
  for (const layer of layers) {
    const nodes = layer.first.length, steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns };
    layer.cursor = document.createElementNS(layer.svg.namespaceURI, "rect");
    for (const [name, value] of [["class", "cursor off cell"], ["width", 1], ["height", 1]])
      layer.cursor.setAttribute(name, value);
    layer.svg.append(layer.cursor);
    layer.svg.tabIndex = 0;
    layer.svg.addEventListener("focus", () => { layer.cursor.classList.remove("off"); tell(layer, layer.at); });
    for (const leaving of ["blur", "pointerleave"])
      layer.svg.addEventListener(leaving, () => { layer.cursor.classList.add("off"); readout.hidden = true; });
    layer.svg.addEventListener("keydown", (event) => {
      const next = layer.at + (steps[event.key] ?? NaN);
      if (next >= 0 && next < nodes) tell(layer, next);
      if (event.key in steps) event.preventDefault();
    });
    layer.svg.addEventListener("pointermove", (event) => {
      const box = layer.svg.getBoundingClientRect(), side = box.width / columns;
      const column = Math.min(Math.floor((event.clientX - box.left) / side), columns - 1);
      const node = Math.floor((event.clientY - box.top) / side) * columns + column;
      if (column >= 0 && node >= 0 && node < nodes) { layer.cursor.classList.remove("off"); tell(layer, node); }
    });
  }
  slider.addEventListener("input", show);
  slider.closest("p").hidden = false;
  show();
}
