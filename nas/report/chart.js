// The chart of a report: axes, colours, the budget, and the network that is chosen.
const all = selector => [...document.querySelectorAll(selector)];
const byId = id => document.getElementById(id);
const chart = byId("chart"), nets = data.networks;
// Okabe and Ito 2008, "Color Universal Design": hues that colour-blind readers tell apart.
const orange = "#D55E00", green = "#009E73", blue = "#0072B2", grey = "#888";
const hues = [orange, blue, green, "#CC79A7", "#E69F00", "#56B4E9"];
const symbols = ["circle", "square", "triangle-up", "pentagon", "hexagram", "cross"];
const several = data.runs.length > 1;
const marks = {
  rejected: { symbol: "line-ns", size: 12, opacity: .6, line: { width: 1.5, color: grey } },
  trained: { size: 9, line: { width: 1, color: grey } },
  front: { size: 14, line: { width: 2 } },
  published: { symbol: "diamond", size: 11, color: green, line: { width: 1, color: "#fff" } },
  winner: { symbol: "star", size: 21, line: { width: 1, color: "#fff" } },
  chosen: { symbol: "circle-open", size: 28, line: { width: 3 } },
};
const powers = [-6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6];
const ticksOf = steps => powers.flatMap(power => steps.map(step => +`${step}e${power}`));
const ticks = ticksOf([1, 2, 3, 5]);
let view, chosen, budget = null;

const escaped = text => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;");
const costOf = net => net.figures[view.name] === null ? null : net.figures[view.name] / view.scale;
const frontOf = () => nets.filter(net => net.places[view.name])
  .sort((a, b) => costOf(a) - costOf(b) || a.run - b.run);

// What dots may be coloured by: figures on a logarithmic scale, then choices.
function colourings() {
  const figures = [["macs", "MACs (M)", 1e6], ["params", "parameters (M)", 1e6],
    ["latency_ms", "latency (ms)", 1], ["peak_memory_bytes", "peak memory (KiB)", 1024],
    ["seconds", "judged in (s)", 1]].map(([key, label, scale]) => (
    { key, label, log: true, of: net => net.figures[key] > 0 ? net.figures[key] / scale : null }));
  figures.push({ key: "test", label: `test ${data.metric} (%)`,
    of: net => net.figures.test_accuracy === null ? null : 100 * net.figures.test_accuracy });
  figures.push({ key: "float", label: `${data.metric} in float32 (%)`,
    of: net => net.figures.float_accuracy === null ? null : 100 * net.figures.float_accuracy });
  const picks = [...new Set(nets.flatMap(net => Object.keys(net.picks)))].sort();
  const choices = picks.map(key => ({ key, label: data.choices[key], choice: true,
    of: net => net.picks[key] ?? null }));
  const how = { key: "fidelity", label: "how it was judged", of: net => net.fidelity || null };
  const run = { key: "run", label: "run", of: net => data.runs[net.run].label };
  return [...(several ? [run] : []), ...figures, how, ...choices].filter(({ of }) =>
    new Set(nets.filter(n => n.kind === "trained").map(of).filter(v => v !== null)).size > 1);
}

function hover(net) {
  const place = net.places[view.name];
  const title = `${place ? `no. ${place} on the front: ` : ""}${named(net)}`
    + (several ? ` (${data.runs[net.run].label})` : "");
  const lines = facts(net).map(([name, value]) => escaped(`${name} ${value}`.trim()));
  const form = net.arch.split(" | ").map(escaped);
  const file = net.file ? `, ${net.file}` : "";
  return [`<b>${escaped(title)}</b>`, ...lines, ...form, escaped(`id ${net.id}${file}`)].join("<br>");
}

function dots(kind, some, name, more = {}) {
  return { type: "scatter", mode: "markers", meta: kind, name, x: some.map(costOf),
    y: some.map(net => net.figures.accuracy === null ? null : 100 * net.figures.accuracy),
    customdata: some.map(net => nets.indexOf(net)), hoverinfo: "text", hovertext: some.map(hover),
    text: some.map(named), ...more, marker: { ...marks[kind], ...more.marker } };
}

// The trained networks in the colours that are asked for, a trace for each kind of mark.
function trainedDots() {
  const colouring = colours.find(c => c.key === byId("colour").value) ?? colours[0];
  const some = nets.filter(net => net.kind === "trained");
  if (!colouring) return [dots("trained", some, data.origin, { marker: { color: grey } })];
  const value = net => colouring.of(net), known = some.filter(net => value(net) !== null);
  const options = [...new Set(known.map(value))];  // runs in their own order
  const ofRun = colouring.key === "run";
  const numeric = options.every(option => typeof option === "number");
  const unknown = some.filter(net => value(net) === null);
  const traces = unknown.length ? [dots("trained", unknown, `${colouring.label}: not known`,
    { marker: { color: "rgba(136,136,136,.35)", size: 7 } })] : [];
  const symbolOf = net => symbols[net.run % symbols.length];
  if (!numeric)
    return [...traces, ...(ofRun ? options : options.sort()).map((option, i) => {
      const own = known.filter(net => value(net) === option), color = hues[(i + (ofRun ? 0 : 1)) % 6];
      return dots("trained", own, ofRun ? `${option}: ${data.origin}` : `${option}`,
        { marker: { color, symbol: own.map(symbolOf) } });
    })];
  const scaled = v => colouring.log ? Math.log10(v) : v;
  const shown = colouring.choice ? options.sort((a, b) => a - b) : ticks;
  traces.push(dots("trained", known, data.origin, { marker: { color: known.map(n => scaled(value(n))),
    symbol: known.map(symbolOf), colorscale: "Cividis", colorbar: { thickness: 12, outlinewidth: 0,
      title: { text: colouring.label.replace(" (", "<br>("), font: { size: 11 } },
      ...(colouring.log || colouring.choice
        ? { tickvals: shown.map(scaled), ticktext: shown.map(String) } : {}) } } }));
  return traces;
}

function runTraces(index) {
  const hue = several ? hues[index % 6] : orange;
  const of = several ? ` of ${data.runs[index].label}` : "";
  const own = frontOf().filter(net => net.run === index), { x, y } = view.stairs[index];
  const errors = own.map(net => 100 * (net.figures.accuracy_se ?? 0));
  const winners = nets.filter(net => net.run === index && net.winner && net.kind === "trained");
  const symbol = `${symbols[index % symbols.length]}-open`;
  return [
    { type: "scatter", x, y, mode: "lines", meta: "staircase", name: `Pareto front${of}`,
      hoverinfo: "skip", line: { color: hue, width: 2, shape: "hv" } },
    dots("front", own, `on the front${of}`, { showlegend: false, marker: { symbol, color: hue },
      error_y: { array: errors, color: hue, thickness: 1.2 } }),
    dots("winner", winners.slice(0, 1), `winner${of}`,
      { marker: { color: several ? hue : blue } }),
  ];
}

function lineAt(cost, text, dash, y, xanchor) {
  const at = view.log ? Math.log10(cost) : cost, [low, high] = view.range;
  return { type: "line", layer: "below", x0: cost, x1: cost, y0: 0, y1: 1, yref: "paper",
    line: { dash, color: grey, width: 1.5 }, label: { text: ` ${text} `, textposition: y,
      textangle: 0, xanchor: xanchor ?? (2 * at > low + high ? "right" : "left"),
      font: { size: 12 } } };
}

// The targets, of several runs two at the top, one to each side, and the others at the bottom.
function shapes() {
  const targets = view.targets.map((target, run) => ({ target, run }))
    .filter(({ target }) => target).sort((a, b) => a.target - b.target);
  const lines = targets.map(({ target, run }, i) => several
    ? lineAt(target, `target of ${data.runs[run].label}`, "dash", i < 2 ? "end" : "start",
      i % 2 ? "left" : "right")
    : lineAt(target, `target ${+target.toPrecision(3)} ${view.unit}`, "dash", "end"));
  if (budget !== null && !targets.some(({ target }) => Math.abs(budget / target - 1) < .005))
    lines.push(lineAt(budget, "my limit", "dot", "start"));
  return lines;
}

function draw(name = view.name) {
  view = data.axes.find(axis => axis.name === name);
  all("div.front").forEach(part => part.hidden = part.id !== name);
  all("#axes button").forEach(b => b.ariaPressed = String(b.value === name));
  const narrow = chart.clientWidth < 600;
  const rejected = nets.filter(net => net.kind === "rejected" && costOf(net) !== null);
  const others = nets.filter(net => net.kind === "published");
  const traces = [
    dots("rejected", rejected, "not trained to the end",
      { y: rejected.map(() => .015), yaxis: "y2" }),
    ...trainedDots(), ...data.runs.flatMap((_, index) => runTraces(index)),
    dots("published", others, "to compare with", { marker: {
      color: others.map(net => several ? hues[net.run % 6] : green) } }),
  ].filter(trace => trace.x.length);
  const ring = { x: [null], y: [null], mode: "markers", meta: "chosen", hoverinfo: "skip",
    showlegend: false, marker: { ...marks.chosen, color: css("--ink") } };
  const below = view.below ? `, ${view.below} ${data.origin} below` : "";
  const labelled = view.range[1] - view.range[0] < .9 ? ticksOf([1, 1.5, 2, 3, 4, 5, 6, 8]) : ticks;
  const axis = { title: { text: `${view.label} (${view.unit})`, standoff: 10 }, range: view.range,
    ...(view.log ? { type: "log", tickvals: labelled, ticktext: labelled.map(String) } : {}) };
  chart.ariaLabel = `${nets.length} networks by ${data.metric} and ${view.label}, `
    + `${frontOf().length} on the front.`;
  plot(chart, [...traces, ring], {
    template: "none", autosize: true, xaxis: axis,
    yaxis: { title: { text: `${data.metric} (%)${below}`, standoff: 10 }, range: view.accuracies },
    yaxis2: { overlaying: "y", range: [0, 1], visible: false, fixedrange: true },
    margin: { l: narrow ? 46 : 60, r: narrow ? 4 : 20, t: 30, b: (narrow ? 160 : 80) + 25 * several },
    legend: { orientation: "h", xref: "container", yref: "container", y: 0, yanchor: "bottom",
      font: { size: narrow ? 11 : 12 } },
    hoverlabel: { bordercolor: grey }, shapes: shapes(),
  }).then(() => { ringChosen(); label(); });
}

// Writes each text where it covers least: dots, the staircase and earlier texts are in the way.
function label() {
  const { xaxis: X, yaxis: Y } = chart._fullLayout, taken = [];
  const block = (x, y, w, h) => taken.push([x - w / 2, y - h / 2, x + w / 2, y + h / 2]);
  const covered = (x, y, w, h) => taken.reduce((sum, [l, t, r, b]) => sum
    + Math.max(0, Math.min(r, x + w / 2) - Math.max(l, x - w / 2))
    * Math.max(0, Math.min(b, y + h / 2) - Math.max(t, y - h / 2)), 0);
  const points = chart.data.filter(t => t.yaxis !== "y2" && t.meta !== "chosen").flatMap(t =>
    t.x.map((x, i) => ({ t, i, x, y: t.y[i], px: X.d2p(x), py: Y.d2p(t.y[i]) })));
  for (const { t, i, y, px, py } of points) {
    const next = points.find(p => p.t === t && p.i === i + 1);
    const bar = t.error_y?.array?.[i], reach = bar ? py - Y.d2p(y + bar) : 0;
    if (t.mode === "markers") {
      block(px, py, t.marker.size + 2, t.marker.size + 2);
      block(px, py, 8, 2 * reach);
    } else if (next) {
      block((px + next.px) / 2, py, next.px - px, 3);
      block(next.px, (py + next.py) / 2, 3, py - next.py);
    }
  }
  for (const { x0, label: { text, textposition } } of chart.layout.shapes ?? []) {
    block(X.d2p(x0), Y._length / 2, 4, Y._length);
    block(X.d2p(x0), textposition === "end" ? 10 : Y._length - 10, 14 * text.length, 20);
  }
  const pen = document.createElement("canvas").getContext("2d");
  pen.font = "12px sans-serif";
  const annotations = points.flatMap(({ t, i, x, y, px, py }) => {
    const rank = t.meta === "front";
    if (!rank && t.meta !== "published") return [];
    const text = rank ? `${nets[t.customdata[i]].places[view.name]}` : escaped(t.text[i]);
    const w = pen.measureText(text).width + 8, h = 16;
    if (!(px >= 0 && py >= 0 && px <= X._length && py <= Y._length)) return [];
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
    if (best.cost > (rank ? 40 : 400)) return [];  // no room: the hover and the table have it
    block(best.cx, best.cy, w, h);
    return [{ text, x: X.type === "log" ? Math.log10(x) : x, y, ax: best.ax, ay: best.ay,
      arrowhead: 0, arrowwidth: rank ? 0.1 : 1, arrowcolor: "#888", standoff: 7,
      font: { size: 12, weight: rank ? "bold" : "normal" } }];
  });
  Plotly.relayout(chart, { annotations, "xaxis.autorange": false, "yaxis.autorange": false });
}

function ringChosen() {
  const at = chart.data.length - 1, known = chosen && chosen.figures.accuracy !== null;
  const point = known ? [[costOf(chosen)], [100 * chosen.figures.accuracy]] : [[null], [null]];
  Plotly.restyle(chart, { x: [point[0]], y: [point[1]] }, [at]);
}

// Marks a network everywhere, and draws it below.
function choose(net) {
  chosen = net;
  all("tr[data-id]").forEach(row => row.toggleAttribute("data-chosen",
    row.dataset.id === net.id && +row.closest("[data-run]").dataset.run === net.run));
  ringChosen();
  showNetwork(net);
  markChoices(net);
}

// The line of the network among the choices that lie beside each other.
function markChoices(net) {
  const index = data.figures.findIndex(figure => figure.layout.meta?.choices);
  const node = index < 0 ? null : byId(`figure${index}`);
  if (!node?.data) return;
  const axes = data.figures[index].layout.meta.choices;
  const y = axes.map(({ choice, heights }) =>
    heights.find(([option]) => option === net.picks[choice])?.[1] ?? null);
  const trace = { x: y.map((_, i) => i), y, mode: "lines+markers", meta: "chosen", hoverinfo: "skip",
    name: "chosen", line: { color: blue, width: 3 }, marker: { color: blue, size: 9 } };
  const old = node.data.flatMap((t, i) => t.meta === "chosen" ? [i] : []);
  Plotly.deleteTraces(node, old).then(() => Plotly.addTraces(node, [trace]));
}
