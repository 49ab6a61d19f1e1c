// The chosen network: its figures, its drawing, its table by block, and commands that go on.
const column = Object.fromEntries(data.columns.map((name, i) => [name, i]));
const kernelFills = { 1: "#c4c4c4", 3: "#86c5ee", 5: "#f2bb55", 7: "#62c9a8" };
const otherFill = "#d9a8c9";
const SCALE = 1.25;  // of the drawing: pixels on the page a unit
const SVG = "http://www.w3.org/2000/svg";

function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes))
    name in node && name !== "style" ? node[name] = value : node.setAttribute(name, value);
  node.append(...children.filter(child => child !== null));
  return node;
}

function shape(parent, tag, attributes, text) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  parent.append(node);
  return node;
}

// Three significant digits, never an exponent.
function digits(value) {
  if (value === null || !isFinite(value)) return "–";
  const places = value ? Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value)))) : 0;
  return value.toLocaleString("en", { minimumFractionDigits: places, maximumFractionDigits: places });
}

const percent = value => (100 * value).toFixed(1);
const accuracyOf = ({ accuracy, accuracy_se: error }) => accuracy === null ? "–"
  : `${(100 * accuracy).toFixed(2)}${error === null ? "" : ` ± ${(100 * error).toFixed(2)}`} %`;
const named = net => net.name || `network ${net.id}`;

// What an activation does, from -3 to 3, as a small curve.
const curves = {
  relu: x => Math.max(0, x), relu6: x => Math.min(Math.max(0, x), 1.6),
  hswish: x => x * Math.min(Math.max(x + 3, 0), 6) / 6, swish: x => x / (1 + Math.exp(-x)),
  gelu: x => x / (1 + Math.exp(-1.702 * x)), sigmoid: x => 3 / (1 + Math.exp(-x)),
};

function glyph(parent, act, x, y) {
  const curve = curves[act] ?? (v => v);
  const points = Array.from({ length: 13 }, (_, i) => {
    const v = i / 2 - 3;
    return `${(x + i * 1.5 - 9).toFixed(1)},${(y - 3 * curve(v)).toFixed(1)}`;
  });
  shape(parent, "polyline", { points: points.join(" "), class: "act" });
}

function kernelOf(row) {
  const [first, kernel] = [row[column.first_kernel], row[column.kernel]];
  return { largest: Math.max(first ?? 0, kernel ?? 0),
    text: first ? `${first}+${kernel || "–"}` : kernel ? `${kernel}×${kernel}` : "" };
}

// Rows in groups: the stem, each stage, what follows them.
function stages(rows) {
  const groups = [];
  for (const row of rows) {
    const name = row[column.place].replace(/_block\d+$/, "").replace("stage", "stage ");
    if (row[column.operator] === "pool") continue;
    if (groups.at(-1)?.name !== name) groups.push({ name, rows: [] });
    groups.at(-1).rows.push(row);
  }
  return groups;
}

function describe(groups) {
  return groups.map(({ name, rows }) => {
    const [first] = rows, kernel = kernelOf(first).text;
    return `${name}: ${rows.length > 1 ? `${rows.length} blocks ` : ""}${first[column.operator]} `
      + `${kernel}${first[column.expand] ? `, expansion ${first[column.expand]}` : ""}, `
      + `${first[column.width]} channels${first[column.se] ? ", squeeze-and-excitation" : ""}`
      + `${first[column.act] ? `, ${first[column.act]}` : ""}`;
  }).join("; ");
}

// Stages from left to right: each doubling of its channels adds as much to a block's height, and
// its colour is its kernel's.
function drawing(net) {
  const groups = stages(net.rows), [length, gap, top, middle] = [36, 22, 24, 98];
  const svg = document.createElementNS(SVG, "svg");
  let x = 14;
  for (const { name, rows } of groups) {
    const begin = x, side = rows[0][column.side], strided = (rows[0][column.stride] ?? 1) > 1;
    for (const row of rows) {
      const height = Math.max(16, 12 * Math.log2(row[column.width])), kernel = kernelOf(row);
      const y = middle - height / 2;
      if (row[column.residual])
        shape(svg, "path", { class: "skip",
          d: `M${x + 3} ${y}q${(length - 6) / 2} -13 ${length - 6} 0` });
      shape(svg, "rect", { x, y, width: length - 3, height, rx: 2,
        fill: kernelFills[kernel.largest] ?? otherFill, class: "block" });
      shape(svg, "text", { x: x + (length - 3) / 2, y: middle + 4, class: "kernel" }, kernel.text);
      if (row[column.se]) {
        shape(svg, "rect", { x: x + 6, y: y + height - 7, width: 21, height: 12, rx: 3, class: "se" });
        shape(svg, "text", { x: x + 16.5, y: y + height + 2.5, class: "se-text" }, "SE");
      }
      if (row[column.act]) glyph(svg, row[column.act], x + (length - 3) / 2, 184);
      x += length;
    }
    const centre = (begin + x - 3) / 2, width = Math.max(x - begin, 46);
    const lines = [[top - 8, strided ? `${side}→${Math.ceil(side / rows[0][column.stride])} px`
      : `${side} px`, "quiet"],
      [204, name === "classifier" ? "classes" : name, ""],
      [219, `${rows[0][column.width]} ch`, ""],
      [234, rows[0][column.expand] ? `×${+rows[0][column.expand].toPrecision(3)}` : "", "quiet"]];
    for (const [y, text, kind] of lines) shape(svg, "text", { x: centre, y, class: kind }, text);
    x += gap + Math.max(0, width - (x - begin));
  }
  svg.setAttribute("viewBox", `0 0 ${x - gap + 14} 242`);
  svg.style.width = `${SCALE * (x - gap + 14)}px`;
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", `Architecture of ${named(net)}. ${describe(groups)}`);
  return element("div", { className: "wide drawing", tabIndex: 0, role: "region",
    ariaLabel: "drawing of the architecture, scrolls sideways" }, svg);
}

function swatch(draw, width = 24) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${width} 16`);
  svg.setAttribute("aria-hidden", "true");
  svg.style.width = `${width}px`;
  draw(svg);
  return svg;
}

function legend(net) {
  const used = new Set(net.rows.map(row => kernelOf(row).largest).filter(Boolean));
  const acts = [...new Set(net.rows.map(row => row[column.act]).filter(Boolean))];
  const item = (mark, text) => element("li", {}, mark, ` ${text}`);
  const items = [...used].sort((a, b) => a - b).map(kernel => item(swatch(svg =>
    shape(svg, "rect", { x: 1, y: 1, width: 22, height: 14, rx: 2, class: "block",
      fill: kernelFills[kernel] ?? otherFill })), `kernel ${kernel}×${kernel}`));
  if (net.rows.some(row => row[column.se])) items.push(item(swatch(svg => {
    shape(svg, "rect", { x: 1, y: 2, width: 21, height: 12, rx: 3, class: "se" });
    shape(svg, "text", { x: 11.5, y: 11.5, class: "se-text" }, "SE");
  }), "squeeze-and-excitation"));
  for (const act of acts)
    items.push(item(swatch(svg => glyph(svg, act, 12, 12)), act));
  if (net.rows.some(row => row[column.residual])) items.push(item(swatch(svg =>
    shape(svg, "path", { class: "skip", d: "M2 13q10 -16 20 0" })), "input is added"));
  items.push(item("", "height: each doubling of channels adds as much · one box: one block · ×: expansion ratio"));
  return element("ul", { className: "legend" }, ...items);
}

const heads = [["place", "block"], ["operator", "operator"], ["kernel", "kernel"],
  ["expand", "expansion"], ["width", "channels"], ["se", "SE"], ["act", "activation"],
  ["stride", "stride"], ["macs", "MACs (M)"], ["params", "parameters"]];

function blockTable(net) {
  const timed = net.rows.every(row => row[column.ms] !== null);
  const weight = row => timed ? row[column.ms] : row[column.macs];
  const total = net.rows.reduce((sum, row) => sum + weight(row), timed ? net.constant : 0) || 1;
  const cell = (row, key) => {
    const value = row[column[key]];
    if (key === "place") return value.replace("_block", ".").replace("stage", "stage ");
    if (key === "kernel") return kernelOf(row).text;
    if (key === "macs") return digits(value / 1e6);
    if (key === "params") return value.toLocaleString("en");
    return value ? String(typeof value === "number" ? +value.toPrecision(3) : value) : "";
  };
  const share = value => element("td", {}, element("span", { className: "bar",
    style: `width:${(100 * value / total).toFixed(1)}%` }),
    element("span", {}, `${percent(value / total)} %`));
  const line = row => element("tr", {},
    ...heads.map(([key], i) => element(i ? "td" : "th", i ? {} : { scope: "row" }, cell(row, key))),
    timed ? element("td", {}, digits(1000 * row[column.ms])) : null, share(weight(row)));
  const names = [...heads.map(([, name]) => name), ...(timed ? ["µs"] : []),
    timed ? "share of latency" : "share of MACs"];
  const rows = net.rows.map(line);
  if (timed) rows.push(element("tr", {}, element("th", { scope: "row" }, "the call itself"),
    element("td", { colSpan: heads.length - 1 }), element("td", {}, digits(1000 * net.constant)),
    share(net.constant)));
  const caption = timed ? "Block by block; the share is of the latency, by the run's latency table."
    : "Block by block; the share is of the multiply-adds: no latency table is here that gives this "
      + "network's latency. Time is shared out otherwise.";
  return element("div", { className: "wide" }, element("table", { className: "blocks" },
    element("caption", {}, element("span", {}, caption)),
    element("thead", {}, element("tr", {}, ...names.map(name =>
      element("th", { scope: "col" }, name)))), element("tbody", {}, ...rows)));
}

async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch (refused) {  // no permission, or an old browser: by way of a selection
    const area = element("textarea", { value: text });
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  const before = button.textContent;
  button.textContent = "copied";
  setTimeout(() => button.textContent = before, 1500);
}

function copyable(label, text) {
  const button = element("button", { ariaLabel: `copy: ${label}`, ariaLive: "polite" }, "copy");
  button.onclick = () => copy(text, button);
  return element("div", { className: "command" }, element("span", {}, label),
    element("code", { tabIndex: 0 }, text), button);
}

// Everything that is known of a network: name and value.
function facts(net) {
  const f = net.figures, lines = [];
  const add = (name, value, unit = "") => value === null || value === "–" || value === ""
    || lines.push([name, `${value}${unit}`]);
  add(data.metric, f.accuracy === null ? null : accuracyOf(f), " (validation)");
  add(`test ${data.metric}`, f.test_accuracy === null ? null
    : `${percent(f.test_accuracy)} ± ${percent(f.test_accuracy_se ?? 0)} %`);
  add("in float32", f.float_accuracy === null ? null : `${percent(f.float_accuracy)} %`);
  add("latency", digits(f.latency_ms), " ms");
  add("measured whole", digits(f.measured_ms), " ms");
  add("MACs", digits(f.macs / 1e6), " M");
  add("parameters", digits(f.params / 1e6), " M");
  add("peak memory", digits(f.peak_memory_bytes / 1024), " KiB");
  add("judged in", digits(f.seconds || null), " s");
  add("judged by", net.fidelity);
  add("", net.reason);
  return lines;
}

function showNetwork(net) {
  const place = net.places[view.name], run = data.runs[net.run];
  document.getElementById("network-title").textContent =
    `${place ? `No. ${place} on the front: ` : ""}${named(net)}${net.winner ? " ★" : ""}`
    + (data.runs.length > 1 ? ` of ${run.label}` : "");
  const list = element("dl", { className: "figures" }, ...facts(net).filter(([name]) => name)
    .map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value))));
  const parts = [list, ...(net.reason ? [element("p", {}, net.reason)] : [])];
  if (net.rows) parts.push(drawing(net), legend(net), blockTable(net));
  else parts.push(element("p", {}, "These files do not tell this network's layers for certain."));
  parts.push(element("p", { className: "notation" }, net.arch));
  if (net.commands.length) parts.push(element("h3", {}, "Go on with it"));
  if (net.yaml) parts.push(copyable(`save as ${net.id}.yaml`, net.yaml));
  parts.push(...net.commands.map(([label, text]) => copyable(label, text)));
  document.getElementById("network-body").replaceChildren(...parts);
}
