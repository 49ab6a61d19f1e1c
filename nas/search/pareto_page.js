const all = selector => [...document.querySelectorAll(selector)];
const chart = document.getElementById("chart");
// Okabe and Ito 2008, "Color Universal Design": hues that colour-blind readers tell apart.
const orange = "#D55E00", green = "#009E73", blue = "#0072B2", grey = "#888";
const marks = {
  rejected: { symbol: "line-ns", size: 12, opacity: .6, line: { width: 1.5, color: grey } },
  trained: { size: 8, line: { width: 1, color: grey }, colorscale: "Cividis" },
  front: { symbol: "circle-open", size: 13, color: orange, line: { width: 2 } },
  published: { symbol: "diamond", size: 11, color: green, line: { width: 1, color: "#fff" } },
  winner: { symbol: "star", size: 21, color: blue, line: { width: 1, color: "#fff" } },
  chosen: { symbol: "circle-open", size: 27, color: grey, line: { width: 3 } },
};
const ticks = [-6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6].flatMap(
  power => [1, 2, 3, 5].map(step => +`${step}e${power}`));
let view;

function draw(name) {
  view = data.find(v => v.name === name);
  all("section").forEach(s => s.hidden = s.id !== name);
  all("nav button").forEach(b => b.ariaPressed = b.value === name);
  const { data: traces, layout } = structuredClone(view.figure), narrow = chart.clientWidth < 600;
  traces.push({ x: [null], y: [null], mode: "markers", meta: "chosen" });
  for (const trace of traces) {
    trace.hoverinfo = trace.hovertext ? "text" : "skip";
    trace.showlegend = trace.meta !== "front" && trace.meta !== "chosen";
    trace.marker = { ...trace.marker, ...marks[trace.meta] };
    Object.assign(trace.marker.colorbar ?? {}, { thickness: 12, outlinewidth: 0,
      tickvals: ticks.map(Math.log10), ticktext: ticks.map(String) });
    Object.assign(trace.error_y ?? {}, { color: orange, thickness: 1.2 });
    trace.line = { color: orange, width: 2, shape: "hv" };
    if (trace.meta === "rejected")
      Object.assign(trace, { y: trace.x.map(() => .015), yaxis: "y2" });
  }
  if (layout.xaxis.type === "log")
    Object.assign(layout.xaxis, { tickvals: ticks, ticktext: ticks.map(String) });
  for (const axis of [layout.xaxis, layout.yaxis]) axis.title.standoff = 10;
  if (view.target) {
    const at = layout.xaxis.type === "log" ? Math.log10(view.target) : view.target;
    const xanchor = 2 * at > layout.xaxis.range[0] + layout.xaxis.range[1] ? "right" : "left";
    layout.shapes = [{ type: "line", layer: "below", x0: view.target, x1: view.target, y0: 0, y1: 1,
      yref: "paper", line: { dash: "dash", color: grey },
      label: { text: ` target ${+view.target.toPrecision(3)} ms `, textposition: "end", textangle: 0, xanchor } }];
  }
  plot(chart, traces, Object.assign(layout, {
    autosize: true,
    margin: { l: narrow ? 44 : 60, r: narrow ? 4 : 20, t: 30, b: narrow ? 105 : 80 },
    yaxis2: { overlaying: "y", range: [0, 1], visible: false, fixedrange: true },
    legend: { orientation: "h", xref: "container", yref: "container", y: 0, yanchor: "bottom",
      font: { size: narrow ? 11 : 12 } },
    hoverlabel: { bordercolor: grey },
  })).then(label);
}

// Writes each text where it covers least: dots, the staircase and earlier texts are in the way.
function label() {
  const { xaxis: X, yaxis: Y } = chart._fullLayout, taken = [];
  const block = (x, y, w, h) => taken.push([x - w / 2, y - h / 2, x + w / 2, y + h / 2]);
  const covered = (x, y, w, h) => taken.reduce((sum, [l, t, r, b]) => sum
    + Math.max(0, Math.min(r, x + w / 2) - Math.max(l, x - w / 2))
    * Math.max(0, Math.min(b, y + h / 2) - Math.max(t, y - h / 2)), 0);
  const dots = chart.data.slice(0, -1).filter(t => t.yaxis !== "y2").flatMap(t => t.x.map((x, i) => (
    { t, i, x, y: t.y[i], px: X.d2p(x), py: Y.d2p(t.y[i]) })));
  for (const { t, i, y, px, py } of dots) {
    const next = dots.find(d => d.t === t && d.i === i + 1);
    const bar = t.error_y?.array?.[i], reach = bar ? py - Y.d2p(y + bar) : 0;
    if (t.mode === "markers") {
      block(px, py, t.marker.size + 2, t.marker.size + 2);
      block(px, py, 8, 2 * reach);
    } else if (next) {
      block((px + next.px) / 2, py, next.px - px, 3);
      block(next.px, (py + next.py) / 2, 3, py - next.py);
    }
  }
  for (const { x0 } of chart.layout.shapes ?? []) block(X.d2p(x0), Y._length / 2, 4, Y._length);
  const pen = document.createElement("canvas").getContext("2d");
  pen.font = "12px sans-serif";
  const annotations = dots.flatMap(({ t, i, x, y, px, py }) => {
    const rank = t.meta === "front", text = rank ? `${i + 1}` : t.text?.[i];
    if (!rank && t.meta !== "published") return [];
    const w = pen.measureText(text).width + 8, h = 16;
    if (px < 0 || py < 0 || px > X._length || py > Y._length) return [];
    let best = { cost: Infinity };
    for (const radius of rank ? [15, 20, 24] : [18, 28, 40, 55, 75, 100])
      for (let turn = 0; turn < 16; turn++) {  // front numbers go up and left, where no dot can be
        const angle = rank ? Math.PI * (.75 + (turn - 8) / 32) : turn * Math.PI / 8;
        const ax = Math.cos(angle) * (radius + (rank ? 0 : w / 2)), ay = -Math.sin(angle) * radius;
        const [cx, cy] = [px + ax, py + ay];
        const outside = cx < w / 2 || cx > X._length - w / 2 || cy < h / 2 || cy > Y._length - h;
        const cost = covered(cx, cy, w, h) + radius / 4 + outside * 1e4;
        if (cost < best.cost) best = { cost, ax, ay, cx, cy };
      }
    if (rank && best.cost > 40) return [];  // no room: the number is in the hover and the table
    block(best.cx, best.cy, w, h);
    return [{ text, x: X.type === "log" ? Math.log10(x) : x, y, ax: best.ax, ay: best.ay,
      arrowhead: 0, arrowwidth: rank ? 0.1 : 1, arrowcolor: "#888", standoff: 7,
      font: { size: 12, weight: rank ? "bold" : "normal" } }];
  });
  Plotly.relayout(chart, { annotations, "xaxis.autorange": false, "yaxis.autorange": false });
}

const front = () => chart.data.find(t => t.meta === "front");
const rank = row => parseInt(row.cells[0].textContent);

function choose(row) {
  all("tr.chosen").forEach(r => r.classList.remove("chosen"));
  row.classList.add("chosen");
  const { x, y } = front(), i = rank(row) - 1;
  Plotly.restyle(chart, { x: [[x[i]]], y: [[y[i]]] }, [chart.data.length - 1]);
}

all("nav button").forEach(b => b.onclick = () => draw(b.value));
all("tbody tr").forEach(row => row.onclick = () => choose(row));
all("th").forEach(th => th.onclick = () => {
  const body = th.closest("table").tBodies[0], sign = th.ariaSort === "descending" ? 1 : -1;
  const value = row => parseFloat(row.cells[th.cellIndex].textContent.replace(/[^-\d.]*/, "")) || 0;
  th.parentNode.querySelectorAll("th").forEach(other => other.ariaSort = null);
  th.ariaSort = sign > 0 ? "ascending" : "descending";
  body.append(...[...body.rows].sort((a, b) => sign * (value(a) - value(b))));
});
if (data.length) {
  draw(data[0].name);
  chart.on("plotly_relayout", change => "annotations" in change || label());
  chart.on("plotly_click", ({ points: [{ customdata }] }) => {
    const place = front()?.customdata.indexOf(customdata) + 1;
    all(`#${view.name} tbody tr`).filter(row => rank(row) === place).forEach(choose);
  });
  matchMedia("(prefers-color-scheme: dark)").onchange = () => draw(view.name);
}
