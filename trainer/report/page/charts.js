"use strict";
// Curves and histograms as inline SVG.

const CHART = { width: 520, height: 340, left: 52, right: 116, top: 14, bottom: 46, labelDistance: 15 };

// Round numbers inside a range, about `about` of them.
function niceTicks(low, high, about) {
  if (!(high > low)) return [];
  const raw = (high - low) / about, power = 10 ** Math.floor(Math.log10(raw));
  const step = ([1, 2, 5].find((m) => m * power >= raw) ?? 10) * power, ticks = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; ++i) ticks.push(i * step);
  return ticks;
}

// With enough digits to tell neighbours apart.
function tickText(value, ticks) {
  const step = ticks.length > 1 ? ticks[1] - ticks[0] : 1;
  return value.toFixed(Math.max(0, Math.ceil(-Math.log10(step) - 1e-9)));
}

// From the lowest point to the highest after the first 30 % of the x axis, which leaves out the steep start of the curves.
// whole: all of it.
function yRange(lines, xHigh, whole) {
  let low = Infinity, high = -Infinity;
  for (const points of lines.flatMap((line) => [line.mean, ...line.seeds]))
    for (const [x, y] of points) {
      low = Math.min(low, y);
      if (whole || x >= 0.3 * xHigh || points.length === 1) high = Math.max(high, y);
    }
  if (!Number.isFinite(low)) return [0, 1];
  if (!(high > low)) return [low - 0.5, low + 0.5];
  const room = 0.06 * (high - low);
  return [low - room, high + room];
}

function axes(xLabel, [xHigh, yLow, yHigh], x, y) {
  const { width, height, left, right, bottom } = CHART, floor = height - bottom;
  const yTicks = niceTicks(yLow, yHigh, 6), xTicks = niceTicks(0, xHigh, 6);
  return yTicks.map((tick) =>
    `<line class="grid" x1="${left}" x2="${width - right}" y1="${y(tick)}" y2="${y(tick)}"/>` +
    `<text x="${left - 8}" y="${y(tick) + 4}" text-anchor="end">${tickText(tick, yTicks)}</text>`).join("") +
    xTicks.map((tick) =>
      `<line class="axis" x1="${x(tick)}" x2="${x(tick)}" y1="${floor}" y2="${floor + 5}"/>` +
      `<text x="${x(tick)}" y="${floor + 19}" text-anchor="middle">${tickText(tick, xTicks)}</text>`).join("") +
    `<line class="axis" x1="${left}" x2="${width - right}" y1="${floor}" y2="${floor}"/>` +
    `<text x="${(left + width - right) / 2}" y="${height - 6}" text-anchor="middle">${escapeHtml(xLabel)}</text>`;
}

function marker(line, px, py, value) {
  const title = `<title>${escapeHtml(line.name)}: ${value.toFixed(4)}</title>`;
  return line.routed
    ? `<rect class="dot" x="${px - 3.5}" y="${py - 3.5}" width="7" height="7">${title}</rect>`
    : `<circle class="dot" cx="${px}" cy="${py}" r="3.8">${title}</circle>`;
}

// Names beside the ends of their lines, moved apart where they would touch.
function endLabels(lines, x, y) {
  const { width, height, right, bottom, labelDistance } = CHART;
  const labels = lines.filter((line) => line.mean.length).map((line) => {
    const [px, py] = line.mean.at(-1);
    return { line, px: x(px), py: y(py), at: y(py) };
  }).sort((a, b) => a.py - b.py);
  for (let i = 1; i < labels.length; ++i) labels[i].at = Math.max(labels[i].at, labels[i - 1].at + labelDistance);
  for (let i = labels.length - 1, limit = height - bottom; i >= 0; limit = labels[i--].at - labelDistance)
    labels[i].at = Math.min(labels[i].at, limit);
  return labels.map(({ line, px, py, at }) => {
    const textX = width - right + 16, name = line.name.length > 13 ? line.name.slice(0, 12) + "…" : line.name;
    return `<path class="leader" d="M${px + 6} ${py}L${textX - 4} ${at}"/>` +
      `<text class="label ${line.style}" x="${textX}" y="${at + 4}">${escapeHtml(name)}</text>`;
  }).join("");
}

// lines: [{name, style, routed, mean: [[x, y], ...], seeds: [[[x, y], ...], ...]}]; markers: on the points of means; whole: see yRange.
function curves(title, xLabel, lines, { markers = true, whole = false } = {}) {
  const { width, height, left, right, top, bottom } = CHART, round = (v) => Math.round(10 * v) / 10;
  const xHigh = Math.max(0, ...lines.flatMap((line) => [line.mean, ...line.seeds]).flat().map(([px]) => px)) || 1;
  const [yLow, yHigh] = yRange(lines, xHigh, whole);
  const x = (v) => round(left + (v / xHigh) * (width - right - left));
  const y = (v) => round(height - bottom + ((v - yLow) / (yHigh - yLow)) * (top - height + bottom));
  const polyline = (points, style) => `<polyline class="${style}" points="${points.map(([px, py]) => `${x(px)},${y(py)}`).join(" ")}"/>`;
  const id = `clip-${title.replace(/\W/g, "")}`;
  return `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${escapeHtml(title)}">` +
    `<clipPath id="${id}"><rect x="${left - 6}" y="0" width="${width - left - right + 12}" height="${height - bottom}"/></clipPath>` +
    axes(xLabel, [xHigh, yLow, yHigh], x, y) + `<g clip-path="url(#${id})">` +
    lines.map((line) => `<g class="${line.style}">` +
      (line.seeds.length > 1 || !line.mean.length ? line.seeds.map((seed) => polyline(seed, "seed")).join("") : "") + polyline(line.mean, "mean") +
      (markers ? line.mean.map(([px, py]) => marker(line, x(px), y(py), py)).join("") : "") + "</g>").join("") +
    `</g>${endLabels(lines, x, y)}</svg>`;
}

// Router scores: all tokens in a pale colour, over them those that top-k picks.
function histogram(scores, title) {
  const width = 160, top = 20, bottom = 84, most = Math.max(1, ...scores.tokens);
  // All bins in one path, so that no gaps show between neighbours.
  const steps = (bins, style) => `<path class="${style}" d="M0 ${bottom}` + bins.map((n, i) =>
    `V${(bottom - ((bottom - top) * n) / most).toFixed(2)}H${((width * (i + 1)) / bins.length).toFixed(2)}`).join("") + `V${bottom}Z"/>`;
  const end = (score, x, anchor) => `<text x="${x}" y="98" text-anchor="${anchor}">${prose(String(+score.toPrecision(3)))}</text>`;
  return `<svg viewBox="0 0 ${width} 100" role="img" aria-label="Router scores, ${escapeHtml(title)}">` +
    `<text x="0" y="12">${escapeHtml(title)}</text>${steps(scores.tokens, "all")}${steps(scores.picked, "picked")}` +
    `<line class="axis" x1="0" x2="${width}" y1="${bottom}" y2="${bottom}"/>${end(scores.low, 0, "start")}${end(scores.high, width, "end")}</svg>`;
}
