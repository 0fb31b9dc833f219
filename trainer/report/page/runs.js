"use strict";
// What the sections share, and the sections about runs: curves, what arms set, what has not finished, samples.

const isRouted = (arm) => arm.routed_layers.length > 0;
// Beyond the eighth arm colours come again, dashed.
function armStyle(report, name) {
  const place = report.order.indexOf(name);
  return `c${place % COLORS}${place >= COLORS ? " again" : ""}`;
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

function table(heads, rows, style = "") {
  const row = (cells) => `<tr>${cells.map((cell) => `<td>${cell}</td>`).join("")}</tr>`;
  return `<div class="scroll"><table${style && ` class="${style}"`}><thead><tr>${heads.map((h) => `<th>${h}</th>`).join("")}</tr></thead>` +
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

function legend(report) {
  const begun = (name) => report.unfinished.find((run) => run.arm === name);
  const arms = report.order.map((name) => armNamed(report, name) ?? (begun(name) && { name, ...begun(name) })).filter((arm) => arm);
  return `<ul class="legend">${arms.map((arm) => `<li class="${armStyle(report, arm.name)}"><svg viewBox="0 0 26 10" aria-hidden="true">` +
    '<polyline class="mean" points="0,5 26,5"/>' + (isRouted(arm) ? '<rect class="dot" x="9.5" y="1.5" width="7" height="7"/>' : '<circle class="dot" cx="13" cy="5" r="3.6"/>') +
    `</svg><span>${escapeHtml(arm.name)}: ${prose(arm.description)}</span></li>`).join("")}</ul>`;
}

function validationCurves(report) {
  if (!allRuns(report).some((run) => run.curve.length)) return "";
  const [flopsLabel, flops] = flopsAxis(report), time = Math.max(0, ...allRuns(report).flatMap((run) => run.curve.map((p) => p.time_s)));
  const [unit, unitName] = time > 3 * 3600 ? [3600, "h"] : time > 300 ? [60, "min"] : [1, "s"];
  const loss = "Validation loss, causal routing (nats per token)";
  const chart = (by, label, x) => `<figure class="card">` +
    `${curves(`${loss} against ${by}`, label, armLines(report, (run) => run.curve.map((p) => [x(p), p.loss_causal])))}</figure>`;
  return `<h2>${loss}</h2><div class="charts">${chart("training FLOPs", flopsLabel, (p) => flops(p.train_flops_total))}` +
    `${chart("training time", `training time (${unitName})`, (p) => p.time_s / unit)}</div>${legend(report)}` +
    `<p class="note">${report.arms.some((arm) => arm.runs.length > 1) ? "Thick lines are means over seeds, thin lines single seeds. " : ""}` +
    `${report.unfinished.length ? "Dotted lines are runs that have not finished. " : ""}${curveText(report.setup)}</p>`;
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
  return '<h2>Training</h2><p class="note">Means over the steps between two records (train.log_every), under the routing of training.</p>' +
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
  return "<h2>Not finished</h2>" + (report.arms.length ? '<p class="note">These runs take no part in verdicts and results.</p>' : "") +
    table(["Run", "State", "Step", "Done", "Training loss", "Validation loss, causal"], rows);
}

function settings(report) {
  const rows = report.settings.map(({ key, values }) => [`<code>${escapeHtml(key)}</code>`,
    ...values.map((value) => (value === "" ? "–" : value === values[0] ? escapeHtml(value) : `<b>${escapeHtml(value)}</b>`))]);
  const heads = ["", ...report.arms.map((arm) => `<span class="${armStyle(report, arm.name)}">${escapeHtml(arm.name)}</span>`)];
  return rows.length ? '<h2>What the arms set</h2><p class="note">Budget, batch and learning rate, and every key in which the arms differ; bold where ' +
    `it differs from ${escapeHtml(report.arms[0].name)}. A dash: the key means nothing to that arm.</p>${table(heads, rows)}` : "";
}

function samples(report) {
  const arms = report.arms.filter((arm) => arm.runs[0].sample);
  return arms.length ? '<h2>Samples</h2><p class="note">What each arm wrote at the last validation of its first seed (eval.sample_prompt, temperature 0.8).</p>' +
    arms.map((arm) => `<details${arms.length > 4 ? "" : " open"}><summary class="${armStyle(report, arm.name)}">${escapeHtml(arm.name)}</summary>` +
      `<div class="text-box">${escapeHtml(arm.runs[0].sample)}</div></details>`).join("") : "";
}
