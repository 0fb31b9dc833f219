"use strict";
// Loss against the cost of inference: the frontier of dense arms, and every arm beside it.

const MOST_LABELLED = 10; // points whose intervals are drawn in full; those of more are pale

// Dense arms that nothing cheaper beats, and on to the costliest dense arm at the last one's loss.
function frontierLine(frontier) {
  const line = frontier.points.filter((point) => point.on_frontier), dense = frontier.points.filter((point) => point.dense);
  const last = line.at(-1), costliest = dense.at(-1);
  return costliest.cost > last.cost ? [...line, { ...last, cost: costliest.cost }] : line;
}

// Where the label of each point goes so that it covers no point and no other label: [x, y, anchor]; nothing where there is no room.
function labelPlaces(points, { x, y }) {
  const taken = points.map((point) => [x(point.cost) - 5, y(point.loss) - 5, x(point.cost) + 5, y(point.loss) + 5]);
  const free = ([left, top, right, bottom]) => left >= LOG_CHART.left && right <= LOG_CHART.width && top >= 0 &&
    taken.every(([l, t, r, b]) => right < l || left > r || bottom < t || top > b);
  return points.map((point) => {
    const px = x(point.cost), py = y(point.loss), wide = 7 * point.arm.length;
    for (const [dx, dy] of [[8, -7], [-8, -7], [8, 14], [-8, 14], [9, 4], [-9, 4]]) {
      const from = dx > 0 ? px + dx : px + dx - wide, box = [from, py + dy - 10, from + wide, py + dy + 2];
      if (!free(box)) continue;
      taken.push(box);
      return [px + dx, py + dy, dx > 0 ? "start" : "end"];
    }
    return null;
  });
}

function frontierPoint(report, frontier, point, place, { x, y, clamp }) {
  const px = x(point.cost), py = y(point.loss), half = point.half_width, routed = !point.dense;
  const title = `${point.arm}: ${point.loss.toFixed(4)}${half ? ` ± ${half.toFixed(4)}` : ""} at ${costText(point.cost, frontier.unit)} ${frontier.unit}`;
  return `<g class="${armStyle(report, point.arm)}"${aboutArms(report, point.arm)}><title>${escapeHtml(title)}</title>` +
    (half ? `<line class="interval" x1="${px}" x2="${px}" y1="${y(clamp(point.loss - half))}" y2="${y(clamp(point.loss + half))}"/>` : "") +
    (routed ? `<rect class="dot" x="${px - 4}" y="${py - 4}" width="8" height="8"/>` : `<circle class="dot" cx="${px}" cy="${py}" r="4.2"/>`) +
    (place ? `<text class="label" x="${place[0]}" y="${place[1]}" text-anchor="${place[2]}">${escapeHtml(point.arm)}</text>` : "") + "</g>";
}

function frontierChart(report, frontier) {
  const points = frontier.points, scales = logScales(points.map((point) => point.cost), points.map((point) => point.loss),
    points.map(({ loss, half_width: half }) => [loss - (half ?? 0), loss + (half ?? 0)])), { x, y, clamp } = scales;
  const line = frontierLine(frontier), band = line.every((point) => point.half_width);
  const path = (points) => points.map(([px, py]) => `${px},${py}`).join(" ");
  const edge = (sign) => line.map((point) => [x(point.cost), y(clamp(point.loss + sign * point.half_width))]);
  const places = labelPlaces(points, scales), crowded = points.length > MOST_LABELLED ? ' class="crowded"' : "";
  return logChart(frontier.label, frontier.unit, scales, (band ? `<polygon class="band" points="${path([...edge(1), ...edge(-1).reverse()])}"/>` : "") +
    `<polyline class="frontier" points="${path(line.map((point) => [x(point.cost), y(point.loss)]))}"/>` +
    `<g${crowded}>${points.map((point, i) => frontierPoint(report, frontier, point, places[i], scales)).join("")}</g>`);
}

// Every routed arm against the frontier at each of its costs.
function costPairs(report) {
  const pairs = report.pairs.filter((pair) => pair.basis === "cost"), arms = report.arms.filter((arm) => pairs.some((pair) => pair.arm === arm.name));
  const of = (arm, cost) => pairs.find((pair) => pair.arm === arm.name && pair.cost === cost);
  const half = (pair) => (pair.ci95 ? ` ± ${((pair.ci95[1] - pair.ci95[0]) / 2).toFixed(2)}` : "");
  const cell = (pair) => (!pair ? "–" : !measured(pair.delta_percent) ? "no verdict" :
    `${pair.significant ? "<b>" : ""}${signed(pair.delta_percent, 2)}${pair.significant ? "</b>" : ""}<span class="spread">${half(pair)}</span><br><span class="soft">${escapeHtml(pair.equivalence?.verdict ?? "")}</span>`);
  const columns = report.frontiers.map(({ cost, label }) => ({ key: cost, label: escapeHtml(label), group: "Difference to the dense frontier, %", cell: (arm) => cell(of(arm, cost)),
    value: (arm) => of(arm, cost)?.delta_percent, cellTitle: (arm) => (of(arm, cost) ? `${of(arm, cost).verdict}; ${of(arm, cost).note}` : "") }));
  const labels = Object.fromEntries(report.frontiers.map((frontier) => [frontier.cost, frontier.label]));
  const rows = pairs.map((pair) => [escapeHtml(pair.arm), escapeHtml(labels[pair.cost] ?? pair.cost), prose(pair.verdict), prose(pair.note)]);
  return armTable(report, "cost", columns, arms) +
    `<details><summary>All ${rows.length} verdicts in words</summary>${table(["Arm", "At equal", "Verdict", "Read off"], rows, { style: "cost-pairs", about: pairs.map((pair) => aboutArms(report, pair.arm)) })}</details>`;
}

function costFrontier(report) {
  if (!report.frontiers.length) return "";
  const metric = report.frontiers[0].metric === "loss_causal" ? "causal loss, nats per token" : "bits per byte";
  return '<p class="note">What a dense model of the same cost would reach: between dense arms linear in the logarithm of the ' +
    `cost, seed by seed; beyond the best dense arm as low as that; nothing is extrapolated. Vertical: ${metric}, mean over seeds with its 95\u00a0% interval. Below the line an arm is better than dense ` +
    "models of its cost.</p>" + `<div class="charts">${report.frontiers.map((frontier) => frontierChart(report, frontier)).join("")}</div>${costPairs(report)}`;
}
