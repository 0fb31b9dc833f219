"use strict";
// What the sections share, and the sections about runs: curves, what has not finished, samples.

const isRouted = (arm) => arm.routed_layers.length > 0;
// Beyond the eighth arm colours come again, in other dashes (w1 to w5 of the style).
function armStyle(report, name) {
  const place = report.order.indexOf(name), wave = Math.floor(place / COLORS) % 6;
  return `c${place % COLORS}${wave ? ` w${wave}` : ""}`;
}
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

// better, worse, equal within the margin, or undecided.
function decided({ equivalence }) {
  if (!equivalence) return "–";
  const { verdict, margin_percent: margin, seeds_needed: seeds } = equivalence;
  if (verdict === "equal") return `equal within ${margin}\u00a0%`;
  return verdict === "undecided" && measured(seeds) ? `undecided; ${seeds} seeds would probably decide` : verdict;
}

// about: aboutArms of each row, so that rows of hidden arms are hidden; columns: the same of each column.
function table(heads, rows, { style = "", about = [], columns = [] } = {}) {
  const row = (cells, i) => `<tr${about[i] ?? ""}>${cells.map((cell, at) => `<td${columns[at] ?? ""}>${cell}</td>`).join("")}</tr>`;
  return `<div class="scroll"><table${style && ` class="${style}"`}><thead><tr>${heads.map((h, at) => `<th${columns[at] ?? ""}>${h}</th>`).join("")}</tr></thead>` +
    `<tbody>${rows.map(row).join("")}</tbody></table></div>`;
}

// ---- Curves

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

// One arm: thin lines of its runs and their mean. points: what to draw of a run, [[x, y], ...]
function armLine(report, arm, runs, points) {
  const seeds = runs.map((run) => points(run).filter(([, y]) => measured(y))), shortest = Math.min(...seeds.map((seed) => seed.length));
  const average = Array.from({ length: shortest }, (_, i) => [0, 1].map((axis) => mean(seeds.map((seed) => seed[i][axis]))));
  return { name: arm.name, style: armStyle(report, arm.name), routed: isRouted(arm), mean: average, seeds };
}

// Lines of all arms, and dotted ones of runs that have not finished.
function armLines(report, points) {
  const unfinished = report.unfinished.map((run) => {
    const alone = !armNamed(report, run.arm) && report.unfinished.find((other) => other.arm === run.arm) === run;
    const line = points(run).filter(([, y]) => measured(y));
    return { name: run.arm, style: `${armStyle(report, run.arm)} partial`, mean: alone ? line : [], seeds: alone ? [] : [line] };
  });
  return [...report.arms.map((arm) => armLine(report, arm, arm.runs, points)), ...unfinished];
}

// Curves and results are validated on different amounts of the same text, so the last points differ from the results.
function curveText({ curve_tokens: curve, result_tokens: result }) {
  if (!measured(curve) || !measured(result) || curve === result) return "";
  return `Curves are validated on the first ${si(curve)} tokens of the validation text (eval.tokens), the results below on ${si(result)} (eval.final_tokens).`;
}

const allRuns = (report) => [...report.arms.flatMap((arm) => arm.runs), ...report.unfinished];

// The axis of training FLOPs: its label, and where a total lies on it.
function flopsAxis(report) {
  const most = Math.max(0, ...allRuns(report).flatMap((run) => [...run.training.train_flops_total, ...run.curve.map((p) => total(p.train_flops_total))]));
  const exponent = most > 0 ? 3 * Math.floor(Math.log10(most) / 3) : 0;
  return [`training FLOPs (10${superscript(exponent)})`, (flops) => total(flops) / 10 ** exponent];
}

const LOSS_TITLE = "Validation loss, causal routing (nats per token)";
function validationCurves(report) {
  if (!allRuns(report).some((run) => run.curve.length)) return "";
  const [flopsLabel, flops] = flopsAxis(report), time = Math.max(0, ...allRuns(report).flatMap((run) => run.curve.map((p) => p.time_s)));
  const [unit, unitName] = time > 3 * 3600 ? [3600, "h"] : time > 300 ? [60, "min"] : [1, "s"];
  const chart = (by, label, x) => `<figure class="card">` +
    `${curves(`${LOSS_TITLE} against ${by}`, label, armLines(report, (run) => run.curve.map((p) => [x(p), p.loss_causal])))}</figure>`;
  return `<div class="charts">${chart("training FLOPs", flopsLabel, (p) => flops(p.train_flops_total))}` +
    `${chart("training time", `training time (${unitName})`, (p) => p.time_s / unit)}</div>${legend(report, view)}` +
    `<p class="note"><span class="screen">Hold the pointer over a curve, or tap it, for its values; drag a rectangle to zoom in, double click to zoom out. </span>${seedsText(report)}` +
    `${report.unfinished.length ? "Dotted lines are runs that have not finished. " : ""}${curveText(report.setup)}</p>`;
}

function seedsText(report) {
  if (!report.arms.some((arm) => arm.runs.length > 1)) return "";
  return `Thick lines are means over seeds, thin lines single seeds${report.order.length > MOST_THIN ? `, drawn when at most ${MOST_THIN} arms are shown` : ""}. `;
}

// Loss, learning rate and gradient norm, as training logged them.
function trainingCurves(report) {
  if (!allRuns(report).some((run) => run.training.step.length)) return "";
  const [label, flops] = flopsAxis(report);
  const chart = (metric) => {
    const points = (run) => run.training.step.map((_, i) => [flops(run.training.train_flops_total[i]), run.training[metric.key][i]]);
    const options = { markers: false, whole: metric.key !== "train_loss" };
    return `<figure class="card"><h3>${metric.label}${metric.unit && ` (${metric.unit})`}</h3>` +
      `${curves(`${metric.label} against training FLOPs`, label, armLines(report, points), options)}</figure>`;
  };
  return '<p class="note">Means over the steps between two records (train.log_every), under the routing of training.</p>' +
    `<div class="charts">${report.metrics.filter((m) => m.group === "training").map(chart).join("")}</div>`;
}

// ---- Tables of runs

const runName = (arm, seed, link) => `<a href="${escapeHtml(encodeURI(link))}/">${escapeHtml(arm)}, seed ${seed}</a>`;

function unfinishedRuns(report) {
  if (!report.unfinished.length) return "";
  const number = (value) => (measured(value) ? value.toFixed(4) : "–");
  const rows = report.unfinished.map((run) => [runName(run.arm, run.seed, run.link), escapeHtml(run.state),
    measured(run.steps_planned) ? `${run.step} of ${run.steps_planned}` : run.step,
    measured(run.steps_planned) ? `${((100 * run.step) / run.steps_planned).toFixed(0)}\u00a0%` : "–", number(run.train_loss), number(run.loss_causal)]);
  return (report.arms.length ? '<p class="note">These runs take no part in verdicts and results.</p>' : "") +
    table(["Run", "State", "Step", "Done", "Training loss", "Validation loss, causal"], rows, { about: report.unfinished.map((run) => aboutArms(report, run.arm)) });
}

function samples(report) {
  const arms = report.arms.filter((arm) => arm.runs[0].sample);
  return arms.length ? '<p class="note">What each arm wrote at the last validation of its first seed (eval.sample_prompt, temperature 0.8).</p>' +
    arms.map((arm) => `<details${arms.length > 4 ? "" : " open"}${aboutArms(report, arm.name)}><summary class="${armStyle(report, arm.name)}">${escapeHtml(arm.name)}</summary>` +
      `<div class="text-box">${escapeHtml(arm.runs[0].sample)}</div></details>`).join("") : "";
}
