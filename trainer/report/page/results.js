"use strict";
// The tables of results and of pairs.

// Among arms with every seed, for means over different seeds cannot be compared; none where the arms cannot.
function bestArm(report) {
  const seeds = new Set(report.arms.flatMap((arm) => arm.seeds)).size;
  const value = (arm) => arm[report.ranked_by]?.mean, whole = report.arms.filter((arm) => arm.seeds.length === seeds && measured(value(arm)));
  return whole.reduce((best, arm) => (best && value(best) <= value(arm) ? best : arm), null);
}

function metricColumns(report, name, group) {
  return shownMetrics(report, name).map((metric) => ({ key: metric.key, label: metric.label, meaning: metric.meaning, group, cell: (arm) => metricCell(arm, metric),
    value: (arm) => metricValue(arm, metric), best: metric.key === report.ranked_by ? bestArm(report) : null }));
}

function decodingColumns(report, batch) {
  const of = (arm, metric) => arm.decoding.find((d) => d.batch === batch)?.[metric.key];
  return report.metrics.filter((metric) => metric.group === "decoding" && report.arms.some((arm) => measured(of(arm, metric)))).map((metric) => ({ key: `${metric.key}_${batch}`, label: metric.label, meaning: metric.meaning,
    group: `Text from the cache, ${batch === 1 ? "one" : batch} at a time, as measured`, cell: (arm) => formatMetric(metric, of(arm, metric)), value: (arm) => of(arm, metric) }));
}

function resultColumns(report) {
  const quality = "Quality, at the end", compute = "Model and compute", delta = (arm) => pairOf(report, arm.name, report.best_dense, "flops")?.delta_percent;
  const against = { key: "against_best_dense", label: `Against ${escapeHtml(report.best_dense)}, % of its ${report.ranked_by === "bits_per_byte_causal" ? "bits per byte" : "loss"}`,
    group: quality, cell: (arm) => (measured(delta(arm)) ? `${signed(delta(arm), 2)}\u00a0%` : "–"), value: delta };
  const seeds = { key: "seeds", label: "Seeds", group: quality, cell: (arm) => arm.seeds.length, value: (arm) => arm.seeds.length };
  const routed = { key: "routing", label: "Routed layers", group: compute, cell: (arm) => prose(arm.routing) || "–", value: (arm) => arm.routing };
  const batches = [...new Set(report.arms.flatMap((arm) => arm.decoding.map((d) => d.batch)))].sort((a, b) => a - b);
  return [...metricColumns(report, "quality", quality), against, seeds, ...metricColumns(report, "depth", "Branches of different depth"),
    routed, ...metricColumns(report, "compute", compute), ...metricColumns(report, "speed", "Speed and memory, as measured"),
    ...batches.flatMap((batch) => decodingColumns(report, batch))];
}

function results(report) {
  const many = report.arms.length > MOST_COLUMNS;
  return `<p class="note">Mean ± standard deviation over seeds. Hold the pointer over a ${many ? "head" : "row"} for its meaning${many ? '<span class="screen">; click on it to sort, again to turn the order</span>' : ""}.</p>` +
    (many ? filterBox(report, view) : "") + armTable(report, "results", resultColumns(report));
}

function pairs(report) {
  if (!report.pairs.length) return "";
  const shown = report.pairs.filter((pair) => pair.basis !== "cost");
  const rows = shown.map((pair) => [`${escapeHtml(pair.arm)} against ${escapeHtml(pair.baseline)}`,
    pair.basis === "flops" ? "FLOPs" : pair.basis, measured(pair.delta_percent) ? signed(pair.delta_percent, 2) : "–",
    pair.ci95 ? `${signed(pair.ci95[0], 2)} … ${signed(pair.ci95[1], 2)}` : "–", pair.n_seeds, decided(pair), pair.tests > 1 ? pair.p_holm.toPrecision(2) : "–"]);
  const all = table(["Pair", "At equal", "Difference, %", "95\u00a0% interval", "Seeds", "Verdict", "p, Holm"], rows, { about: shown.map((pair) => aboutArms(report, pair.arm, pair.baseline)) });
  return '<p class="note">Difference of the causal loss in per cent, seed by seed; below zero the first arm is better. p: of all arms against the same ' +
    "other, after Holm's correction. A verdict holds for one pair alone; where p is above 0.05, it may be one of many that came out so by chance.</p>" +
    (rows.length > 30 ? `<details><summary>${rows.length} pairs</summary>${all}</details>` : all);
}

// One value per arm and key: what the arms set.
function settings(report) {
  if (!report.settings.length) return "";
  const place = new Map(report.arms.map((arm, i) => [arm, i]));
  const columns = report.settings.map(({ key, values }) => ({ key, label: `<code>${escapeHtml(key)}</code>`, value: (arm) => settingValue(values[place.get(arm)]), cell: (arm) => {
    const value = values[place.get(arm)];
    return value === "" ? "–" : value === values[0] ? escapeHtml(value) : `<b>${escapeHtml(value)}</b>`;
  } }));
  return '<p class="note">Budget, batch and learning rate, and every key in which the arms differ; bold where ' +
    `it differs from ${escapeHtml(report.arms[0].name)}. A dash: the key means nothing to that arm.</p>${armTable(report, "settings", columns)}`;
}
const settingValue = (text) => (text !== "" && Number.isFinite(Number(text)) ? Number(text) : text);
