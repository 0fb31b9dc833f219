"use strict";
// Where the compute goes: by word and surprisal, in a text, layer by layer.

// ---- By word

const analysed = (report) => [armNamed(report, report.challenger), ...report.arms].filter((arm, i, all) => arm?.runs[0].depth_analysis && all.indexOf(arm) === i);

function correlationText({ r, ci95 }) {
  return measured(r) ? `${signed(r, 2)} (95\u00a0%: ${signed(ci95[0], 2)} to ${signed(ci95[1], 2)})` : "– (all tokens are alike)";
}

function classTable({ classes, tokens_read: tokens }) {
  const rows = [...classes].sort((a, b) => b.count - a.count).map((one) => [escapeHtml(one.class), `${((100 * one.count) / tokens).toFixed(1)}\u00a0%`,
    one.depth.toFixed(2), measured(one.loss) ? one.loss.toFixed(2) : "–"]);
  return table(["Token class", "Share", "Blocks", "Loss"], rows);
}

// The deepest words on the left, the shallowest on the right.
function wordTable({ words: { deepest, shallowest } }) {
  const cells = (one) => (one ? [`<code title="${escapeHtml(one.example)}">${escapeHtml(one.word)}</code>`, one.count, one.depth.toFixed(2),
    measured(one.loss) ? one.loss.toFixed(2) : "–"] : ["", "", "", ""]);
  const rows = Array.from({ length: Math.max(deepest.length, shallowest.length) }, (_, i) => [...cells(deepest[i]), ...cells(shallowest[i])]);
  return table(["Deepest words", "Times", "Blocks", "Loss", "Shallowest words", "Times", "Blocks", "Loss"], rows, { style: "words" });
}

function wordDepth(report) {
  const arms = analysed(report);
  if (!arms.length) return "";
  const analysis = arms[0].runs[0].depth_analysis;
  const points = (run) => run.depth_analysis.depth_by_surprisal_tenth.map((depth, i) => [i + 1, depth]);
  const chart = curves("Depth against surprisal", "tenth of the tokens by surprisal, lowest first",
    arms.map((arm) => armLine(report, arm, [arm.runs[0]], points)), { whole: true });
  return `<p class="note">Under causal routing, on ${si(analysis.tokens_read)} tokens of validation text, first seed of each arm. ` +
    `Table and words: ${escapeHtml(arms[0].name)}; of ${analysis.layers} blocks a token goes through ${analysis.mean_depth.toFixed(2)} on average. ` +
    `Its correlation of depth with surprisal (the loss of predicting a token): ${correlationText(analysis.correlation_tokens)} by token, ${correlationText(analysis.correlation_windows)} by window.</p>` +
    `<div class="charts"><figure class="card"><h3>Blocks a token goes through, mean</h3>${chart}</figure><div class="card">${classTable(analysis)}</div></div>` +
    `${subheading("words", `Words that occur at least ${analysis.at_least} times`)}<p class="note">A word's blocks are the mean, its loss the sum over its tokens. Hold the pointer over a word for an example; ` +
    `<code>isobath analyze</code> prints more.</p>${wordTable(analysis)}`;
}

// ---- Layer by layer

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
  const body = `<p class="note">${prose(note)}.</p>${table(["Layer (from\u00a00)", ...metrics.map((m) => m.label)], rows, { style: "layers" })}` +
    (histograms && `<figure class="histograms ${armStyle(report, arm.name)}"><figcaption>Router scores of all tokens (pale) and of those that top-k picks ` +
      `(coloured), seed ${run.seed}</figcaption>${histograms}</figure>`);
  if (report.arms.filter(isRouted).length > 4) return `<details${aboutArms(report, arm.name)}><summary class="${armStyle(report, arm.name)}">${escapeHtml(arm.name)}</summary>${body}</details>`;
  return `<div${aboutArms(report, arm.name)}>${subheading(`routing-${arm.name}`, escapeHtml(arm.name))}${body}</div>`;
}

function routing(report) {
  const metrics = shownMetrics(report, "routing"), arms = report.arms.map((arm) => routedArm(report, arm, metrics)).join("");
  const terms = metrics.map((m) => `<dt>${m.label}</dt><dd>${prose(m.meaning)}</dd>`).join("");
  return arms && `${arms}<dl class="terms">${terms}</dl>`;
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
  return `<p class="note">A validation text under causal routing in ${escapeHtml(arms[0].name)}, seed ${run.seed}: ` +
    `the stronger the shade, the more of the ${layers} blocks a token went through. Hold the pointer over a token for its loss.</p>` +
    `<ul class="legend">${legend}</ul><div class="text-box">${text}</div>`;
}

