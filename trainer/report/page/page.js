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
  const items = [...(waiting.length ? [`Not started: ${waiting.join(", ")}`] : []), ...report.warnings].map(prose);
  if (report.registered?.changes.length) items.push('The experiment is not what was <a href="#registered">registered before the first run</a>.');
  return items.length ? `<ul class="warnings">${items.map((item) => `<li>${item}</li>`).join("")}</ul>` : "";
}

// ---- How it was made

function provenance(report) {
  const code = (text) => `<code>${escapeHtml(text)}</code>`, { setup, environment } = report, entries = [];
  if (report.command) entries.push(["command", code(report.command)]);
  for (const [key, value] of Object.entries(environment))
    entries.push(key === "memory_bytes" ? ["memory", bytes(Number(value))] : [key.replaceAll("_", " "), escapeHtml(value)]);
  entries.push(["seeds", [...new Set(report.arms.flatMap((arm) => arm.seeds))].sort((a, b) => a - b).join(", ")],
    ["text", escapeHtml(setup.sources.join(", "))], ["tokenizer", escapeHtml(setup.tokenizer)],
    ["batch", `${setup.batch_tokens} tokens in sequences of ${setup.context}`]);
  const list = (all) => `<dl>${all.map(([key, value]) => `<dt>${escapeHtml(key)}</dt><dd>${value}</dd>`).join("")}</dl>`;
  const runs = list(report.arms.flatMap((arm) => [[`runs of ${arm.name}`, arm.runs.map((run) => `<a href="${escapeHtml(encodeURI(run.link))}/">seed ${run.seed}</a>`).join(", ")],
    ...(arm.runs[0].command ? [["", code(arm.runs[0].command)]] : [])]));
  return list(entries) + (report.arms.length > MOST_COLUMNS ? `<details><summary>Runs of ${report.arms.length} arms</summary>${runs}</details>` : runs) +
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

// ---- The page

// In their order. body(report) returns HTML; where it is empty the section is left out. early: also while no run has finished.
const SECTIONS = [
  { id: "unfinished", title: "Not finished", body: unfinishedRuns, early: true },
  { id: "loss", title: LOSS_TITLE, body: validationCurves, early: true },
  { id: "results", title: "Results", body: results },
  { id: "frontier", title: "Against the dense frontier, at equal cost of inference", body: costFrontier },
  { id: "pairs", title: "Every pair", body: pairs },
  { id: "sizes", title: "Sizes and budgets", body: sweep, early: true },
  { id: "tuning", title: "Tuning", body: tuning, early: true },
  { id: "tasks", title: "Tasks", body: tasks, early: true },
  { id: "registered", title: "What was registered before the first run", body: registered, early: true },
  { id: "settings", title: "What the arms set", body: settings },
  { id: "words", title: "Which words get the compute", body: wordDepth },
  { id: "depth", title: "Where the compute goes", body: depthText },
  { id: "routing", title: "Causal routing, layer by layer", body: routing },
  { id: "training", title: "Training", body: trainingCurves, early: true },
  { id: "samples", title: "Samples", body: samples },
  { id: "made", title: "How this was made", body: provenance },
];

function contents(sections) {
  return `<nav class="contents"><details open><summary>Contents</summary><ol>${sections.map(({ id, title }) => `<li><a href="#${id}">${title}</a></li>`).join("")}</ol></details></nav>`;
}

function renderReport(report) {
  const sections = SECTIONS.filter(({ early }) => early || report.arms.length).map((section) => ({ ...section, html: section.body(report) })).filter(({ html }) => html);
  return `<h1>${escapeHtml(report.name)}</h1>${lead(report)}${report.arms.length ? verdicts(report) : ""}${notes(report)}${contents(sections)}` +
    sections.map(({ id, title, html }) => `<section id="${id}"><h2>${title}${anchor(id)}</h2>${html}</section>`).join("");
}

const report = JSON.parse(document.getElementById("report").textContent);
let view = readView(location.hash, report.order);
document.getElementById("page").innerHTML = renderReport(report);
