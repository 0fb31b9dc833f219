"use strict";
// Numbers and text as the page shows them.

const COLORS = 8; // c0 to c7 of the style

function escapeHtml(text) {
  return String(text)
    .replace(/[&<>"']/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" })[c])
    .replace(/[\u0000-\u0008\u000b-\u001f]/g, (c) => String.fromCharCode(0x2400 + c.charCodeAt(0))); // the symbol for a control character
}

// A sentence with typographic signs and no line break between a number and its unit.
function prose(text) {
  return escapeHtml(text).replaceAll("+-", "±").replaceAll(" %", "\u00a0%").replace(/(^|[ (])-(?=\d)/g, "$1−");
}

const measured = (value) => typeof value === "number" && Number.isFinite(value);
const signed = (value, digits) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(digits);
const superscript = (n) => [...String(n)].map((c) => (c === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[+c])).join("");

function scientific(value) {
  if (!(value > 0)) return "0";
  const exponent = Math.floor(Math.log10(value) + 1e-12);
  return `${(value / 10 ** exponent).toFixed(3)} × 10${superscript(exponent)}`;
}

// 4.32k, 1.07M
function si(value) {
  let index = 0, size = Math.abs(value);
  for (; size >= 999.5 && index < 6; ++index) size /= 1000;
  const plain = index === 0 && Number.isInteger(size);
  return (value < 0 ? "−" : "") + size.toFixed(plain || size >= 99.95 ? 0 : size >= 9.995 ? 1 : 2) + ["", "k", "M", "G", "T", "P", "E"][index];
}

function bytes(value) {
  let index = 0;
  for (; Math.abs(value) >= 1023.95 && index < 4; ++index) value /= 1024;
  return `${value.toFixed(index ? 1 : 0)}\u00a0${["B", "KiB", "MiB", "GiB", "TiB"][index]}`;
}

function duration(seconds) {
  const two = (n) => String(n).padStart(2, "0"), s = Math.round(seconds);
  if (seconds < 9.95) return `${seconds.toFixed(1)}s`;
  if (s < 60) return `${s}s`;
  if (s < 3600) return `${Math.floor(s / 60)}m${two(s % 60)}s`;
  if (s < 86400) return `${Math.floor(s / 3600)}h${two(Math.floor((s % 3600) / 60))}m`;
  return `${Math.floor(s / 86400)}d${two(Math.floor((s % 86400) / 3600))}h`;
}

// One value of a metric, as its row of the table of metrics says.
function formatMetric(metric, value) {
  if (!measured(value)) return "–";
  switch (metric.format) {
    case "percent": return `${(100 * value).toFixed(metric.digits)}\u00a0%`;
    case "signed_percent": return `${signed(value, metric.digits)}\u00a0%`;
    case "si": return si(value);
    case "bytes": return bytes(value);
    case "milliseconds": return `${(1000 * value).toFixed(1)}\u00a0ms`;
    case "duration": return duration(value);
    case "scientific": return scientific(value);
    default: return value.toFixed(metric.digits).replace("-", "−");
  }
}

// Totals beyond 2^53 are digits in a string.
const total = (value) => Number(value);

// ---- Headings

const anchor = (id) => `<a class="anchor" href="#${escapeHtml(encodeURIComponent(id))}" aria-label="Link to this section">#</a>`;
const subheading = (id, html) => `<h3 id="${escapeHtml(id)}">${html}${anchor(id)}</h3>`;
