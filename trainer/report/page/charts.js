"use strict";
// Curves and histograms as inline SVG.

// What interact.js draws again when the view changes, by the id of its element: draw(shown, zoom) returns HTML; charts of curves also say
// what lies near a place and which range a rectangle covers.
const redrawables = new Map();
function redrawable(wanted, style, parts) {
  let id = wanted;
  for (let i = 2; redrawables.has(id); ++i) id = `${wanted}-${i}`;
  redrawables.set(id, parts);
  return `<div class="${style}" id="${id}">${parts.draw(shownArms(report, view), view.zoom[id])}</div>`;
}
const slug = (text) => text.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "");

// On a phone a drawing is narrower, so that its text stays as large.
const phone = matchMedia("(max-width: 40rem)"), narrow = () => phone.matches && !view.printing;
const chartSize = () => (narrow() ? { width: 350, height: 300, left: 40, right: 94, top: 14, bottom: 46, labelDistance: 15, letters: 10 }
  : { width: 520, height: 340, left: 52, right: 116, top: 14, bottom: 46, labelDistance: 15, letters: 14 });

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

// Where values lie in the drawing, and what lies at a place. zoom: [xLow, xHigh, yLow, yHigh] of what is shown, all if undefined.
function frameOf(lines, whole, zoom) {
  const { width, height, left, right, top, bottom } = chartSize(), round = (v) => Math.round(10 * v) / 10;
  let most = 0;
  for (const line of lines) for (const points of [line.mean, ...line.seeds]) for (const [px] of points) most = Math.max(most, px);
  const [xLow, xHigh, yLow, yHigh] = zoom ?? [0, most || 1, ...yRange(lines, most || 1, whole)];
  const wide = width - right - left, high = top - height + bottom;
  return { xLow, xHigh, yLow, yHigh, x: (v) => round(left + ((v - xLow) / (xHigh - xLow)) * wide), y: (v) => round(height - bottom + ((v - yLow) / (yHigh - yLow)) * high),
    valueAt: (px, py) => [xLow + ((px - left) / wide) * (xHigh - xLow), yLow + ((py - height + bottom) / high) * (yHigh - yLow)] };
}

function axes(xLabel, { xLow, xHigh, yLow, yHigh, x, y }) {
  const { width, height, left, right, bottom } = chartSize(), floor = height - bottom;
  const yTicks = niceTicks(yLow, yHigh, 6), xTicks = niceTicks(xLow, xHigh, narrow() ? 4 : 6);
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

// Names beside the ends of their lines, moved apart where they would touch. If there is no room for all, the highest and the lowest.
function endLabels(lines, { xLow, xHigh, yLow, yHigh, x, y }) {
  const { width, height, right, top, bottom, labelDistance, letters } = chartSize(), room = Math.floor((height - bottom - top) / labelDistance);
  const inside = ([px, py]) => px >= xLow && px <= xHigh && py >= yLow && py <= yHigh;
  let labels = lines.map((line) => ({ line, end: line.mean.filter(inside).at(-1) })).filter(({ end }) => end)
    .map(({ line, end: [px, py] }) => ({ line, px: x(px), py: y(py), at: y(py) })).sort((a, b) => a.py - b.py);
  if (labels.length > room) labels = [...labels.slice(0, Math.floor(room / 2)), ...labels.slice(labels.length - Math.ceil(room / 2))];
  for (let i = 1; i < labels.length; ++i) labels[i].at = Math.max(labels[i].at, labels[i - 1].at + labelDistance);
  for (let i = labels.length - 1, limit = height - bottom; i >= 0; limit = labels[i--].at - labelDistance)
    labels[i].at = Math.min(labels[i].at, limit);
  return labels.map(({ line, px, py, at }) => {
    const textX = width - right + 16, name = shortened(line.name, letters);
    return `<path class="leader" d="M${px + 6} ${py}L${textX - 4} ${at}"/>` +
      `<text class="label ${line.style}" x="${textX}" y="${at + 4}">${escapeHtml(name)}</text>`;
  }).join("");
}

// Names of arms often differ in their ends alone.
const shortened = (name, most) => (name.length > most ? `${name.slice(0, Math.ceil((most - 1) / 2))}…${name.slice(name.length - Math.floor((most - 1) / 2))}` : name);

// ---- Curves

const MOST_THIN = 8; // arms up to which single seeds are drawn beside their means, and every point is marked

// lines: [{name, style, routed, mean: [[x, y], ...], seeds: [[[x, y], ...], ...]}]; markers: on the points of means, of many arms on the last ones;
// whole: see yRange.
function curves(title, xLabel, lines, { markers = true, whole = false } = {}) {
  const chart = { title, xLabel, lines, markers, whole };
  return redrawable(`chart-${slug(title)}`, "chart", {
    draw: (shown, zoom) => drawCurves(chart, shown, zoom),
    near: (shown, zoom, px, py) => pointNear(chart, shown, zoom, px, py),
    range: (shown, zoom, corner, other) => rangeBetween(frameOf(linesOf(chart, shown), whole, zoom), corner, other) });
}

const linesOf = (chart, shown) => chart.lines.filter((line) => shown.has(line.name));
const thinToo = (lines) => new Set(lines.map((line) => line.name)).size <= MOST_THIN;
const seedsDrawn = (line, thin) => (!line.mean.length || (thin && line.seeds.length > 1) ? line.seeds : []);

function drawCurves({ title, xLabel, lines: all, markers, whole }, shown, zoom) {
  const { width, height, left, right, bottom } = chartSize(), lines = linesOf({ lines: all }, shown), frame = frameOf(lines, whole, zoom), { x, y } = frame;
  const polyline = (points, style) => `<polyline class="${style}" points="${points.map(([px, py]) => `${x(px)},${y(py)}`).join(" ")}"/>`;
  const id = `clip-${title.replace(/\W/g, "")}`, thin = thinToo(lines);
  return `<svg class="curves" viewBox="0 0 ${width} ${height}" role="img" aria-label="${escapeHtml(title)}">` +
    `<clipPath id="${id}"><rect x="${left - 6}" y="0" width="${width - left - right + 12}" height="${height - bottom}"/></clipPath>` +
    axes(xLabel, frame) + `<g clip-path="url(#${id})">` +
    lines.map((line) => `<g data-line="${all.indexOf(line)}" class="${line.style}">` + seedsDrawn(line, thin).map((seed) => polyline(seed, "seed")).join("") + polyline(line.mean, "mean") +
      (markers ? line.mean.slice(thin ? 0 : -1).map(([px, py]) => marker(line, x(px), y(py), py)).join("") : "") + "</g>").join("") +
    `</g>${endLabels(lines, frame)}</svg>`;
}

// ---- Under the pointer

const spreadOf = (values) => (values.length > 1 ? Math.sqrt(values.reduce((sum, v) => sum + (v - mean(values)) ** 2, 0) / (values.length - 1)) : null);

// The closest point within reach of a place of the drawing; null: none. Means before single seeds, which are only drawn beside them.
function pointNear(chart, shown, zoom, px, py) {
  const lines = linesOf(chart, shown), { x, y, xLow, xHigh, yLow, yHigh } = frameOf(lines, chart.whole, zoom);
  const inside = (vx, vy) => vx >= xLow && vx <= xHigh && vy >= yLow && vy <= yHigh;
  let best = null, reach = 30;
  for (const line of lines)
    for (const points of line.mean.length ? [line.mean] : line.seeds)
      points.forEach(([vx, vy], i) => {
        const distance = inside(vx, vy) ? Math.hypot(x(vx) - px, y(vy) - py) : Infinity;
        if (distance >= reach) return;
        reach = distance;
        const values = points === line.mean ? line.seeds.map((seed) => seed[i]?.[1]).filter(measured) : [];
        best = { name: line.name, style: line.style, line: chart.lines.indexOf(line), x: vx, y: vy, px: x(vx), py: y(vy), seeds: values.length, std: spreadOf(values) };
      });
  return best && { ...best, html: pointText(chart, best) };
}

function pointText(chart, point) {
  const number = (value) => prose(String(+value.toPrecision(5))), spread = measured(point.std) ? ` ± ${prose(String(+point.std.toPrecision(2)))} (${point.seeds} seeds)` : "";
  const state = /\bpartial\b/.test(point.style) ? ", not finished" : "";
  return `<b class="${point.style}">${escapeHtml(point.name)}</b>${state}<br>${number(point.y)}${spread}<br><span class="soft">at ${number(point.x)}, ${escapeHtml(chart.xLabel)}</span>`;
}

// What a dragged rectangle covers; null: too small to be meant.
function rangeBetween(frame, [ax, ay], [bx, by]) {
  const { width, height, left, right, top, bottom } = chartSize();
  const inX = (v) => Math.min(Math.max(v, left), width - right), inY = (v) => Math.min(Math.max(v, top), height - bottom);
  const xs = [inX(ax), inX(bx)].sort((a, b) => a - b), ys = [inY(ay), inY(by)].sort((a, b) => b - a);
  if (xs[1] - xs[0] < 8 || ys[0] - ys[1] < 8) return null;
  const [x0, y0] = frame.valueAt(xs[0], ys[0]), [x1, y1] = frame.valueAt(xs[1], ys[1]);
  return [x0, x1, y0, y1];
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
