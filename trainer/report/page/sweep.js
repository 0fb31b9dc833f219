"use strict";
// Sizes and budgets: the loss of every size at every budget, the best size of each family, what equal loss costs. And trials of tuning.

const families = (report) => [...new Set(report.sweep.map((row) => row.family))];
function familyStyle(report, family) {
  const place = families(report).indexOf(family);
  return `c${place % COLORS} w${Math.floor(place / COLORS) % 6}`;
}
const siOrDash = (value) => (measured(value) ? si(value) : "–");

const swatch = '<svg viewBox="0 0 26 10" aria-hidden="true"><polyline class="mean" points="0,5 26,5"/><circle class="dot" cx="13" cy="5" r="3.6"/></svg>';

// "3.1M (2.8M … 4M)"; "?" where the interval has no end among the sizes that were tried.
function interval(bounded, show) {
  if (!bounded || !measured(bounded.value)) return "–";
  const end = (value) => (measured(value) ? show(value) : "?");
  return show(bounded.value) + (bounded.has_interval ? ` (${end(bounded.low)} … ${end(bounded.high)})` : "");
}

const named = (report, family) => `<span class="${familyStyle(report, family)}">${escapeHtml(family)}</span>`;
const budgetText = (budget) => escapeHtml(budget.replace(/flop$/, " FLOPs").replace(/tok$/, " tokens")) || "–";

// The parabola of one family at one budget, the sizes that it is fitted to and its optimum.
function isoflopCurve(report, fit, { x, y, clamp }) {
  const { optimum, loss } = fit, name = fit.family + (fit.budget ? ` at ${fit.budget}` : "");
  const best = optimum && `<g><title>${escapeHtml(`${name}: best ${si(optimum.value)}, loss ${loss.value.toFixed(4)}`)}</title>` +
    (measured(optimum.low) && measured(optimum.high) ? `<line class="interval" x1="${x(optimum.low)}" x2="${x(optimum.high)}" y1="${y(loss.value)}" y2="${y(loss.value)}"/>` : "") +
    `<rect class="optimum" x="${x(optimum.value) - 4}" y="${y(loss.value) - 4}" width="8" height="8"/></g>`;
  return `<g class="${familyStyle(report, fit.family)}"><polyline class="mean" points="${fit.curve.map(([size, value]) => `${x(size)},${y(clamp(value))}`).join(" ")}"/>` +
    fit.points.filter(([, value]) => measured(value)).map(([size, value]) => `<circle class="dot" cx="${x(size)}" cy="${y(value)}" r="3.6"><title>${escapeHtml(`${name}: ${value.toFixed(4)} at ${si(size)}`)}</title></circle>`).join("") +
    `${best || ""}</g>`;
}

function isoflopChart(report, fits) {
  const points = fits.flatMap((fit) => fit.points).filter(([, value]) => measured(value));
  const scales = logScales(points.map(([size]) => size), points.map(([, value]) => value), fits.flatMap((fit) => fit.curve.map(([, value]) => [value, value])));
  // Each budget's name once, where its first curve begins.
  const firsts = fits.filter((fit, i) => fit.budget && fits.findIndex((other) => other.budget === fit.budget) === i);
  const ends = firsts.map((fit) => [fit.budget, ...fit.curve[0]]).map(([budget, size, value]) =>
    `<text x="${scales.x(size)}" y="${scales.y(scales.clamp(value)) - 10}">${budgetText(budget)}</text>`);
  return logChart(fits[0].label, fits[0].label, scales, fits.map((fit) => isoflopCurve(report, fit, scales)).join("") + ends.join(""));
}

// Best sizes as a table, a row for each family and budget.
function optimaTable(report, fitted) {
  const axes = [...new Set(fitted.map((fit) => fit.axis))], alike = (a, b) => a.family === b.family && a.budget === b.budget;
  const best = (fit) => (!fit ? "–" : fit.optimum ? interval(fit.optimum, si) : prose(fit.reason));
  const rows = fitted.filter((fit, i) => fitted.findIndex((other) => alike(fit, other)) === i).map((fit) => {
    const all = axes.map((axis) => fitted.find((other) => other.axis === axis && alike(fit, other))), last = all.findLast((one) => one);
    return [named(report, fit.family), budgetText(fit.budget), fit.points.length, fit.seeds.length, ...all.map(best), last?.loss ? interval(last.loss, (v) => v.toFixed(4)) : "–"];
  });
  const labels = axes.map((axis) => (axis.startsWith("params") ? "Best parameters" : "Best FLOPs a token"));
  return table(["Family", "Budget", "Sizes", "Seeds", ...labels, "Loss there"], rows);
}

function optima(report) {
  const { isoflop } = report.scaling, fitted = isoflop.filter((fit) => fit.curve.length), of = ({ family, budget }) => family + (budget && ` at ${budget}`);
  const lacking = isoflop.filter((fit) => fit.sizes > 1 && !fitted.some((other) => of(other) === of(fit))).map((fit) => `${of(fit)}: ${fit.reason}`);
  const left = lacking.length ? `<p class="note">Without a fit: ${prose([...new Set(lacking)].join("; "))}.</p>` : "";
  if (!fitted.length) return report.scaling.lengths.length ? "" : left;
  const charts = [...new Set(fitted.map((fit) => fit.axis))].map((axis) => isoflopChart(report, fitted.filter((fit) => fit.axis === axis)));
  const drawn = families(report).filter((family) => fitted.some((fit) => fit.family === family));
  return '<p class="note">Causal loss, mean over the seeds that all have, and a parabola over the logarithm of the size; squares: its lowest point, with the interval over resamples of seeds ' +
    "and, of four sizes or more, of what the sizes miss the parabola by. An optimum at an edge of the sizes that were tried is none.</p>" +
    `<ul class="legend">${drawn.map((family) => `<li class="${familyStyle(report, family)}">${swatch}<span>${escapeHtml(family)}</span></li>`).join("")}</ul>` +
    `<div class="charts">${charts.join("")}</div>${optimaTable(report, fitted)}${left}`;
}

function atBest(report) {
  const { best, reference, by_compute: fits } = report.scaling, times = (bounded) => interval(bounded, (v) => v.toFixed(2));
  const fitted = new Set(report.scaling.isoflop.filter((fit) => fit.curve.length).map((fit) => fit.family));
  const rows = best.filter((one) => fitted.has(one.family)).map(({ family, budget, reason, loss_percent: loss, equal_loss: equal }) => [named(report, family), budgetText(budget), reason ? prose(reason) : interval(loss, (v) => signed(v, 2)),
    reason ? "–" : equal ? `${equal.at_smallest_size ? "at most " : ""}${times(equal.forward_flops)}` : "no size is as good", equal ? times(equal.step_time) : "–", equal ? times(equal.decode_time_1) : "–"]);
  const laws = fits.map((fit) => [named(report, fit.family), fit.budgets.length, interval(fit.loss_exponent, (v) => v.toFixed(3).replace("-", "−")), interval(fit.size_exponent, (v) => v.toFixed(2).replace("-", "−"))]);
  return (rows.length ? `<h3>Each family at its own best size, against ${escapeHtml(reference)}</h3>` +
    `<p class="note">Left: the lowest loss of the family against the lowest of ${escapeHtml(reference)}. Right: the smallest model of the family that is as good as the best ${escapeHtml(reference)}; its cost as a share ` +
    `of that one's. With 95\u00a0% intervals.</p>${table(["Family", "Budget", "Loss, %", "Forward FLOPs", "Step time", "Time a decoded token"], rows)}` : "") +
    (laws.length ? `<h3>With training compute C</h3>${table(["Family", "Budgets", "Best loss ~ C^", "Best forward FLOPs a token ~ C^"], laws)}` : "");
}

function lengths(report) {
  const rows = report.scaling.lengths.map((row) => [named(report, row.family), escapeHtml(row.size), budgetText(row.budget), row.context, siOrDash(row.forward_flops_per_token_causal),
    ...Object.values(row.share_of_reference).map((share) => (measured(share) ? share.toFixed(2) : "–")),
    measured(row.loss_percent) ? signed(row.loss_percent, 2) + (measured(row.half_width) ? ` ± ${row.half_width.toFixed(2)}` : "") : "–", row.n_seeds]);
  if (!rows.length) return "";
  return `<h3>By length of the input</h3><p class="note">Costs as a share of ${escapeHtml(report.scaling.reference)} with the same context.</p>` +
    table(["Family", "Size", "Budget", "Context", "Forward FLOPs a token", "Share of them", "Step time", "Time a decoded token", "Time a token of a prompt", "Bytes of keys and values", "Loss, %", "Seeds"], rows);
}

function sweep(report) {
  if (!report.sweep.length) return "";
  const rows = report.sweep.map((row) => [named(report, row.family), escapeHtml(row.size) || "–", budgetText(row.budget), row.context, siOrDash(row.params_non_embedding), siOrDash(row.forward_flops_per_token_causal),
    siOrDash(row.tokens), measured(row.loss_causal.mean) ? row.loss_causal.mean.toFixed(4) + (measured(row.loss_causal.std) ? ` ± ${row.loss_causal.std.toFixed(4)}` : "") : "–", row.seeds.length]);
  const all = table(["Family", "Size", "Budget", "Context", "Parameters without embeddings", "Forward FLOPs a token", "Tokens", "Causal loss", "Seeds"], rows);
  return optima(report) + atBest(report) + lengths(report) + (rows.length > 12 ? `<details><summary>All ${rows.length} sizes and budgets</summary>${all}</details>` : all);
}

function tuning(report) {
  if (!report.tuning) return "";
  const { arms, as, share_of_train_flops: share, trials } = report.tuning, settingText = (settings) => Object.entries(settings).map(([key, value]) => `${key} ${value}`).join(", ");
  const loss = (trial) => (measured(trial.loss_causal) ? trial.loss_causal.toFixed(4) : "diverged");
  const rows = arms.flatMap((arm) => arm.trials.map((trial, i) => {
    const chosen = trial.name === arm.chosen, edge = !chosen ? "" : arm.edges.length ? `chosen, at the edge of what was tried of ${arm.edges.map(({ key }) => key).join(", ")}` : "chosen";
    return [i ? "" : escapeHtml(arm.arm), chosen ? `<b>${escapeHtml(settingText(trial.settings))}</b>` : escapeHtml(settingText(trial.settings)), loss(trial), trial.losses.length, prose(edge)];
  }));
  const others = Object.entries(as).map(([arm, of]) => `${arm}: as ${of}`);
  return `<p class="note">${trials} trials before the comparison, ${(100 * share).toFixed(1)}\u00a0% of all training FLOPs, on seeds and a schedule of their own.</p>` +
    table(["Arm", "Setting", "Causal loss", "Seeds", ""], rows) + (others.length ? `<p class="note">Not tuned themselves: ${escapeHtml(others.join("; "))}.</p>` : "");
}
