"use strict";
// Question answering and inference: how every arm answers each task.

const forestSize = () => ({ top: 14, marks: 20, row: 24, bottom: 44, ...(narrow() ? { width: 350, left: 108, right: 60, letters: 12 } : { width: 520, left: 150, right: 70, letters: 18 }) });

// Shares in per cent, bits per byte as they are.
const isShare = (task) => task.main_metric !== "bits_per_byte";
const taskNumber = (task, value) => (isShare(task) ? 100 * value : value);
const taskText = (task, value) => (measured(value) ? taskNumber(task, value).toFixed(isShare(task) ? 1 : 3) : "–");
const intervalText = (task, ci95) => (ci95 ? `${taskText(task, ci95[0])}–${taskText(task, ci95[1])}` : "");
const taskUnit = (task) => (isShare(task) ? `${task.main_metric}, %` : "bits per byte");
const aheadText = (task) => (task.looks_ahead ? `${task.routing === "topk" ? "top-k" : task.routing}, looks ahead` : "");

const resultOf = (task, name) => task.arms.find((one) => one.arm === name);

// The main metric with its interval; in a second line the blocks of a token.
function taskCell(task, name) {
  const arm = resultOf(task, name);
  return arm ? `${taskText(task, arm.value)}<span class="spread"> ${intervalText(task, arm.ci95)}</span>` +
    `${measured(arm.blocks_per_token) ? `<br><small>${arm.blocks_per_token.toFixed(2)} blocks</small>` : ""}` : "–";
}

// What the result is against other arms.
function taskCellTitle(task, name) {
  const arm = resultOf(task, name);
  if (!arm) return "";
  const speed = measured(arm.tokens_per_s) ? `, ${si(arm.tokens_per_s)} tokens/s` : "";
  const pairs = task.pairs.filter((pair) => pair.arm === name).map((pair) => `against ${pair.baseline}: ${pair.verdict}`);
  return [`${name}, ${arm.seeds.length} seed${arm.seeds.length === 1 ? "" : "s"}${speed}`, ...pairs].join("\n");
}

const taskLabel = (task) => `${escapeHtml(task.task)}${task.looks_ahead ? ` <i>${aheadText(task)}</i>` : ""}<br><small>${escapeHtml(taskUnit(task))}; ${task.items} items</small>`;

// A task a column, where arms are rows.
function taskColumns(report) {
  return report.tasks.map((task) => ({ key: `${task.task}_${task.routing}`, value: (arm) => resultOf(task, arm.name)?.value, cell: (arm) => taskCell(task, arm.name),
    cellTitle: (arm) => taskCellTitle(task, arm.name),
    label: taskLabel(task) + guesses(task).map(([name, value]) => `<br><small>${name} ${taskText(task, value)}</small>`).join("") }));
}

function taskTable(report) {
  const arms = report.arms.filter((arm) => report.tasks.some((task) => task.arms.some((one) => one.arm === arm.name)));
  const heads = arms.map((arm) => `<th class="${armStyle(report, arm.name)}"${aboutArms(report, arm.name)}>${escapeHtml(arm.name)}</th>`).join("");
  const guess = (task, value) => `<td>${measured(value) ? (100 * value).toFixed(1) : "–"}</td>`;
  const cell = (task, arm) => `<td title="${escapeHtml(taskCellTitle(task, arm.name))}"${aboutArms(report, arm.name)}>${taskCell(task, arm.name)}</td>`;
  const rows = report.tasks.map((task) => `<tr${task.looks_ahead ? ' class="ahead"' : ""}><th>${taskLabel(task)}</th>` +
    `${guess(task, task.chance)}${guess(task, task.majority)}${arms.map((arm) => cell(task, arm)).join("")}</tr>`);
  return `<div class="scroll"><table class="tasks"><thead><tr><th></th><th>Chance</th><th>Majority</th>${heads}</tr></thead><tbody>${rows.join("")}</tbody></table></div>`;
}

// ---- Dots and intervals

// Ticks of guessing, with their names above; close ones share a line.
const guesses = (task) => (isShare(task) ? [["chance", task.chance], ["majority", task.majority]].filter(([, value]) => measured(value)) : []);
function guessMarks(task, x, top, floor) {
  const marks = guesses(task).map(([name, value]) => ({ name, text: taskText(task, value), px: x(taskNumber(task, value)) })).sort((a, b) => a.px - b.px);
  if (marks.length === 2 && marks[1].px - marks[0].px < 1) marks.splice(0, 2, { ...marks[0], name: "chance, majority" });
  return marks.map((mark, i) => `<line class="guess" x1="${mark.px}" x2="${mark.px}" y1="${top - 8}" y2="${floor}"/>` +
    `<text x="${mark.px + (i ? 3 : 0)}" y="${top - 14}" text-anchor="${marks.length === 1 ? "middle" : i ? "start" : "end"}">${mark.name} ${mark.text}</text>`).join("");
}

function forestRow(report, { task, arm }, x, y) {
  const routed = isRouted(armNamed(report, arm.arm)), px = x(taskNumber(task, arm.value)), [low, high] = (arm.ci95 ?? []).map((v) => x(taskNumber(task, v)));
  const ahead = task.looks_ahead ? ", top-k" : "", name = arm.arm + ahead, { left, letters } = forestSize();
  const label = shortened(arm.arm, letters - ahead.length) + ahead;
  const title = `<title>${escapeHtml(`${name}${task.looks_ahead ? " (looks ahead)" : ""}: ${taskText(task, arm.value)} ${intervalText(task, arm.ci95)}`)}</title>`;
  return `<g class="${armStyle(report, arm.arm)}${task.looks_ahead ? " ahead" : ""}">${title}<text class="label" x="${left - 12}" y="${y + 4}" text-anchor="end">${escapeHtml(label)}</text>` +
    (arm.ci95 ? `<line class="interval" x1="${low}" x2="${high}" y1="${y}" y2="${y}"/>` : "") +
    (routed ? `<rect class="dot" x="${px - 3.5}" y="${y - 3.5}" width="7" height="7"/>` : `<circle class="dot" cx="${px}" cy="${y}" r="3.8"/>`) + "</g>";
}

// One task under every routing: an arm a row.
function taskChart(report, tasks) {
  const chart = redrawable(`chart-task-${slug(tasks[0].task)}`, "chart", { draw: (shown) => drawForest(report, tasks, shown) });
  return `<figure class="card"><h3>${escapeHtml(tasks[0].task)}</h3>${chart}</figure>`;
}

function drawForest(report, tasks, shown) {
  const [first] = tasks, { width, left, right, row, bottom, marks, top: edge } = forestSize(), top = edge + (guesses(first).length ? marks : 0);
  const lines = report.arms.flatMap((arm) => tasks.flatMap((task) => task.arms.filter((one) => one.arm === arm.name && shown.has(one.arm)).map((one) => ({ task, arm: one }))));
  if (!lines.length) return "";
  const values = [...lines.flatMap(({ arm }) => [arm.value, ...(arm.ci95 ?? [])]), ...guesses(first).map(([, value]) => value)]
    .filter(measured).map((value) => taskNumber(first, value));
  const room = 0.05 * (Math.max(...values) - Math.min(...values)) || 1, low = Math.min(...values) - room, high = Math.max(...values) + room;
  const round = (v) => Math.round(10 * v) / 10, x = (v) => round(left + ((v - low) / (high - low)) * (width - right - left));
  const floor = top + row * lines.length, ticks = niceTicks(low, high, narrow() ? 4 : 5);
  return `<svg viewBox="0 0 ${width} ${floor + bottom}" role="img" aria-label="${escapeHtml(first.task)}">` +
    ticks.map((tick) => `<line class="grid" x1="${x(tick)}" x2="${x(tick)}" y1="${top - 8}" y2="${floor}"/>` +
      `<text x="${x(tick)}" y="${floor + 19}" text-anchor="middle">${tickText(tick, ticks)}</text>`).join("") +
    `<line class="axis" x1="${left}" x2="${width - right}" y1="${floor}" y2="${floor}"/>` +
    `<text x="${(left + width - right) / 2}" y="${floor + 38}" text-anchor="middle">${escapeHtml(taskUnit(first))}</text>` +
    guessMarks(first, x, top, floor) + lines.map((line, i) => forestRow(report, line, x, top + row * (i + 0.5))).join("") + "</svg>";
}

// ---- By group

// Accuracy against the group where groups are numbers, such as distances.
function groupChart(report, task, arms) {
  const lines = arms.map((arm) => ({ name: arm.arm, style: armStyle(report, arm.arm), routed: isRouted(armNamed(report, arm.arm)), seeds: [],
    mean: arm.groups.map((group) => [Number(group.group), 100 * group.acc]) }));
  return `<figure class="card"><h3>${escapeHtml(task.task)} by group, accuracy in per cent</h3>${curves(`${task.task} by group`, "group", lines, { whole: true })}</figure>`;
}

function groupTable(report, task, arms) {
  const names = [...new Set(arms.flatMap((arm) => arm.groups.map((one) => one.group)))];
  const rows = names.map((name) => {
    const of = (arm) => arm.groups.find((one) => one.group === name), percent = (value) => (100 * value).toFixed(1);
    const cell = (one) => (one ? `${percent(one.acc)}<span class="spread"> ${one.ci95 ? one.ci95.map(percent).join("–") : ""}</span>` : "–");
    return [escapeHtml(name), arms.map(of).find((one) => one).items, ...arms.map((arm) => cell(of(arm)))];
  });
  const heads = ["Group", "Items", ...arms.map((arm) => `<span class="${armStyle(report, arm.arm)}">${escapeHtml(arm.arm)}</span>`)];
  return `<details><summary>${escapeHtml(task.task)}${task.looks_ahead ? ` <i>${aheadText(task)}</i>` : ""}: ${names.length} groups</summary>${table(heads, rows, { columns: ["", "", ...arms.map((arm) => aboutArms(report, arm.arm))] })}</details>`;
}

function taskGroups(report) {
  const grouped = report.tasks.map((task) => ({ task, arms: task.arms.filter((arm) => arm.groups) })).filter(({ arms }) => arms.length);
  if (!grouped.length) return "";
  const numeric = grouped.filter(({ task, arms }) => !task.looks_ahead && arms.every((arm) => arm.groups.length > 2 && arm.groups.every((one) => Number.isFinite(Number(one.group)))));
  return subheading("tasks-by-group", "By group") + '<p class="note">Accuracy among the items of each group that a task file names (group:), such as a distance or a phenomenon, with its 95\u00a0% interval.</p>' +
    `<div class="charts">${numeric.map(({ task, arms }) => groupChart(report, task, arms)).join("")}</div>` +
    grouped.map(({ task, arms }) => groupTable(report, task, arms)).join("");
}

// ---- During training

function taskCurves(report) {
  const all = allRuns(report).flatMap((run) => run.task_curves ?? []), of = (curve, { task, routing }) => curve.task === task && curve.routing === routing;
  const shown = all.filter((curve, i) => all.findIndex((other) => of(curve, other)) === i && all.some((other) => of(curve, other) && other.points.length > 1));
  if (!shown.length) return "";
  const [label, flops] = flopsAxis(report);
  const chart = (which) => {
    const points = (run) => ((run.task_curves ?? []).find((curve) => of(curve, which))?.points ?? []).map(([x, y]) => [flops(x), taskNumber(which, y)]);
    const lines = armLines(report, points).filter((line) => line.mean.length || line.seeds.some((seed) => seed.length));
    return `<figure class="card"><h3>${escapeHtml(which.task)}${which.looks_ahead ? ` <i>${aheadText(which)}</i>` : ""} (${escapeHtml(taskUnit(which))})</h3>` +
      `${curves(`${which.task} ${which.routing} against training FLOPs`, label, lines, { whole: true })}</figure>`;
  };
  return `<details${shown.length > 6 ? "" : " open"}><summary>Tasks during training</summary><p class="note">On the items of eval.task_items, fewer than the results above are of.</p>` +
    `<div class="charts">${shown.map(chart).join("")}</div></details>`;
}

// ---- Pairs

function taskPairs(report) {
  const points = (value) => signed(100 * value, Math.abs(100 * value) < 0.05 && value !== 0 ? 2 : 1);
  const p = (value) => (value < 0.001 ? "<\u00a00.001" : value.toFixed(3));
  const rows = report.tasks.flatMap((task) => task.pairs.map((pair) => [escapeHtml(task.task) + (task.looks_ahead ? ` <i>${aheadText(task)}</i>` : ""),
    `${escapeHtml(pair.arm)} against ${escapeHtml(pair.baseline)}`, ...(pair.n_seeds ? [pair.significant ? `<b>${points(pair.difference)}</b>` : points(pair.difference),
      `${points(pair.ci95[0])} … ${points(pair.ci95[1])}`, pair.mcnemar_p.map(p).join(", ")] : [prose(pair.verdict), "–", "–"])]));
  const about = report.tasks.flatMap((task) => task.pairs.map((pair) => aboutArms(report, pair.arm, pair.baseline)));
  return rows.length ? `<details${rows.length > 12 ? "" : " open"}><summary>Every pair on tasks</summary><p class="note">Difference in points of accuracy (shares of right answers, in per cent) ` +
    "on the same items, seed by seed; above zero the first arm is better, bold where the interval excludes zero. p: McNemar's exact test, one a seed.</p>" +
    `${table(["Task", "Pair", "Difference, points", "95\u00a0% interval", "p"], rows, { style: "task-pairs", about })}</details>` : "";
}

function tasks(report) {
  if (!report.tasks.length) return taskCurves(report);
  const names = [...new Set(report.tasks.map((task) => task.task))], many = names.length * report.arms.length > 150;
  const charts = `<div class="charts forests">${names.map((name) => taskChart(report, report.tasks.filter((task) => task.task === name))).join("")}</div>`;
  const forests = many ? `<details><summary>Dots and intervals of ${names.length} tasks</summary>${charts}</details>` : charts;
  const ahead = report.tasks.some((task) => task.looks_ahead);
  return '<p class="note">Main metric of each task, mean over seeds, with its 95\u00a0% interval (bootstrap over items and seeds, no narrower than Wilson over items). Chance: guessing; majority: always the ' +
    `commonest answer; both accuracies in per cent. Hold the pointer over a value for what it is against other arms.${ahead ? " Top-k routing looks ahead: text cannot be written with it." : ""}</p>` +
    `${report.arms.length > MOST_COLUMNS ? armTable(report, "tasks", taskColumns(report)) : taskTable(report)}${forests}${taskPairs(report)}` +
    taskGroups(report) + taskCurves(report);
}

