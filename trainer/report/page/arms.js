"use strict";
// The legend with its controls, and tables with one row or one column for each arm.

const MOST_COLUMNS = 5; // arms that are columns of a table; more become rows

// ---- Legend

function filterBox(report, view) {
  return `<p class="controls"><input type="search" class="filter" aria-label="Filter arms" placeholder="Filter arms by name, kind, description" value="${escapeHtml(view.filter)}">` +
    '<button type="button" data-show="all">all</button><button type="button" data-show="none">none</button>' +
    `<span class="soft count" aria-live="polite">${armCount(report, view)}</span></p>`;
}

function legend(report, view) {
  const arms = everyArm(report).map((arm, i) => ({ ...arm, i })).filter((arm) => arm.begun);
  const mark = (arm) => '<svg viewBox="0 0 26 10" aria-hidden="true"><polyline class="mean" points="0,5 26,5"/>' +
    (arm.routed ? '<rect class="dot" x="9.5" y="1.5" width="7" height="7"/>' : '<circle class="dot" cx="13" cy="5" r="3.6"/>') + "</svg>";
  const item = (arm) => `<li class="${armStyle(report, arm.name)}"><label data-arm="${arm.i}" title="${escapeHtml(`${arm.name}: ${arm.description}`)}">` +
    `<input type="checkbox"${view.hidden.has(arm.name) ? "" : " checked"}>${mark(arm)}<span>${escapeHtml(arm.name)}: ${prose(arm.description)}</span></label></li>`;
  return `<div class="arms">${report.order.length > 1 ? filterBox(report, view) : ""}<ul class="legend${arms.length > MOST_COLUMNS ? " many" : ""}">${arms.map(item).join("")}</ul>` +
    (report.order.length > 1 ? '<p class="note screen">A double click on an arm, or a click with Alt, shows it alone.</p>' : "") + "</div>";
}

// ---- Tables

// Numbers by size, text by the alphabet; what is not measured comes last either way.
function sortedArms(arms, column, down) {
  if (!column) return arms;
  const rank = (value) => (value === null || value === undefined || value === "" || Number.isNaN(value) ? 1 : 0);
  const order = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true }));
  return [...arms].sort((one, other) => {
    const [a, b] = [column.value(one), column.value(other)];
    return rank(a) - rank(b) || (rank(a) ? 0 : (down ? -1 : 1) * order(a, b));
  });
}

const armColumn = { key: "arm", label: "Arm", value: (arm) => arm.name };

function sortHead(column, sort, more = "") {
  const turned = sort?.key === column.key ? (sort.down ? "descending" : "ascending") : "none";
  const long = column.label.length > 36 && !column.label.includes("<") ? ' class="long"' : "";
  return `<th scope="col" aria-sort="${turned}" data-sort="${escapeHtml(column.key)}"${column.meaning ? ` title="${escapeHtml(column.meaning)}"` : ""}${more || long}>` +
    (view.printing ? column.label : `<button type="button">${column.label}</button>`) + "</th>"; // browsers leave buttons out of a head that they repeat
}

// Neighbours of the same group: [[title, columns], ...]
function grouped(columns) {
  const groups = [];
  for (const column of columns) {
    if (!groups.length || groups.at(-1)[0] !== (column.group ?? "")) groups.push([column.group ?? "", []]);
    groups.at(-1)[1].push(column);
  }
  return groups;
}

function rowsOfArms(report, arms, groups, sort) {
  const titled = groups.some(([title]) => title), columns = groups.flatMap(([, of]) => of);
  const first = sortHead(armColumn, sort, ` class="corner"${titled ? ' rowspan="2"' : ""}`);
  const titles = groups.map(([title, of]) => `<th class="span" scope="colgroup" colspan="${of.length}"><span>${title}</span></th>`).join("");
  const heads = columns.map((column) => sortHead(column, sort)).join("");
  const starts = new Set(titled ? groups.map(([, of]) => of[0]) : []);
  const cell = (arm, column) => {
    const classes = [column.best === arm ? "best" : "", starts.has(column) ? "start" : ""].filter((c) => c).join(" ");
    return `<td${classes && ` class="${classes}"`}${column.cellTitle ? ` title="${escapeHtml(column.cellTitle(arm))}"` : ""}>${column.cell(arm)}</td>`;
  };
  const rows = arms.map((arm) => `<tr${aboutArms(report, arm.name)}><th scope="row" class="${armStyle(report, arm.name)}" title="${escapeHtml(arm.description)}">${escapeHtml(arm.name)}</th>` +
    `${columns.map((column) => cell(arm, column)).join("")}</tr>`);
  return `<div class="scroll tall"><table class="by-arm"><thead>${titled ? `<tr>${first}${titles}</tr><tr>${heads}</tr>` : `<tr>${first}${heads}</tr>`}</thead>` +
    `<tbody>${rows.join("")}</tbody></table></div>`;
}

function columnsOfArms(report, arms, groups) {
  const row = (column) => `<tr${column.meaning ? ` title="${escapeHtml(column.meaning)}"` : ""}><th>${column.label}</th>` +
    arms.map((arm) => `<td${column.best === arm ? ' class="best"' : ""}${aboutArms(report, arm.name)}>${column.cell(arm)}</td>`).join("") + "</tr>";
  const rows = groups.map(([title, of]) => (title && `<tr class="group"><th colspan="${arms.length + 1}">${title}</th></tr>`) + of.map(row).join(""));
  const heads = arms.map((arm) => `<th class="${armStyle(report, arm.name)}"${aboutArms(report, arm.name)}>${escapeHtml(arm.name)}</th>`).join("");
  return `<div class="scroll"><table><thead><tr><th></th>${heads}</tr></thead><tbody>${rows.join("")}</tbody></table></div>`;
}

// columns: [{key, label, meaning, group, cell(arm), value(arm) to sort by, best: the arm to mark, cellTitle(arm)}, ...]
function drawArmTable(report, id, columns, of, view) {
  const sort = view.sort[id];
  if (of.length <= MOST_COLUMNS) return columnsOfArms(report, of, grouped(columns));
  const arms = sortedArms(of, [armColumn, ...columns].find((column) => column.key === sort?.key), sort?.down);
  // Paper does not scroll: several tables, of about six columns each.
  const pieces = view.printing ? Math.ceil(columns.length / 6) : 1, wide = Math.ceil(columns.length / pieces);
  return Array.from({ length: pieces }, (_, i) => rowsOfArms(report, arms, grouped(columns.slice(wide * i, wide * (i + 1))), sort)).join("");
}

// A table of arms that is drawn again when it is sorted.
function armTable(report, id, columns, of = report.arms) {
  return redrawable(`table-${id}`, "arm-table", { draw: () => drawArmTable(report, id, columns, of, view) });
}
