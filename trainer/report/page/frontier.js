"use strict";
// Loss against the cost of inference: the frontier of dense arms, and every arm beside it.

// Dense arms that nothing cheaper beats, and on to the costliest dense arm at the last one's loss.
function frontierLine(frontier) {
  const line = frontier.points.filter((point) => point.on_frontier), dense = frontier.points.filter((point) => point.dense);
  const last = line.at(-1), costliest = dense.at(-1);
  return costliest.cost > last.cost ? [...line, { ...last, cost: costliest.cost }] : line;
}

function frontierPoint(report, frontier, point, { x, y, clamp }) {
  const px = x(point.cost), py = y(point.loss), half = point.half_width, routed = !point.dense;
  const title = `${point.arm}: ${point.loss.toFixed(4)}${half ? ` ± ${half.toFixed(4)}` : ""} at ${costText(point.cost, frontier.unit)} ${frontier.unit}`;
  return `<g class="${armStyle(report, point.arm)}"${aboutArms(report, point.arm)}><title>${escapeHtml(title)}</title>` +
    (half ? `<line class="interval" x1="${px}" x2="${px}" y1="${y(clamp(point.loss - half))}" y2="${y(clamp(point.loss + half))}"/>` : "") +
    (routed ? `<rect class="dot" x="${px - 4}" y="${py - 4}" width="8" height="8"/>` : `<circle class="dot" cx="${px}" cy="${py}" r="4.2"/>`) +
    `<text class="label" x="${px > LOG_CHART.width - 110 ? px - 8 : px + 8}" y="${py - 7}" text-anchor="${px > LOG_CHART.width - 110 ? "end" : "start"}">${escapeHtml(point.arm)}</text></g>`;
}

function frontierChart(report, frontier) {
  const points = frontier.points, scales = logScales(points.map((point) => point.cost), points.map((point) => point.loss),
    points.map(({ loss, half_width: half }) => [loss - (half ?? 0), loss + (half ?? 0)])), { x, y, clamp } = scales;
  const line = frontierLine(frontier), band = line.every((point) => point.half_width);
  const path = (points) => points.map(([px, py]) => `${px},${py}`).join(" ");
  const edge = (sign) => line.map((point) => [x(point.cost), y(clamp(point.loss + sign * point.half_width))]);
  return logChart(frontier.label, frontier.unit, scales, (band ? `<polygon class="band" points="${path([...edge(1), ...edge(-1).reverse()])}"/>` : "") +
    `<polyline class="frontier" points="${path(line.map((point) => [x(point.cost), y(point.loss)]))}"/>` +
    points.map((point) => frontierPoint(report, frontier, point, scales)).join(""));
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
