"use strict";
// Loss against the cost of inference: the frontier of dense arms, and every arm beside it.

const FRONTIER = { width: 520, height: 340, left: 58, right: 24, top: 22, bottom: 46 };

// Tick values 1, 2 and 5 times powers of ten, only powers of ten where that are too many; round numbers where the range is narrow.
function logTicks(low, high) {
  if (high / low < 3) return niceTicks(low, high, 5);
  const ticks = (steps) => {
    const found = [];
    for (let power = 10 ** Math.floor(Math.log10(low)); power <= high; power *= 10)
      for (const step of steps) if (step * power >= low * (1 - 1e-9) && step * power <= high * (1 + 1e-9)) found.push(step * power);
    return found;
  };
  const fine = ticks([1, 1.5, 2, 3, 4, 5, 7]), some = ticks([1, 2, 5]);
  return some.length < 3 ? fine : some.length > 7 ? ticks([1]) : some;
}

// Costs in the unit that people read: seconds as milliseconds or microseconds.
function costText(value, unit) {
  if (!unit.startsWith("s ")) return si(value);
  return value < 1e-3 ? `${+(1e6 * value).toPrecision(3)}\u00a0µs` : `${+(1e3 * value).toPrecision(3)}\u00a0ms`;
}

// Dense arms that nothing cheaper beats, and on to the costliest dense arm at the last one's loss.
function frontierLine(frontier) {
  const line = frontier.points.filter((point) => point.on_frontier), dense = frontier.points.filter((point) => point.dense);
  const last = line.at(-1), costliest = dense.at(-1);
  return costliest.cost > last.cost ? [...line, { ...last, cost: costliest.cost }] : line;
}

function frontierScales(frontier) {
  const { width, height, left, right, top, bottom } = FRONTIER, points = frontier.points, round = (v) => Math.round(10 * v) / 10;
  const costs = points.map((point) => point.cost), losses = points.flatMap((p) => [p.loss - (p.half_width ?? 0), p.loss + (p.half_width ?? 0)]);
  // A few seeds may have very wide intervals: what the points themselves span decides, and long bars leave the picture.
  const means = points.map((point) => point.loss), span = Math.max(...means) - Math.min(...means) || 0.1;
  const yLow = Math.max(Math.min(...losses), Math.min(...means) - 0.4 * span) - 0.05 * span, yHigh = Math.min(Math.max(...losses), Math.max(...means) + 0.4 * span) + 0.05 * span;
  const xLow = Math.min(...costs) / 1.08, xHigh = Math.max(...costs) * 1.08;
  const x = (v) => round(left + (Math.log(v / xLow) / Math.log(xHigh / xLow)) * (width - left - right));
  const y = (v) => round(height - bottom + ((v - yLow) / (yHigh - yLow)) * (top - height + bottom));
  return { x, y, xTicks: logTicks(xLow, xHigh), yTicks: niceTicks(yLow, yHigh, 6), clamp: (v) => Math.min(yHigh, Math.max(yLow, v)) };
}

function frontierPoint(report, frontier, point, { x, y, clamp }) {
  const px = x(point.cost), py = y(point.loss), half = point.half_width, routed = !point.dense;
  const title = `${point.arm}: ${point.loss.toFixed(4)}${half ? ` ± ${half.toFixed(4)}` : ""} at ${costText(point.cost, frontier.unit)} ${frontier.unit}`;
  return `<g class="${armStyle(report, point.arm)}"${aboutArms(report, point.arm)}><title>${escapeHtml(title)}</title>` +
    (half ? `<line class="interval" x1="${px}" x2="${px}" y1="${y(clamp(point.loss - half))}" y2="${y(clamp(point.loss + half))}"/>` : "") +
    (routed ? `<rect class="dot" x="${px - 4}" y="${py - 4}" width="8" height="8"/>` : `<circle class="dot" cx="${px}" cy="${py}" r="4.2"/>`) +
    `<text class="label" x="${px > FRONTIER.width - 110 ? px - 8 : px + 8}" y="${py - 7}" text-anchor="${px > FRONTIER.width - 110 ? "end" : "start"}">${escapeHtml(point.arm)}</text></g>`;
}

function frontierChart(report, frontier) {
  const { width, height, left, right, bottom } = FRONTIER, scales = frontierScales(frontier), { x, y, clamp } = scales, floor = height - bottom;
  const line = frontierLine(frontier), band = line.every((point) => point.half_width);
  const path = (points) => points.map(([px, py]) => `${px},${py}`).join(" ");
  const edge = (sign) => line.map((point) => [x(point.cost), y(clamp(point.loss + sign * point.half_width))]);
  return `<figure class="card"><h3>${escapeHtml(frontier.label)}</h3><svg viewBox="0 0 ${width} ${height}" role="img" aria-label="Loss against ${escapeHtml(frontier.label)}">` +
    scales.yTicks.map((tick) => `<line class="grid" x1="${left}" x2="${width - right}" y1="${y(tick)}" y2="${y(tick)}"/>` +
      `<text x="${left - 8}" y="${y(tick) + 4}" text-anchor="end">${tickText(tick, scales.yTicks)}</text>`).join("") +
    scales.xTicks.map((tick) => `<line class="axis" x1="${x(tick)}" x2="${x(tick)}" y1="${floor}" y2="${floor + 5}"/>` +
      `<text x="${x(tick)}" y="${floor + 19}" text-anchor="middle">${costText(tick, frontier.unit)}</text>`).join("") +
    `<line class="axis" x1="${left}" x2="${width - right}" y1="${floor}" y2="${floor}"/>` +
    `<text x="${(left + width - right) / 2}" y="${height - 6}" text-anchor="middle">${escapeHtml(frontier.unit)}, logarithmic</text>` +
    (band ? `<polygon class="band" points="${path([...edge(1), ...edge(-1).reverse()])}"/>` : "") +
    `<polyline class="frontier" points="${path(line.map((point) => [x(point.cost), y(point.loss)]))}"/>` +
    frontier.points.map((point) => frontierPoint(report, frontier, point, scales)).join("") + "</svg></figure>";
}

function costPairs(report) {
  const labels = Object.fromEntries(report.frontiers.map((frontier) => [frontier.cost, frontier.label]));
  const pairs = report.pairs.filter((pair) => pair.basis === "cost");
  const rows = pairs.map((pair) => [escapeHtml(pair.arm), escapeHtml(labels[pair.cost] ?? pair.cost),
    measured(pair.delta_percent) ? `${pair.significant ? "<b>" : ""}${signed(pair.delta_percent, 2)}${pair.significant ? "</b>" : ""}` : "–",
    pair.ci95 ? `${signed(pair.ci95[0], 2)} … ${signed(pair.ci95[1], 2)}` : "–", pair.n_seeds, decided(pair), prose(measured(pair.delta_percent) ? pair.note : pair.verdict)]);
  return table(["Arm", "At equal", "Difference, %", "95\u00a0% interval", "Seeds", "Verdict", ""], rows, { style: "cost-pairs", about: pairs.map((pair) => aboutArms(report, pair.arm)) });
}

function costFrontier(report) {
  if (!report.frontiers.length) return "";
  const metric = report.frontiers[0].metric === "loss_causal" ? "causal loss, nats per token" : "bits per byte";
  return '<p class="note">What a dense model of the same cost would reach: between dense arms linear in the logarithm of the ' +
    `cost, seed by seed; beyond the best dense arm as low as that; nothing is extrapolated. Vertical: ${metric}, mean over seeds with its 95\u00a0% interval. Below the line an arm is better than dense ` +
    "models of its cost.</p>" + `<div class="charts">${report.frontiers.map((frontier) => frontierChart(report, frontier)).join("")}</div>${costPairs(report)}`;
}
