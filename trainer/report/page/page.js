"use strict";
// Draws the page of a report from report.json: verdicts, results, how it was made.

// ---- Verdicts

const sentence = (text) => text && `${text[0].toUpperCase()}${text.slice(1)}. `;

// Without a comparison the reason stands in the note.
function verdictCard(title, pair, note) {
  const tone = !pair.significant ? "even" : pair.delta_percent < 0 ? "better" : "worse", none = "no verdict";
  const hint = pair.hint.replace(/^; /, ""), reason = pair.verdict.startsWith(`${none}: `) ? pair.verdict.slice(none.length + 2) : "";
  const verdict = reason ? none : pair.hint ? pair.verdict.slice(0, -pair.hint.length) : pair.verdict;
  return `<div class="card"><h3>${title}</h3><p class="verdict ${tone}">${escapeHtml(pair.arm)}: ${prose(verdict)}</p>` +
    `<p class="note">${prose(sentence(reason) + sentence(hint) + note)}</p></div>`;
}

function verdicts(report) {
  const flops = pairOf(report, report.challenger, report.best_dense, "flops");
  if (!flops) return `<p class="verdict even">${prose(report.headline)}</p>`;
  const time = pairOf(report, report.challenger, report.best_dense, "time");
  const cost = report.pairs.find((pair) => pair.arm === report.challenger && pair.cost === "forward_flops");
  const arm = armNamed(report, report.challenger), other = armNamed(report, report.best_dense);
  const role = !isRouted(other) && isRouted(arm) ? "the best dense arm" : "the baseline";
  const against = (pair) => `${pair.metric === "loss_causal" ? "Causal loss" : "Bits per byte"} ${pair.arm_loss.toFixed(4)} against ` +
    `${pair.baseline_loss.toFixed(4)} of ${other.name}, ${role}`;
  const compared = (pair) => measured(pair.delta_percent);
  const note = compared(flops) ? `${against(flops)}, after ${scientific(total(other.train_flops))} training FLOPs each. ${sentence(flops.note)}` +
    (flops.ci95 ? "The interval is the 95 % t-interval of the paired differences over seeds." : "") : "";
  return `<div class="cards">${verdictCard("At equal training FLOPs", flops, note)}` +
    (time ? verdictCard("At equal measured time", time, (compared(time) ? `${against(time)}. ` : "") + sentence(time.note)) : "") +
    (cost ? verdictCard("At equal inference FLOPs", cost, "Against the frontier of the dense arms. " + sentence(cost.note)) : "") + "</div>";
}

function notes(report) {
  const waiting = report.incomplete.filter((run) => run.endsWith("not started")).map((run) => run.split(":")[0]);
  const items = [...(waiting.length ? [`Not started: ${waiting.join(", ")}`] : []), ...report.warnings];
  return items.length ? `<ul class="warnings">${items.map((item) => `<li>${prose(item)}</li>`).join("")}</ul>` : "";
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
  const heads = report.arms.map((arm) => `<th class="${armStyle(report, arm.name)}">${escapeHtml(arm.name)}</th>`).join("");
  return '<h2>Results</h2><p class="note">Mean ± standard deviation over seeds. Hold the pointer over a row for its meaning.</p>' +
    `<div class="scroll"><table><thead><tr><th></th>${heads}</tr></thead><tbody>${rows.join("")}</tbody></table></div>`;
}

function pairs(report) {
  if (!report.pairs.length) return "";
  const rows = report.pairs.filter((pair) => pair.basis !== "cost").map((pair) => [`${escapeHtml(pair.arm)} against ${escapeHtml(pair.baseline)}`,
    pair.basis === "flops" ? "FLOPs" : pair.basis, measured(pair.delta_percent) ? signed(pair.delta_percent, 2) : "–",
    pair.ci95 ? `${signed(pair.ci95[0], 2)} … ${signed(pair.ci95[1], 2)}` : "–", pair.n_seeds, decided(pair), pair.tests > 1 ? pair.p_holm.toPrecision(2) : "–"]);
  return '<h2>Every pair</h2><p class="note">Difference of the causal loss in per cent, seed by seed; below zero the first arm is better. p: of all arms against the same ' +
    "other, after Holm's correction. A verdict holds for one pair alone; where p is above 0.05, it may be one of many that came out so by chance.</p>" +
    table(["Pair", "At equal", "Difference, %", "95\u00a0% interval", "Seeds", "Verdict", "p, Holm"], rows);
}

function provenance(report) {
  const code = (text) => `<code>${escapeHtml(text)}</code>`, { setup, environment } = report, entries = [];
  if (report.command) entries.push(["command", code(report.command)]);
  for (const [key, value] of Object.entries(environment))
    entries.push(key === "memory_bytes" ? ["memory", bytes(Number(value))] : [key.replaceAll("_", " "), escapeHtml(value)]);
  entries.push(["seeds", [...new Set(report.arms.flatMap((arm) => arm.seeds))].sort((a, b) => a - b).join(", ")],
    ["text", escapeHtml(setup.sources.join(", "))], ["tokenizer", escapeHtml(setup.tokenizer)],
    ["batch", `${setup.batch_tokens} tokens in sequences of ${setup.context}`]);
  for (const arm of report.arms) {
    entries.push([`runs of ${arm.name}`, arm.runs.map((run) => `<a href="${escapeHtml(encodeURI(run.link))}/">seed ${run.seed}</a>`).join(", ")]);
    if (arm.runs[0].command) entries.push(["", code(arm.runs[0].command)]);
  }
  return `<h2>How this was made</h2><dl>${entries.map(([key, value]) => `<dt>${escapeHtml(key)}</dt><dd>${value}</dd>`).join("")}</dl>` +
    '<p class="note">FLOPs by the ledger: linear maps 2 per weight and row, attention on the causal triangle, backward twice the forward; ' +
    "routers, predictors and the head counted; norms, activations and evaluation not.</p>";
}

function lead(report) {
  const count = (n, word) => `${n} ${word}${n === 1 ? "" : "s"}`, seeds = new Set(report.arms.flatMap((arm) => arm.seeds)).size;
  const what = report.arms.length ? `${count(report.arms.length, "arm")}, ${count(seeds, "seed")}` : "No run has finished yet";
  const setup = report.setup ? `, width ${report.setup.width}, context ${report.setup.context}; validation loss under the causal routing that generation uses` : "";
  const now = report.running ? ` Runs go on; this page says what was there at ${document.lastModified}` +
    `${report.reload_s ? ` and loads itself again every ${report.reload_s} s` : ""}.` : "";
  return `<p class="lead">${what}${setup}.${now}</p>`;
}

function renderReport(report) {
  const head = `<h1>${escapeHtml(report.name)}</h1>${lead(report)}`;
  const soFar = unfinishedRuns(report) + validationCurves(report);
  if (!report.arms.length) return head + notes(report) + soFar + tasks(report) + trainingCurves(report);
  return head + verdicts(report) + notes(report) + soFar + results(report) + costFrontier(report) + pairs(report) + tasks(report) + settings(report) +
    wordDepth(report) + depthText(report) + routing(report) + trainingCurves(report) + samples(report) + provenance(report);
}

const report = JSON.parse(document.getElementById("report").textContent);
document.getElementById("page").innerHTML = renderReport(report);
if (report.reload_s) setTimeout(() => location.reload(), 1000 * report.reload_s);
