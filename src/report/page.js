// Draws a run from the object that --stats writes. Everything in that object is data from somewhere: a value
// is used only if it has the type that is wanted, and text becomes text nodes, never markup.
"use strict";
(() => {
// ---- reading ---------------------------------------------------------------------------------------------

const at = (object, path) => path.split(".").reduce(
  (o, key) => o !== null && typeof o === "object" && Object.hasOwn(o, key) ? o[key] : undefined, object);
// No figure of a run is larger; sums of such stay numbers.
const MOST = 1e18;
const isFigure = (value) => typeof value === "number" && Math.abs(value) <= MOST;
const number = (object, path) => {
  const value = at(object, path);
  return isFigure(value) ? value : null;
};
const amount = (object, path) => Math.max(0, number(object, path) ?? 0);
const text = (object, path, otherwise = "") => {
  const value = at(object, path);
  return typeof value === "string" ? value : otherwise;
};
// Numbers only, all of one length with the times.
const column = (object, path, length) => {
  const values = at(object, path);
  return Array.from({length}, (_, i) => Array.isArray(values) && isFigure(values[i]) ? values[i] : 0);
};

// ---- writing ---------------------------------------------------------------------------------------------

const SVG = "http://www.w3.org/2000/svg";
const fill = (node, attributes, children) => {
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return node;
};
const make = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
const draw = (tag, attributes = {}, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

const digits = (value) => {
  const size = Math.abs(value);
  return value.toLocaleString("en", {maximumFractionDigits: size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3});
};
const count = (value) => value === null ? "–" : value.toLocaleString("en", {maximumFractionDigits: 0});
const rate = (value) => value === null ? "–" : `${digits(value)}/s`;
const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
const unitOf = (value) => {
  let unit = 0;
  while (unit + 1 < UNITS.length && Math.abs(value) >= 1024 ** (unit + 1)) unit++;
  return unit;
};
const bytes = (value) => value === null ? "–" : `${digits(value / 1024 ** unitOf(value))} ${UNITS[unitOf(value)]}`;
const byteRate = (value) => value === null ? "–" : `${bytes(value)}/s`;
const seconds = (value) => {
  if (value === null) return "–";
  if (value < 0.9995) return `${digits(value * 1000)} ms`;
  if (value < 100) return `${digits(value)} s`;
  const whole = Math.round(value), pad = (n) => String(n).padStart(2, "0");
  const hours = Math.floor(whole / 3600), minutes = Math.floor(whole / 60) % 60;
  return hours ? `${hours}:${pad(minutes)}:${pad(whole % 60)} h` : `${minutes}:${pad(whole % 60)} min`;
};
const percent = (value) => value === null || !Number.isFinite(value) ? "–" : `${digits(100 * value)} %`;
const share = (part, whole) => whole > 0 ? part / whole : 0;

const section = (title, ...children) => make("section", {}, make("h2", {}, title), children);
const note = (...words) => make("p", {class: "note"}, words);
const swatch = (color) => make("i", {style: `background:var(--${color})`});

// Cells: a string, a node, or {number: "..."}; {aside: ...} is left out on narrow screens.
const cell = (tag) => (value) => {
  const kind = value === null || typeof value !== "object" || value instanceof Node ? {what: value} : value;
  const name = Object.keys(kind)[0];
  return make(tag, {class: name}, kind[name]);
};
const table = (head, rows) => make("div", {class: "scroll"}, make("table", {},
  head.length ? make("thead", {}, make("tr", {}, head.map(cell("th")))) : null,
  make("tbody", {}, rows.map((row) => make("tr", {}, row.map(cell("td")))))));

// Parts of a whole, side by side.
const bar = (parts, whole) => make("div", {class: "bar", role: "img",
  "aria-label": parts.map((p) => `${p.name}: ${percent(share(p.value, whole))}`).join(", ")},
  parts.map((p) => make("div", {style: `width:${100 * share(p.value, whole)}%;background:var(--${p.color})`, title: p.name})));

// ---- charts ----------------------------------------------------------------------------------------------

// The round number above which nothing lies. Sizes are round in their own unit.
const roundUp = (value, base) => {
  const unit = base === 1024 ? 1024 ** unitOf(value) : 1, scaled = value / unit;
  const power = 10 ** Math.floor(Math.log10(scaled));
  return unit * power * [1, 1.5, 2, 3, 4, 5, 6, 8, 10].find((step) => step * power >= scaled * 0.9999);
};

const WIDTH = 1000, HEIGHT = 100;

// The area between two lines of steps; value i holds from times i to i + 1.
const area = (x, y, low, high) => {
  const up = high.map((v, i) => `${i ? "L" : "M"}${x(i)} ${y(v)}L${x(i + 1)} ${y(v)}`).join("");
  const down = low.map((v, i) => `L${x(i + 1)} ${y(v)}L${x(i)} ${y(v)}`).reverse().join("");
  return `${up}${down}Z`;
};
const outline = (x, y, values) => values.map((v, i) => `${i ? "L" : "M"}${x(i)} ${y(v)}L${x(i + 1)} ${y(v)}`).join("");

const legend = (items, format) => items.map((item) => {
  const value = make("span");
  const swatchOf = item.limit ? make("i", {class: "dash", style: `border-color:var(--${item.color})`}) : swatch(item.color);
  const key = make("span", {class: "key"}, swatchOf, item.name, " ", value);
  key.show = (index) => {
    value.textContent = item.limit ? format(item.limit) : index === null ? "" : format(item.values[index]);
  };
  key.show(null);
  return key;
});

const layers = (chart, x, y) => {
  const below = chart.stacked ? chart.series[0].values.map(() => 0) : null;
  return chart.series.map((s) => {
    if (!below) return draw("path", {d: outline(x, y, s.values), fill: "none", stroke: `var(--${s.color})`, "stroke-width": 1.8});
    const low = below.slice(), high = s.values.map((v, i) => below[i] += v);
    return draw("path", {d: area(x, y, low, high), fill: `var(--${s.color})`});
  });
};

// What stands at each moment, beside the names, while a finger or pointer is there.
const follow = (plot, chart, keys, when) => {
  const cursor = draw("line", {y1: 0, y2: HEIGHT, stroke: "var(--soft)", visibility: "hidden"});
  plot.firstChild.append(cursor);
  const begin = chart.times[0], length = chart.times.at(-1) - begin;
  plot.addEventListener("pointermove", (event) => {
    const box = plot.getBoundingClientRect(), place = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
    const time = begin + place * length;
    const index = Math.max(0, chart.times.findIndex((t, i) => i > 0 && t >= time) - 1);
    for (const name of ["x1", "x2"]) cursor.setAttribute(name, place * WIDTH);
    cursor.setAttribute("visibility", "visible");
    when.textContent = `at ${seconds(chart.times[index + 1])}`;
    for (const key of keys) key.show(index);
  });
  plot.addEventListener("pointerleave", () => {
    cursor.setAttribute("visibility", "hidden");
    when.textContent = "";
    for (const key of keys) key.show(null);
  });
};

// chart: title, times [n + 1], series of {name, color, values [n]}, format; stacked, base 1024, top, and limits:
// lines of {name, color, limit}.
const figure = (chart) => {
  const limits = (chart.limits ?? []).filter((l) => l.limit > 0);
  const sums = chart.times.slice(1).map((_, i) => chart.stacked
    ? chart.series.reduce((sum, s) => sum + s.values[i], 0) : Math.max(...chart.series.map((s) => s.values[i])));
  const highest = Math.max(...sums, ...limits.map((l) => l.limit));
  const top = chart.top ?? (highest > 0 ? roundUp(highest, chart.base) : 1);
  const begin = chart.times[0], length = chart.times.at(-1) - begin || 1;
  const x = (i) => (WIDTH * (chart.times[i] - begin) / length).toFixed(2);
  const y = (v) => (HEIGHT * (1 - v / top)).toFixed(2);
  const levels = [top, top / 2, 0];
  const keys = legend([...chart.series, ...limits], chart.format), when = make("span", {class: "key"});
  const plot = make("div", {class: "plot"},
    draw("svg", {viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": chart.title},
      layers(chart, x, y),
      levels.map((v) => draw("line", {class: "grid", x1: 0, x2: WIDTH, y1: y(v), y2: y(v)})),
      limits.map((l) => draw("line", {x1: 0, x2: WIDTH, y1: y(l.limit), y2: y(l.limit), stroke: `var(--${l.color})`,
        "stroke-width": 1.5, "stroke-dasharray": "6 4"}))),
    levels.slice(0, 2).map((v, i) => make("span", {class: "level", style: `top:${50 * i + (i ? 0 : 11)}%`}, chart.format(v))));
  follow(plot, chart, keys, when);
  return make("figure", {}, make("figcaption", {}, make("strong", {}, chart.title), keys, when), plot,
    make("div", {class: "ends"}, make("span", {}, seconds(begin)), make("span", {}, seconds(chart.times.at(-1)))));
};

// ---- the run over time -----------------------------------------------------------------------------------

// Columns of the timeline, and what each interval has of the counted ones.
const readTimeline = (stats) => {
  const times = at(stats, "timeline.seconds");
  const length = Array.isArray(times) ? Math.min(times.length, 2000) : 0;
  if (length < 2) return null;
  const t = column(stats, "timeline.seconds", length);
  if (t.some((time, i) => i && time < t[i - 1])) return null;
  const peaks = (name) => column(stats, `timeline.${name}`, length).slice(1);
  const more = (name) => {
    const values = column(stats, `timeline.${name}`, length);
    return values.slice(1).map((v, i) => Math.max(0, v - values[i]));
  };
  const perSecond = (name) => more(name).map((v, i) => share(v, t[i + 1] - t[i]));
  return {times: t, peaks, more, perSecond};
};

const throughput = (stats, line) => section("Throughput",
  make("div", {class: "pair"},
    figure({title: "Prompt tokens", times: line.times, format: rate, stacked: true,
      series: [{name: "computed", color: "blue", values: line.perSecond("prompt_tokens")},
        {name: "shared, not computed", color: "sky", values: line.perSecond("prompt_tokens_shared")}],
      limits: [{name: "predicted mean", color: "soft", limit: amount(stats, "predicted.prompt_tokens_per_s")}]}),
    figure({title: "Generated tokens", times: line.times, format: rate, stacked: true,
      series: [{name: "generated", color: "green", values: line.perSecond("generated_tokens")}],
      limits: [{name: "predicted mean", color: "soft", limit: amount(stats, "predicted.generated_tokens_per_s")}]}),
    figure({title: "Rows", times: line.times, format: count,
      series: [{name: "running", color: "blue", values: line.peaks("running")},
        {name: "waiting", color: "grey", values: line.peaks("waiting")}]}),
    figure({title: "Disk", times: line.times, format: byteRate, base: 1024,
      series: [{name: "read", color: "orange", values: line.perSecond("read_bytes")},
        {name: "written", color: "violet", values: line.perSecond("written_bytes")}]})));

const memory = (stats, line) => {
  const process = line.peaks("process_bytes");
  process.forEach((v, i) => { if (v === 0 && i) process[i] = process[i - 1]; }); // not looked at then
  const device = line.peaks("device_bytes"), own = device.some((v) => v > 0);
  return figure({title: "Over time", times: line.times, format: bytes, base: 1024,
    series: [{name: "reserved", color: "blue", values: line.peaks("host_bytes")},
      {name: "resident", color: "green", values: process},
      ...(own ? [{name: "device", color: "violet", values: device}] : [])],
    limits: [{name: "host budget", color: "red", limit: amount(stats, "tiers.host.budget_bytes")},
      ...(own ? [{name: "device budget", color: "violet", limit: amount(stats, "tiers.device.budget_bytes")}] : [])]});
};

// Of each interval: shares that add up to all of it.
const sharesOfTime = (line) => {
  const compute = line.more("compute_s"), wait = line.more("wait_read_s"), steps = line.more("steps_s");
  const parts = {compute: [], wait: [], other: [], between: []};
  for (let i = 0; i + 1 < line.times.length; i++) {
    const all = line.times[i + 1] - line.times[i] || 1;
    let left = all;
    const take = (value) => { const part = Math.min(left, Math.max(0, value)); left -= part; return part / all; };
    parts.compute.push(take(compute[i]));
    parts.wait.push(take(wait[i]));
    parts.other.push(take(steps[i] - compute[i] - wait[i]));
    parts.between.push(take(left));
  }
  return parts;
};

const TIME = [
  {id: "compute", name: "computing", color: "blue"},
  {id: "wait", name: "waiting for the disk", color: "orange"},
  {id: "other", name: "rest of the steps", color: "violet"},
  {id: "between", name: "between steps", color: "grey"},
];

const timeChart = (line) => {
  const parts = sharesOfTime(line);
  return figure({title: "Share of each moment", times: line.times, format: percent, stacked: true, top: 1,
    series: TIME.map((t) => ({name: t.name, color: t.color, values: parts[t.id]}))});
};

// ---- sums ------------------------------------------------------------------------------------------------

const timeTable = (stats) => {
  const phase = (name) => amount(stats, `phases.${name}_s`);
  const run = phase("run"), steps = Math.min(run, phase("steps"));
  const compute = Math.min(steps, phase("compute")), wait = Math.min(steps - compute, phase("wait_read"));
  const values = {compute, wait, other: steps - compute - wait, between: run - steps};
  const why = {
    compute: "operations of the device",
    wait: "weights, experts or pages of the KV cache were not there yet",
    other: `gathering rows ${seconds(phase("gather"))}, sampling ${seconds(phase("sample"))}`,
    between: "requests read, results written, plans made",
  };
  const parts = [{id: "open", name: "opening", color: "green", value: phase("open"), why: "finding, packing and loading weights"},
    ...TIME.map((t) => ({...t, value: values[t.id], why: why[t.id]}))];
  const all = phase("open") + run;
  return [bar(parts, all), table(["", {number: "time"}, {number: "share"}, {aside: ""}], parts.map((p) =>
    [make("span", {}, swatch(p.color), p.name), {number: seconds(p.value)}, {number: percent(share(p.value, all))}, {aside: p.why}]))];
};

// "weights 3 GiB, KV cache 2 MiB" of what is there.
const named = (parts) => parts.filter(([, value]) => value > 0).map(([name, value]) => `${name} ${bytes(value)}`).join(", ");

const tierTable = (stats) => {
  const disk = (name) => amount(stats, `tiers.disk.${name}`), phase = (name) => amount(stats, `phases.${name}_s`);
  const read = phase("read"), hidden = share(phase("read_overlapped"), read);
  const other = Math.max(0, disk("read_bytes") - disk("weight_bytes_streamed") - disk("kv_bytes_read") - disk("hidden_bytes_read"));
  return table(["tier", {number: "busy"}, {number: "moved"}, {aside: "of this"}], [
    [text(stats, "model.device", "device"), {number: seconds(phase("compute"))}, {number: ""}, {aside: ""}],
    ["host", {number: seconds(phase("gather") + phase("sample"))}, {number: ""}, {aside: "rows gathered, tokens sampled"}],
    ["disk, read", {number: seconds(read)}, {number: bytes(disk("read_bytes"))},
      {aside: named([["streamed weights", disk("weight_bytes_streamed")], ["KV cache", disk("kv_bytes_read")],
        ["residual stream", disk("hidden_bytes_read")], ["opening and the rest", other]])}],
    ["disk, while something computed", {number: seconds(phase("read_overlapped"))}, {number: ""}, {aside: `${percent(hidden)} of the time in which a read was in flight`}],
    ["disk, written", {number: ""}, {number: bytes(disk("written_bytes"))},
      {aside: named([["KV cache", disk("kv_bytes_written")], ["residual stream", disk("hidden_bytes_written")]])}],
  ]);
};

const meter = (value, whole, color, inner) => make("div", {class: "meter"},
  make("div", {style: `width:${Math.min(100, 100 * share(value, whole))}%;background:var(--${color})`}),
  inner === undefined ? null
    : make("div", {style: `width:${Math.min(100, 100 * share(inner, whole))}%;background:var(--green)`}));

const budgets = (stats) => {
  const rows = [];
  const add = (what, used, budget) => {
    if (!budget) return;
    const over = used > budget;
    rows.push([what, {number: make("span", over ? {class: "over"} : {}, bytes(used))}, {number: bytes(budget)},
      {number: percent(share(used, budget))}, meter(used, budget, over ? "red" : "blue")]);
  };
  const host = amount(stats, "tiers.host.budget_bytes");
  add("host, reserved at most", amount(stats, "tiers.host.peak_bytes"), host);
  add("host, resident at most", amount(stats, "tiers.host.process_peak_bytes"), host);
  add("device, reserved at most", amount(stats, "tiers.device.peak_bytes"), amount(stats, "tiers.device.budget_bytes"));
  return rows.length ? table(["", {number: "used"}, {number: "budget"}, {number: ""}, {aside: ""}],
    rows.map((row) => [...row.slice(0, 4), {aside: row[4]}])) : note("no budget is known");
};

const compared = (stats) => {
  if (number(stats, "predicted.seconds") === null)
    return section("Predicted and measured",
      note("Nothing was predicted: no profile of this machine was kept (flexgen profile makes one), or the job was not known before."));
  const whole = text(stats, "outcome") === "done";
  // What is predicted of prompts counts shared tokens as well.
  const prompts = amount(stats, "tokens.prompt_distinct") + amount(stats, "tokens.prompt_shared");
  const promptRate = share(prompts, amount(stats, "phases.run_s"));
  const rows = [
    ["time of the job", "predicted.seconds", "phases.run_s", seconds],
    ["steps", "predicted.steps", "tokens.steps", count],
    ["prompt tokens, shared ones too", "predicted.prompt_tokens_per_s", null, rate],
    ["generated tokens", "predicted.generated_tokens_per_s", "tokens.generated_per_s", rate],
    ["tokens shared", "predicted.shared_tokens", "tokens.prompt_shared", count],
    ["read from disk", "predicted.bytes_read", "tiers.disk.read_bytes", bytes],
    ["written to disk", "predicted.bytes_written", "tiers.disk.written_bytes", bytes],
    ["host memory", "predicted.host_bytes", "tiers.host.peak_bytes", bytes],
    ["device memory", "predicted.device_bytes", "tiers.device.peak_bytes", bytes],
  ].map(([what, expected, measured, format]) => ({what, format, expected: amount(stats, expected), measured: measured ? amount(stats, measured) : promptRate}))
    .filter((row) => row.expected > 0 || row.measured > 0);
  return section("Predicted and measured",
    table(["", {number: "predicted"}, {number: "measured"}, {number: "ratio"}, {aside: ""}], rows.map((row) => [row.what,
      {number: row.format(row.expected)}, {number: row.format(row.measured)},
      {number: row.expected > 0 ? digits(row.measured / row.expected) : "–"},
      {aside: meter(row.expected, Math.max(row.expected, row.measured), "grey", row.measured)}])),
    note(make("span", {class: "key"}, swatch("grey"), "predicted"), " ", make("span", {class: "key"}, swatch("green"), "measured"),
      `. The plan was bound by: ${text(stats, "predicted.bound_by", "not known")}. Steps took ${digits(amount(stats, "predicted.pace"))} ` +
      "times what the plan's rates say of them.", whole ? "" : " The prediction is of the whole job, of which a part ran."));
};

const notComputed = (stats) => {
  const tokens = (name) => amount(stats, `tokens.${name}`);
  const again = Math.max(0, tokens("prompt") - tokens("prompt_distinct"));
  const parts = [{name: "computed once", color: "blue", value: tokens("prompt_distinct")},
    {name: "shared, not computed", color: "sky", value: tokens("prompt_shared")},
    {name: "computed again", color: "red", value: again}];
  const prompts = tokens("prompt_distinct") + tokens("prompt_shared"), whole = prompts + again;
  const guesses = tokens("drafted");
  const facts = [];
  const fact = (what, value, why) => facts.push([what, {number: value}, {aside: why}]);
  for (const p of parts) fact(make("span", {}, swatch(p.color), p.name), count(p.value), p.color === "red"
    ? "after a preemption or a change of the policy" : `${percent(share(p.value, prompts))} of ${count(prompts)} prompt tokens`);
  if (amount(stats, "prefix_cache.loaded_tokens"))
    fact("tokens loaded from earlier jobs", count(amount(stats, "prefix_cache.loaded_tokens")),
      `${bytes(amount(stats, "prefix_cache.loaded_bytes"))} of the prefix cache`);
  fact("tokens tried ahead", count(guesses), `in ${count(tokens("drafted_steps"))} of ${count(tokens("steps"))} steps`);
  fact("of these right", count(tokens("accepted")), guesses ? `${percent(share(tokens("accepted"), guesses))}; each is a step that its row did not take`
    : "each is a step that its row does not take");
  const more = (what, path, whole, why) => {
    if (amount(stats, whole) > 0) fact(what, bytes(amount(stats, path)), `of ${bytes(amount(stats, whole))}${why}`);
  };
  more("values not read by sparse attention", "sparse_attention.spared_bytes", "sparse_attention.value_bytes", " that tokens saw");
  if (amount(stats, "crossing.spared_page_bytes"))
    fact("pages that stayed where they were", bytes(amount(stats, "crossing.spared_page_bytes")), "the CPU attended to them");
  if (amount(stats, "experts.used"))
    fact("experts found in memory", percent(share(amount(stats, "experts.hits"), amount(stats, "experts.used"))), `of ${count(amount(stats, "experts.used"))} uses`);
  return section("Tokens not computed", make("h3", {}, "Prompts"), bar(parts, whole), table(["", {number: ""}, {aside: ""}], facts));
};

const stepTimeline = (stats) => {
  const kept = at(stats, "last_steps");
  const steps = (Array.isArray(kept) ? kept.slice(-200) : []).filter((s) => number(s, "begin_s") !== null && amount(s, "step_s") > 0);
  if (!steps.length) return null;
  const begin = amount(steps[0], "begin_s"), last = steps.at(-1), end = amount(last, "begin_s") + amount(last, "step_s");
  const box = (from, to, low, high, color) => draw("rect", {x: from, width: Math.max(0, to - from), y: HEIGHT * (1 - high),
    height: HEIGHT * (high - low), fill: `var(--${color})`});
  const drawn = steps.map((s) => {
    const x = (time) => WIDTH * share(time - begin, end - begin), all = amount(s, "step_s");
    const compute = Math.min(1, amount(s, "compute_s") / all), wait = Math.min(1 - compute, amount(s, "wait_read_s") / all);
    const from = x(amount(s, "begin_s")), to = Math.max(from + 0.5, x(amount(s, "begin_s") + all) - 0.8);
    return draw("g", {}, draw("title", {}, `${seconds(all)}: ${count(amount(s, "rows"))} rows, ` +
      `${count(amount(s, "prompt_tokens"))} prompt and ${count(amount(s, "generated_tokens"))} generated tokens`),
      box(from, to, 0, compute, "blue"), box(from, to, compute, compute + wait, "orange"), box(from, to, compute + wait, 1, "violet"));
  });
  const times = [begin, ...steps.map((s) => amount(s, "begin_s") + amount(s, "step_s"))];
  const chart = {times, series: [
    {name: "rows", values: steps.map((s) => amount(s, "rows"))},
    {name: "prompt", values: steps.map((s) => amount(s, "prompt_tokens"))},
    {name: "generated", values: steps.map((s) => amount(s, "generated_tokens"))}]};
  const title = steps.length === 1 ? "The last step" : `The last ${steps.length} steps`;
  return section(title,
    make("figure", {}, make("figcaption", {}, TIME.slice(0, 3).map((t) => make("span", {class: "key"}, swatch(t.color), t.name))),
      make("div", {class: "plot"}, draw("svg", {viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img",
        "aria-label": title, style: "height:70px"}, drawn)),
      make("div", {class: "ends"}, make("span", {}, seconds(begin)), make("span", {}, seconds(end)))),
    make("div", {class: "pair", style: "margin-top:12px"},
      figure({title: "Tokens of a step", times: chart.times, format: digits, stacked: true, series: [
        {...chart.series[1], color: "blue"}, {...chart.series[2], color: "green"}]}),
      figure({title: "Rows of a step", times: chart.times, format: digits, series: [{...chart.series[0], color: "blue"}]})));
};

// ---- plan and model --------------------------------------------------------------------------------------

const placement = (stats) => {
  const policy = (name) => amount(stats, `policy.${name}`);
  const weights = amount(stats, "model.weight_bytes"), resident = Math.min(weights, amount(stats, "model.resident_weight_bytes"));
  const cache = policy("kv_pages") * policy("kv_page_tokens"), page = policy("kv_page_tokens");
  const host = Math.min(cache, policy("kv_host_pages") * page), disk = Math.min(cache - host, policy("kv_disk_pages") * page);
  const tokens = (value) => `${count(value)} tokens`;
  // Tables of tokens are not counted as resident, wherever they are.
  const rest = at(stats, "policy.tables_resident") === true ? "tables in memory, or streamed" : "streamed from disk";
  const rows = [
    ["Weights", weights, bytes, [{name: "in memory", color: "blue", value: resident}, {name: rest, color: "orange", value: weights - resident}]],
    ["KV cache", cache, tokens, [{name: "where it is computed", color: "blue", value: cache - host - disk},
      {name: "in host memory", color: "green", value: host}, {name: "on disk", color: "orange", value: disk}]],
  ].filter((row) => row[1] > 0);
  return rows.map(([what, whole, format, parts]) => [
    make("h3", {}, `${what}: ${format(whole)} `, parts.filter((p) => p.value > 0).map((p) =>
      make("span", {class: "key"}, swatch(p.color), `${p.name} ${format(p.value)} `))),
    bar(parts, whole)]);
};

const PLAN_WORDS = [
  ["max_num_batched_tokens", "tokens of a step", count], ["max_num_seqs", "sequences that run at once", count],
  ["max_model_len", "tokens of the longest sequence", count], ["micro_batch_tokens", "tokens of a batch in a layer pass", count],
  ["ring_bytes", "ring for streamed weights", bytes], ["kv_page_tokens", "tokens of a page of the KV cache", count],
  ["kv_pages", "pages of the KV cache", count], ["kv_frames", "frames for pages that are read", count],
  ["hidden_memory_tokens", "residual stream kept in memory, tokens", count],
  ["hidden_disk_tokens", "residual stream kept on disk, tokens", count],
];

const plan = (stats) => {
  const model = (name) => text(stats, `model.${name}`, "–"), parameters = number(stats, "model.parameters");
  const rows = PLAN_WORDS.map(([key, what, format]) => [what, number(stats, `policy.${key}`), format])
    .filter(([, value]) => value !== null && value > 0).map(([what, value, format]) => [what, {number: format(value)}]);
  const order = text(stats, "policy.row_order");
  if (order) rows.push(["order of rows", {number: order}]);
  return section("The plan", placement(stats), make("div", {class: "pair"},
    table([], rows),
    table([], [["model", {number: model("name")}], ["architecture", {number: model("architecture")}],
      ["parameters", {number: count(parameters)}], ["device", {number: model("device")}], ["products in", {number: model("dtype")}],
      ["weights in", {number: model("weight_dtype")}], ["KV cache in", {number: model("cache_dtype")}], ["reads by", {number: model("io")}]])));
};

// ---- the page --------------------------------------------------------------------------------------------

const tile = (value, what) => make("div", {class: "tile"}, make("b", {}, value), make("span", {}, what));

const tiles = (stats) => {
  const done = number(stats, "rows.done"), failed = amount(stats, "rows.failed"), total = amount(stats, "rows.total");
  return make("div", {class: "tiles"},
    tile(rate(number(stats, "tokens.generated_per_s")), `generated tokens, ${count(number(stats, "tokens.generated"))} in all`),
    tile(rate(number(stats, "tokens.prompt_per_s")), `prompt tokens computed, ${count(number(stats, "tokens.prompt"))} in all`),
    tile(seconds(number(stats, "phases.run_s")), `run, after ${seconds(number(stats, "phases.open_s"))} of opening`),
    done === null ? null : tile(total ? `${count(done)} of ${count(total)}` : count(done), failed ? `rows, ${count(failed)} with errors` : "rows"),
    tile(bytes(number(stats, "tiers.host.process_peak_bytes")), `resident at most, of ${bytes(number(stats, "tiers.host.budget_bytes"))}`),
    tile(bytes(number(stats, "tiers.disk.read_bytes")), "read from disk"));
};

// ---- a server ----------------------------------------------------------------------------------------------

// Tokens a second of the steps that ended within the last ten seconds.
const LATELY = 10;
const lately = (stats, name) => {
  const kept = at(stats, "last_steps"), now = amount(stats, "server.uptime_s");
  const steps = (Array.isArray(kept) ? kept : []).filter((s) => now - amount(s, "begin_s") - amount(s, "step_s") < LATELY);
  if (!steps.length) return 0;
  const tokens = steps.reduce((sum, s) => sum + amount(s, name), 0);
  return share(tokens, Math.max(now - amount(steps[0], "begin_s"), 1e-3));
};

const batchTable = (stats) => {
  const batches = at(stats, "batches");
  if (!Array.isArray(batches) || !batches.length) return note("No batches.");
  return table(["batch", "state", {number: "rows"}, {number: "with errors"}, {aside: ""}], batches.slice(0, 50).map((b) => {
    const counts = (name) => amount(b, `request_counts.${name}`), done = counts("completed") + counts("failed");
    return [text(b, "id"), text(b, "status"), {number: `${count(done)} of ${count(counts("total"))}`}, {number: count(counts("failed"))},
      {aside: meter(done, counts("total"), "blue")}];
  }));
};

const serverNow = (stats) => {
  const server = (name) => number(stats, `server.${name}`);
  return [make("div", {class: "tiles"},
    tile(rate(lately(stats, "generated_tokens")), "generated tokens, lately"),
    tile(rate(lately(stats, "prompt_tokens")), "prompt tokens computed, lately"),
    tile(`${count(server("requests_running"))} + ${count(server("requests_waiting"))}`, "requests that run, and wait"),
    tile(count(server("requests_ended")), `answered; ${count(server("requests_refused"))} refused, ${count(server("requests_cancelled"))} given up`),
    tile(count(server("connections")), "connections"),
    tile(bytes(number(stats, "tiers.host.used_bytes")), `reserved now, of ${bytes(number(stats, "tiers.host.budget_bytes"))}`)),
  section("Batches", batchTable(stats))];
};

const heading = (stats, state) => make("header", {},
  make("h1", {}, text(stats, "model.name", "flexgen"), make("span", {class: `badge ${state.kind}`}, state.word)),
  make("div", {class: "soft"}, `flexgen ${text(stats, "command")} ${text(stats, "version")}, ${text(stats, "model.device")}, ` +
    `products in ${text(stats, "model.dtype")}, weights in ${text(stats, "model.weight_dtype")}, KV cache in ${text(stats, "model.cache_dtype")}`));

const KNOWN_OUTCOMES = ["done", "failed", "interrupted", "running"]; // their badges have a colour
const stateOf = (stats) => {
  const word = text(stats, "outcome", "not known");
  return {word, kind: KNOWN_OUTCOMES.includes(word) ? word : ""};
};

const everything = (stats) => {
  const {timeline, last_steps, ...rest} = stats;
  return make("details", {}, make("summary", {}, "All figures"), make("pre", {}, JSON.stringify(rest, null, 2)));
};

const page = (stats, state = stateOf(stats)) => {
  const line = readTimeline(stats);
  const serves = number(stats, "server.uptime_s") !== null;
  return [heading(stats, state), serves ? serverNow(stats) : null, serves ? null : tiles(stats),
    line ? throughput(stats, line) : section("Throughput", note("No step ran, or the file is of a version that kept no timeline.")),
    section("Where the time went", timeTable(stats), line ? make("div", {style: "margin-top:16px"}, timeChart(line)) : null,
      make("h3", {style: "margin-top:16px"}, "By tier"), tierTable(stats)),
    section("Memory", budgets(stats), line ? make("div", {style: "margin-top:14px"}, memory(stats, line)) : null),
    compared(stats), notComputed(stats), stepTimeline(stats), plan(stats),
    make("footer", {}, everything(stats))].flat().filter(Boolean);
};

const show = (nodes) => document.getElementById("page").replaceChildren(...nodes);
const read = (id) => JSON.parse(document.getElementById(id).textContent);

const showRun = (stats, state) => {
  const open = document.querySelector("details")?.open; // of what is drawn anew
  document.title = `${text(stats, "model.name", "flexgen")}: ${text(stats, "outcome")}`;
  show(page(stats, state));
  if (open) document.querySelector("details").open = true;
};

// A live page asks again and again. What it showed last stays where nobody answers.
const POLL_MS = 2000;
const live = (url) => {
  let last = null, key = "";
  const askForKey = (why) => {
    const input = make("input", {type: "password", "aria-label": "API key", autocomplete: "off"});
    const form = make("form", {}, input, " ", make("button", {}, "Show"));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      key = input.value;
      ask();
    });
    show([make("header", {}, make("h1", {}, "flexgen")), section("API key", make("p", {}, why), form)]);
    input.focus();
  };
  const lost = () => {
    const state = {word: "no answer", kind: "lost"};
    if (last) showRun(last, state);
    else show([make("header", {}, make("h1", {}, "flexgen", make("span", {class: "badge lost"}, state.word)))]);
  };
  const ask = async () => {
    try {
      const answer = await fetch(url, {cache: "no-store", headers: key ? {Authorization: `Bearer ${key}`} : {}});
      if (answer.status === 401) return askForKey(key ? "That is not a key of this server." : "This server wants a key.");
      if (!answer.ok) throw new Error(answer.status);
      last = await answer.json();
      showRun(last);
    } catch {
      lost();
    }
    setTimeout(ask, POLL_MS);
  };
  ask();
};

const url = read("live");
if (url) live(url);
else showRun(read("data"));
})();
