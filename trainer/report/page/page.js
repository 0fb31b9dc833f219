"use strict";
// Draws the page of a report from report.json.

const isRouted = (arm) => arm.routed_layers.length > 0;
const color = (report, arm) => report.arms.indexOf(arm) % COLORS;
const armNamed = (report, name) => report.arms.find((arm) => arm.name === name);
const pairOf = (report, arm, baseline, basis) => report.pairs.find((p) => p.arm === arm && p.baseline === baseline && p.basis === basis);

// One metric of an arm: the mean, the median or the value itself.
function metricValue(arm, metric) {
  const value = arm[metric.key];
  return value !== null && typeof value === "object" ? (value.mean ?? value.median ?? null) : value;
}
const anyMeasured = (report, metric) => report.arms.some((arm) => measured(metricValue(arm, metric)));
const shownMetrics = (report, group) => report.metrics.filter((m) => m.group === group && m.label && anyMeasured(report, m));

function metricCell(arm, metric) {
  const text = formatMetric(metric, metricValue(arm, metric)), std = arm[metric.key]?.std;
  return measured(std) ? `${text}<span class="spread"> ± ${formatMetric(metric, std)}</span>` : text;
}

function table(heads, rows, style = "") {
  const row = (cells) => `<tr>${cells.map((cell) => `<td>${cell}</td>`).join("")}</tr>`;
  return `<div class="scroll"><table${style && ` class="${style}"`}><thead><tr>${heads.map((h) => `<th>${h}</th>`).join("")}</tr></thead>` +
    `<tbody>${rows.map(row).join("")}</tbody></table></div>`;
}

// ---- Verdicts

function verdictCard(title, pair, note) {
  const tone = !pair.significant ? "even" : pair.delta_percent < 0 ? "better" : "worse";
  const verdict = pair.hint ? pair.verdict.slice(0, -pair.hint.length) : pair.verdict;
  const hint = pair.hint ? pair.hint[2].toUpperCase() + pair.hint.slice(3) + ". " : "";
  return `<div class="card"><h3>${title}</h3><p class="verdict ${tone}">${escapeHtml(pair.arm)}: ${prose(verdict)}</p>` +
    `<p class="note">${prose(hint + note)}</p></div>`;
}

function verdicts(report) {
  const flops = pairOf(report, report.challenger, report.best_dense, "flops");
  if (!flops) return `<p class="verdict even">${prose(report.headline)}</p>`;
  const time = pairOf(report, report.challenger, report.best_dense, "time");
  const arm = armNamed(report, report.challenger), other = armNamed(report, report.best_dense);
  const role = !isRouted(other) && isRouted(arm) ? "the best dense arm" : "the baseline";
  const against = (pair) => `${pair.metric === "loss_causal" ? "Causal loss" : "Bits per byte"} ${pair.arm_loss.toFixed(4)} against ` +
    `${pair.baseline_loss.toFixed(4)} of ${other.name}, ${role}`;
  const sentence = (text) => text && ` ${text[0].toUpperCase()}${text.slice(1)}.`;
  const compared = (pair) => measured(pair.delta_percent);
  const note = compared(flops) ? `${against(flops)}, after ${scientific(total(other.train_flops))} training FLOPs each.` + sentence(flops.note) +
    (flops.ci95 ? " The interval is the 95 % t-interval of the paired differences over seeds." : "") : "";
  return `<div class="cards">${verdictCard("At equal training FLOPs", flops, note)}` +
    (time ? verdictCard("At equal measured time", time, (compared(time) ? `${against(time)}.` : "") + sentence(time.note)) : "") + "</div>";
}

function notes(report) {
  const items = [...report.incomplete.map((run) => `Incomplete: ${run}`), ...report.warnings];
  return items.length ? `<ul class="warnings">${items.map((item) => `<li>${prose(item)}</li>`).join("")}</ul>` : "";
}

// ---- Curves

function chartLine(report, arm, x) {
  const points = (run) => run.curve.map((p) => [x(p), p.loss_causal]).filter(([, y]) => measured(y));
  const seeds = arm.runs.map(points), shortest = Math.min(...seeds.map((seed) => seed.length));
  const average = (i, axis) => seeds.reduce((sum, seed) => sum + seed[i][axis], 0) / seeds.length;
  const mean = Array.from({ length: shortest }, (_, i) => [average(i, 0), average(i, 1)]);
  return { name: arm.name, color: color(report, arm), routed: isRouted(arm), mean, seeds };
}

// Curves and results are validated on different amounts of the same text, so the last points differ from the results.
function curveText({ curve_tokens: curve, result_tokens: result }) {
  if (!measured(curve) || !measured(result) || curve === result) return "";
  return `Curves are validated on the first ${si(curve)} tokens of the validation text (eval.tokens), the results below on ${si(result)} (eval.final_tokens).`;
}

function charts(report) {
  const runs = report.arms.flatMap((arm) => arm.runs), most = (get) => Math.max(...runs.map(get));
  const flops = most((run) => total(run.train_flops)), time = most((run) => run.time_s ?? 0);
  const exponent = flops > 0 ? 3 * Math.floor(Math.log10(flops) / 3) : 0;
  const [unit, unitName] = time > 3 * 3600 ? [3600, "h"] : time > 300 ? [60, "min"] : [1, "s"];
  const loss = "Validation loss, causal routing (nats per token)";
  const chart = (by, label, x) => `<figure class="card">${curves(`${loss} against ${by}`, label, report.arms.map((arm) => chartLine(report, arm, x)))}</figure>`;
  const legend = report.arms.map((arm) => `<li class="c${color(report, arm)}"><svg viewBox="0 0 26 10" aria-hidden="true">` +
    '<polyline class="mean" points="0,5 26,5"/>' + (isRouted(arm) ? '<rect class="dot" x="9.5" y="1.5" width="7" height="7"/>' : '<circle class="dot" cx="13" cy="5" r="3.6"/>') +
    `</svg><span>${escapeHtml(arm.name)}: ${prose(arm.description)}</span></li>`).join("");
  return `<h2>${loss}</h2><div class="charts">` +
    chart("training FLOPs", `training FLOPs (10${superscript(exponent)})`, (p) => total(p.train_flops_total) / 10 ** exponent) +
    chart("training time", `training time (${unitName})`, (p) => p.time_s / unit) + `</div><ul class="legend">${legend}</ul>` +
    `<p class="note">${report.arms.some((arm) => arm.runs.length > 1) ? "Thick lines are means over seeds, thin lines single seeds. " : ""}` +
    `${curveText(report.setup)}</p>`;
}

// ---- Tables

// Among arms with every seed, for means over different seeds cannot be compared; none where the arms cannot.
function bestArm(report) {
  const seeds = new Set(report.arms.flatMap((arm) => arm.seeds)).size;
  const value = (arm) => arm[report.ranked_by]?.mean, whole = report.arms.filter((arm) => arm.seeds.length === seeds && measured(value(arm)));
  return whole.reduce((best, arm) => (best && value(best) <= value(arm) ? best : arm), null);
}

function results(report) {
  const best = bestArm(report), rows = [];
  const group = (title) => rows.push(`<tr class="group"><th colspan="${report.arms.length + 1}">${title}</th></tr>`);
  const row = (label, cell, metric = {}) => rows.push(`<tr${metric.meaning ? ` title="${escapeHtml(metric.meaning)}"` : ""}><th>${label}</th>` +
    report.arms.map((arm) => `<td${arm === best && metric.key === report.ranked_by ? ' class="best"' : ""}>${cell(arm)}</td>`).join("") + "</tr>");
  const metricRows = (name) => shownMetrics(report, name).forEach((metric) => row(metric.label, (arm) => metricCell(arm, metric), metric));
  group("Quality, at the end");
  metricRows("quality");
  row(`Against ${escapeHtml(report.best_dense)}, % of its ${report.ranked_by === "bits_per_byte_causal" ? "bits per byte" : "loss"}`, (arm) => {
    const pair = pairOf(report, arm.name, report.best_dense, "flops");
    return measured(pair?.delta_percent) ? `${signed(pair.delta_percent, 2)}\u00a0%` : "–";
  });
  row("Seeds", (arm) => arm.seeds.length);
  if (shownMetrics(report, "depth").length) group("Branches of different depth");
  metricRows("depth");
  group("Model and compute");
  row("Routed layers", (arm) => prose(arm.routing) || "–");
  metricRows("compute");
  group("Speed and memory, as measured");
  metricRows("speed");
  for (const batch of [...new Set(report.arms.flatMap((arm) => arm.decoding.map((d) => d.batch)))].sort((a, b) => a - b)) {
    group(`Text from the cache, ${batch === 1 ? "one" : batch} at a time, as measured`);
    for (const metric of report.metrics.filter((m) => m.group === "decoding"))
      row(metric.label, (arm) => formatMetric(metric, arm.decoding.find((d) => d.batch === batch)?.[metric.key]), metric);
  }
  const heads = report.arms.map((arm) => `<th class="c${color(report, arm)}">${escapeHtml(arm.name)}</th>`).join("");
  return '<h2>Results</h2><p class="note">Mean ± standard deviation over seeds. Hold the pointer over a row for its meaning.</p>' +
    `<div class="scroll"><table><thead><tr><th></th>${heads}</tr></thead><tbody>${rows.join("")}</tbody></table></div>`;
}

function pairs(report) {
  if (!report.pairs.length) return "";
  const rows = report.pairs.map((pair) => [`${escapeHtml(pair.arm)} against ${escapeHtml(pair.baseline)}`,
    pair.basis === "flops" ? "FLOPs" : pair.basis, measured(pair.delta_percent) ? signed(pair.delta_percent, 2) : "–",
    pair.ci95 ? `${signed(pair.ci95[0], 2)} … ${signed(pair.ci95[1], 2)}` : "–", pair.n_seeds]);
  return '<h2>Every pair</h2><p class="note">Difference of the causal loss in per cent, seed by seed; below zero the first arm is better.</p>' +
    table(["Pair", "At equal", "Difference, %", "95\u00a0% interval", "Seeds"], rows);
}

// ---- Routing

function routedArm(report, arm, metrics) {
  const measuredLayers = arm.by_layer.capacity_causal?.length === arm.routed_layers.length;
  if (!isRouted(arm) || !measuredLayers) return "";
  const run = arm.runs[0];
  let note = arm.routing_explained + (run.calibration_tokens > 0 ? `decisions calibrated on ${run.calibration_tokens} tokens of training text` : "decisions as trained");
  if (measured(arm.router_f1_ceiling_independent) && !measured(arm.router_f1_ceiling))
    note += `; against top-k picks, the best fixed threshold on independent scores would reach an F1 of ` +
      `${arm.router_f1_ceiling_independent.toFixed(3)} at ${report.setup.context} tokens`;
  const rows = arm.routed_layers.map((layer, i) => [layer, ...metrics.map((m) => formatMetric(m, arm.by_layer[m.key]?.[i]))]);
  const histograms = arm.routed_layers.map((layer, i) => (run.score_histogram[i] ? histogram(run.score_histogram[i], `layer ${layer}`) : "")).join("");
  return `<h3>${escapeHtml(arm.name)}</h3><p class="note">${prose(note)}.</p>` +
    table(["Layer (from\u00a00)", ...metrics.map((m) => m.label)], rows, "layers") +
    (histograms && `<figure class="histograms c${color(report, arm)}"><figcaption>Router scores of all tokens (pale) and of those that top-k picks ` +
      `(coloured), seed ${run.seed}</figcaption>${histograms}</figure>`);
}

function routing(report) {
  const metrics = shownMetrics(report, "routing"), arms = report.arms.map((arm) => routedArm(report, arm, metrics)).join("");
  const terms = metrics.map((m) => `<dt>${m.label}</dt><dd>${prose(m.meaning)}</dd>`).join("");
  return arms && `<h2>Causal routing, layer by layer</h2>${arms}<dl class="terms">${terms}</dl>`;
}

// A validation text, coloured by the number of blocks that each token went through.
function depthText(report) {
  const arms = [armNamed(report, report.challenger), ...report.arms].filter((arm) => arm && isRouted(arm) && arm.runs[0].depth_text);
  if (!arms.length) return "";
  const run = arms[0].runs[0], { layers, pieces } = run.depth_text, least = Math.min(...pieces.map(([, depth]) => depth));
  const shade = (depth) => `background:rgba(var(--depth),${(0.62 * (layers > least ? (depth - least) / (layers - least) : 0)).toFixed(2)})`;
  const text = pieces.map(([piece, depth, loss]) => `<span style="${shade(depth)}" title="${depth} of ${layers} blocks` +
    `${measured(loss) ? `, loss ${loss.toFixed(2)}` : ""}">${escapeHtml(piece)}</span>`).join("");
  const legend = Array.from({ length: layers - least + 1 }, (_, i) => least + i).map((depth) => {
    const share = pieces.filter(([, d]) => d === depth).length / pieces.length;
    return `<li><i class="swatch" style="${shade(depth)}"></i>${depth} blocks <span class="soft">${(100 * share).toFixed(0)}\u00a0%</span></li>`;
  }).join("");
  return `<h2>Where the compute goes</h2><p class="note">A validation text under causal routing in ${escapeHtml(arms[0].name)}, seed ${run.seed}: ` +
    `the stronger the shade, the more of the ${layers} blocks a token went through. Hold the pointer over a token for its loss.</p>` +
    `<ul class="legend">${legend}</ul><div class="text-box">${text}</div>`;
}

function provenance(report) {
  const code = (text) => `<code>${escapeHtml(text)}</code>`, { setup, environment } = report, entries = [];
  if (report.command) entries.push(["command", code(report.command)]);
  for (const [key, value] of Object.entries(environment))
    entries.push(key === "memory_bytes" ? ["memory", bytes(Number(value))] : [key.replaceAll("_", " "), escapeHtml(value)]);
  entries.push(["seeds", [...new Set(report.arms.flatMap((arm) => arm.seeds))].sort((a, b) => a - b).join(", ")],
    ["text", escapeHtml(setup.sources.join(", "))], ["tokenizer", escapeHtml(setup.tokenizer)],
    ["batch", `${setup.batch_tokens} tokens in sequences of ${setup.context}`]);
  for (const arm of report.arms) entries.push([`run of ${arm.name}`, code(arm.runs[0].command || arm.runs[0].folder)]);
  return `<h2>How this was made</h2><dl>${entries.map(([key, value]) => `<dt>${escapeHtml(key)}</dt><dd>${value}</dd>`).join("")}</dl>` +
    '<p class="note">FLOPs by the ledger: linear maps 2 per weight and row, attention on the causal triangle, backward twice the forward; ' +
    "routers, predictors and the head counted; norms, activations and evaluation not.</p>";
}

function renderReport(report) {
  const title = `<h1>${escapeHtml(report.name)}</h1>`;
  if (!report.arms.length) return `${title}<p class="lead">No run has finished.</p>${notes(report)}`;
  const seeds = new Set(report.arms.flatMap((arm) => arm.seeds)).size;
  return `${title}<p class="lead">${report.arms.length} arm${report.arms.length === 1 ? "" : "s"}, ${seeds} seed${seeds === 1 ? "" : "s"}, width ${report.setup.width}, context ` +
    `${report.setup.context}; validation loss under the causal routing that generation uses.</p>` +
    verdicts(report) + notes(report) + charts(report) + results(report) + pairs(report) + depthText(report) + routing(report) + provenance(report);
}

document.getElementById("page").innerHTML = renderReport(JSON.parse(document.getElementById("report").textContent));
