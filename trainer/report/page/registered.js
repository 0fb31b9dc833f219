"use strict";
// The experiment as it stood before its first run, and what has changed since.

// "2026-11-27T18:30:11Z" as "2026-11-27 18:30:11 UTC"
const timeText = (time) => time.replace("T", " ").replace(/Z$/, " UTC");

function registered(report) {
  if (!report.registered) return "";
  const { time, revision, yaml, changes, arms, settings } = report.registered, code = (text) => `<code>${escapeHtml(text)}</code>`;
  const arrow = (text) => escapeHtml(text).replaceAll(" -&gt; ", " → ");
  const plan = settings.filter(({ key }) => key.startsWith("compare.")), rest = settings.filter(({ key }) => !key.startsWith("compare."));
  const entry = ({ key, value }) => `<dt>${code(key)}</dt><dd>${code(value)}</dd>`;
  const since = changes.length ? `<p>Changed since then:</p><ul class="warnings">${changes.map((change) => `<li>${arrow(change)}</li>`).join("")}</ul>`
    : "<p>Nothing has changed since then.</p>";
  return `<p class="note">Written by <code>isobath compare</code>${time ? ` on <time datetime="${escapeHtml(time)}">${escapeHtml(timeText(time))}</time>` : ""}${revision ? `, version ${escapeHtml(revision)}` : ""}` +
    `, and never again. Keys that are not as by default, and the most important ones.</p>${since}<dl class="registered">${[...plan, ...rest].map(entry).join("")}</dl>` +
    (arms.length ? table(["Arm", "As registered"], arms.map(({ name, text }) => [escapeHtml(name), code(text)]), { style: "registered-arms" }) : "") +
    `<details class="screen"><summary>registered.yaml</summary><pre class="text-box">${escapeHtml(yaml)}</pre></details>`;
}
