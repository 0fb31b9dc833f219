"use strict";
// Question answering and inference: how every arm answers each task.

const FOREST = { width: 520, left: 150, right: 70, top: 14, marks: 20, row: 24, bottom: 44 };

// Shares in per cent, bits per byte as they are.
const isShare = (task) => task.main_metric !== "bits_per_byte";
const taskNumber = (task, value) => (isShare(task) ? 100 * value : value);
const taskText = (task, value) => (measured(value) ? taskNumber(task, value).toFixed(isShare(task) ? 1 : 3) : "–");
const intervalText = (task, ci95) => (ci95 ? `${taskText(task, ci95[0])}–${taskText(task, ci95[1])}` : "");
const taskUnit = (task) => (isShare(task) ? `${task.main_metric}, %` : "bits per byte");
const aheadText = (task) => (task.looks_ahead ? `${task.routing === "topk" ? "top-k" : task.routing}, looks ahead` : "");

// The main metric with its interval; in a second line the blocks of a token.
function taskCell(task, name) {
  const arm = task.arms.find((one) => one.arm === name);
  if (!arm) return "<td>–</td>";
  const speed = measured(arm.tokens_per_s) ? `, ${si(arm.tokens_per_s)} tokens/s` : "";
  const pairs = task.pairs.filter((pair) => pair.arm === name).map((pair) => `against ${pair.baseline}: ${pair.verdict}`);
  const title = [`${name}, ${arm.seeds.length} seed${arm.seeds.length === 1 ? "" : "s"}${speed}`, ...pairs].join("\n");
  return `<td title="${escapeHtml(title)}">${taskText(task, arm.value)}<span class="spread"> ${intervalText(task, arm.ci95)}</span>` +
    `${measured(arm.blocks_per_token) ? `<br><small>${arm.blocks_per_token.toFixed(2)} blocks</small>` : ""}</td>`;
}

function taskTable(report) {
  const arms = report.arms.filter((arm) => report.tasks.some((task) => task.arms.some((one) => one.arm === arm.name)));
  const heads = arms.map((arm) => `<th class="${armStyle(report, arm.name)}">${escapeHtml(arm.name)}</th>`).join("");
  const guess = (task, value) => `<td>${measured(value) ? (100 * value).toFixed(1) : "–"}</td>`;
  const rows = report.tasks.map((task) => `<tr${task.looks_ahead ? ' class="ahead"' : ""}><th>${escapeHtml(task.task)}${task.looks_ahead ? ` <i>${aheadText(task)}</i>` : ""}` +
    `<br><small>${escapeHtml(taskUnit(task))}; ${task.items} items</small></th>${guess(task, task.chance)}${guess(task, task.majority)}` +
    `${arms.map((arm) => taskCell(task, arm.name)).join("")}</tr>`);
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
  const ahead = task.looks_ahead ? ", top-k" : "", name = arm.arm + ahead, room = 18 - ahead.length;
  const label = (arm.arm.length > room ? `${arm.arm.slice(0, room - 1)}…` : arm.arm) + ahead;
  const title = `<title>${escapeHtml(`${name}${task.looks_ahead ? " (looks ahead)" : ""}: ${taskText(task, arm.value)} ${intervalText(task, arm.ci95)}`)}</title>`;
  return `<g class="${armStyle(report, arm.arm)}${task.looks_ahead ? " ahead" : ""}">${title}<text class="label" x="${FOREST.left - 12}" y="${y + 4}" text-anchor="end">${escapeHtml(label)}</text>` +
    (arm.ci95 ? `<line class="interval" x1="${low}" x2="${high}" y1="${y}" y2="${y}"/>` : "") +
    (routed ? `<rect class="dot" x="${px - 3.5}" y="${y - 3.5}" width="7" height="7"/>` : `<circle class="dot" cx="${px}" cy="${y}" r="3.8"/>`) + "</g>";
}

// One task under every routing: an arm a row.
function taskChart(report, tasks) {
  const [first] = tasks, { width, left, right, row, bottom } = FOREST, top = FOREST.top + (guesses(first).length ? FOREST.marks : 0);
  const lines = report.arms.flatMap((arm) => tasks.flatMap((task) => task.arms.filter((one) => one.arm === arm.name).map((one) => ({ task, arm: one }))));
  const values = [...lines.flatMap(({ arm }) => [arm.value, ...(arm.ci95 ?? [])]), ...guesses(first).map(([, value]) => value)]
    .filter(measured).map((value) => taskNumber(first, value));
  const room = 0.05 * (Math.max(...values) - Math.min(...values)) || 1, low = Math.min(...values) - room, high = Math.max(...values) + room;
  const round = (v) => Math.round(10 * v) / 10, x = (v) => round(left + ((v - low) / (high - low)) * (width - right - left));
  const floor = top + row * lines.length, ticks = niceTicks(low, high, 5);
  return `<figure class="card"><h3>${escapeHtml(first.task)}</h3><svg viewBox="0 0 ${width} ${floor + bottom}" role="img" aria-label="${escapeHtml(first.task)}">` +
    ticks.map((tick) => `<line class="grid" x1="${x(tick)}" x2="${x(tick)}" y1="${top - 8}" y2="${floor}"/>` +
      `<text x="${x(tick)}" y="${floor + 19}" text-anchor="middle">${tickText(tick, ticks)}</text>`).join("") +
    `<line class="axis" x1="${left}" x2="${width - right}" y1="${floor}" y2="${floor}"/>` +
    `<text x="${(left + width - right) / 2}" y="${floor + 38}" text-anchor="middle">${escapeHtml(taskUnit(first))}</text>` +
    guessMarks(first, x, top, floor) + lines.map((line, i) => forestRow(report, line, x, top + row * (i + 0.5))).join("") + "</svg></figure>";
}

// ---- Pairs

function taskPairs(report) {
  const points = (value) => signed(100 * value, Math.abs(100 * value) < 0.05 && value !== 0 ? 2 : 1);
  const p = (value) => (value < 0.001 ? "<\u00a00.001" : value.toFixed(3));
  const rows = report.tasks.flatMap((task) => task.pairs.map((pair) => [escapeHtml(task.task) + (task.looks_ahead ? ` <i>${aheadText(task)}</i>` : ""),
    `${escapeHtml(pair.arm)} against ${escapeHtml(pair.baseline)}`, ...(pair.n_seeds ? [pair.significant ? `<b>${points(pair.difference)}</b>` : points(pair.difference),
      `${points(pair.ci95[0])} … ${points(pair.ci95[1])}`, pair.mcnemar_p.map(p).join(", ")] : [prose(pair.verdict), "–", "–"])]));
  return rows.length ? `<details${rows.length > 12 ? "" : " open"}><summary>Every pair on tasks</summary><p class="note">Difference in points of accuracy (shares of right answers, in per cent) ` +
    "on the same items, seed by seed; above zero the first arm is better, bold where the interval excludes zero. p: McNemar's exact test, one a seed.</p>" +
    `${table(["Task", "Pair", "Difference, points", "95\u00a0% interval", "p"], rows, "task-pairs")}</details>` : "";
}

function tasks(report) {
  if (!report.tasks.length) return "";
  const names = [...new Set(report.tasks.map((task) => task.task))], ahead = report.tasks.some((task) => task.looks_ahead);
  return '<h2>Tasks</h2><p class="note">Main metric of each task, mean over seeds, with its 95\u00a0% interval (bootstrap over items and seeds). Chance: guessing; majority: always the ' +
    `commonest answer; both accuracies in per cent. Hold the pointer over a value for what it is against other arms.${ahead ? " Top-k routing looks ahead: text cannot be written with it." : ""}</p>` +
    `${taskTable(report)}<div class="charts forests">${names.map((name) => taskChart(report, report.tasks.filter((task) => task.task === name))).join("")}</div>${taskPairs(report)}`;
}

