// My limit: the best network within it; and how the page answers to mouse and keyboard.
const slider = byId("budget"), amount = byId("amount");
const colours = colourings();

// The slider runs along the axis, from the cheapest network of a front to the right end.
function budgetAt(part) {
  const low = view.costs[0], high = view.log ? 10 ** view.range[1] : view.range[1];
  return view.log ? low * (high / low) ** part : low + (high - low) * part;
}

function partOf(cost) {
  const low = view.costs[0], high = view.log ? 10 ** view.range[1] : view.range[1];
  const part = view.log ? Math.log(cost / low) / Math.log(high / low) : (cost - low) / (high - low);
  return Math.min(1, Math.max(0, part));
}

// The last of the front within a budget; among several runs the most accurate.
function bestWithin(cost) {
  const inside = frontOf().filter(net => costOf(net) <= cost * (1 + 1e-9));
  if (!several) return inside.at(-1);
  return inside.reduce((a, b) => !a || b.figures.accuracy > a.figures.accuracy ? b : a, undefined);
}

function setBudget(cost, from) {
  budget = cost;
  if (from !== slider) slider.value = Math.round(1000 * partOf(cost));
  if (from !== amount) amount.value = +cost.toPrecision(3);
  slider.setAttribute("aria-valuetext", `${+cost.toPrecision(3)} ${view.unit}`);
  const net = bestWithin(cost);
  const test = net && net.figures.test_accuracy !== null
    ? ` (test ${percent(net.figures.test_accuracy)} %)` : "";
  byId("best").textContent = net
    ? `Best within ${+cost.toPrecision(3)} ${view.unit}: no. ${net.places[view.name]}, ${named(net)}`
      + `${several ? ` of ${data.runs[net.run].label}` : ""}, with ${accuracyOf(net.figures)}${test} `
      + `at ${digits(costOf(net))} ${view.unit}.`
    : `No trained network is within ${+cost.toPrecision(3)} ${view.unit}; the cheapest takes `
      + `${digits(view.costs[0])} ${view.unit}.`;
  Plotly.relayout(chart, { shapes: shapes() });
  if (net) choose(net);
}

function setAxis(name) {
  draw(name);
  byId("unit").textContent = view.unit;
  slider.disabled = amount.disabled = !view.costs;
  if (!view.costs) return;
  const target = Math.max(...view.targets.filter(Boolean));
  setBudget(isFinite(target) ? target : view.costs[1]);
}

// A chosen network that is not what the budget says stays; the status says which it is.
function pick(net) {
  choose(net);
  const place = net.places[view.name];
  byId("best").textContent = `Chosen: ${place ? `no. ${place} on the front, ` : ""}${named(net)}, `
    + `${accuracyOf(net.figures)} at ${digits(costOf(net))} ${view.unit}.`;
}

function walk(event) {
  const front = frontOf(), at = front.indexOf(chosen), last = front.length - 1;
  const next = { ArrowRight: at + 1, ArrowUp: at + 1, ArrowLeft: at < 0 ? last : at - 1,
    ArrowDown: at < 0 ? last : at - 1, Home: 0, End: last }[event.key];
  if (event.key === "Enter") byId("network").focus();
  else if (next === undefined) return;
  else if (front.length) pick(front[Math.min(last, Math.max(0, next))]);
  event.preventDefault();
}

function save(format) {
  Plotly.downloadImage(chart, { format, width: 1000, height: 600, scale: format === "png" ? 2 : 1,
    filename: `front_${data.runs.map(run => run.name).join("_")}` });
}

function sortBy(button) {
  const th = button.closest("th"), body = th.closest("table").tBodies[0];
  const sign = th.ariaSort === "descending" ? 1 : -1;
  const value = row => parseFloat(row.cells[th.cellIndex].textContent.replace(/[^-\d.]*/, "")
    .replace(/,/g, "")) || 0;
  th.parentNode.querySelectorAll("th").forEach(other => other.ariaSort = null);
  th.ariaSort = sign > 0 ? "ascending" : "descending";
  body.append(...[...body.rows].sort((a, b) => sign * (value(a) - value(b))));
}

function begin() {
  byId("colour").append(...colours.map(({ key, label: text }) =>
    element("option", { value: key }, text)));
  byId("colour").parentNode.hidden = !colours.length;
  all("#axes button").forEach(b => b.onclick = () => setAxis(b.value));
  byId("colour").onchange = () => draw();
  slider.oninput = () => setBudget(budgetAt(slider.value / 1000), slider);
  amount.oninput = () => amount.value > 0 && setBudget(+amount.value, amount);
  chart.onkeydown = walk;
  byId("save-svg").onclick = () => save("svg");
  byId("save-png").onclick = () => save("png");
  all("button.sort").forEach(b => b.onclick = () => sortBy(b));
  all("tr[data-id]").forEach(row => row.onclick = event => {
    const run = +row.closest("[data-run]").dataset.run;
    pick(nets.find(net => net.id === row.dataset.id && net.kind !== "published" && net.run === run));
    if (event.target.matches("button.show")) byId("network").scrollIntoView({ block: "nearest" });
  });
  setAxis(data.axes[0].name);
  chart.on("plotly_relayout", change => "annotations" in change || "shapes" in change || label());
  chart.on("plotly_click", ({ points: [{ customdata }] }) =>
    customdata === undefined || pick(nets[customdata]));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => draw());
}
begin();
