"use strict";
// Charts of the loss over something that is shown as a logarithm.

const LOG_CHART = { width: 520, height: 340, left: 58, right: 24, top: 22, bottom: 46 };

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

// Where values lie in a chart of these values, with its ticks. bars: [low, high] of what else should be seen, if it is not too long.
function logScales(values, losses, bars = []) {
  const { width, height, left, right, top, bottom } = LOG_CHART, round = (v) => Math.round(10 * v) / 10;
  // A few seeds may have very wide intervals: what the points themselves span decides, and long bars leave the picture.
  const least = Math.min(...losses), most = Math.max(...losses), span = most - least || 0.1, ends = [...losses, ...bars.flat()];
  const yLow = Math.max(Math.min(...ends), least - 0.4 * span) - 0.05 * span, yHigh = Math.min(Math.max(...ends), most + 0.4 * span) + 0.05 * span;
  const xLow = Math.min(...values) / 1.08, xHigh = Math.max(...values) * 1.08;
  const x = (v) => round(left + (Math.log(v / xLow) / Math.log(xHigh / xLow)) * (width - left - right));
  const y = (v) => round(height - bottom + ((v - yLow) / (yHigh - yLow)) * (top - height + bottom));
  return { x, y, xTicks: logTicks(xLow, xHigh), yTicks: niceTicks(yLow, yHigh, 6), clamp: (v) => Math.min(yHigh, Math.max(yLow, v)) };
}

// A chart with its axes; drawn: SVG of what it shows.
function logChart(title, unit, { x, y, xTicks, yTicks }, drawn) {
  const { width, height, left, right, bottom } = LOG_CHART, floor = height - bottom;
  return `<figure class="card"><h3>${escapeHtml(title)}</h3><svg viewBox="0 0 ${width} ${height}" role="img" aria-label="Loss against ${escapeHtml(title)}">` +
    yTicks.map((tick) => `<line class="grid" x1="${left}" x2="${width - right}" y1="${y(tick)}" y2="${y(tick)}"/>` +
      `<text x="${left - 8}" y="${y(tick) + 4}" text-anchor="end">${tickText(tick, yTicks)}</text>`).join("") +
    xTicks.map((tick) => `<line class="axis" x1="${x(tick)}" x2="${x(tick)}" y1="${floor}" y2="${floor + 5}"/>` +
      `<text x="${x(tick)}" y="${floor + 19}" text-anchor="middle">${costText(tick, unit)}</text>`).join("") +
    `<line class="axis" x1="${left}" x2="${width - right}" y1="${floor}" y2="${floor}"/>` +
    `<text x="${(left + width - right) / 2}" y="${height - 6}" text-anchor="middle">${escapeHtml(unit)}, logarithmic</text>${drawn}</svg></figure>`;
}
