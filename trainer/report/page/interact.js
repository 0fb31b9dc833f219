"use strict";
// Listens to the reader: changes the view, has redrawn what depends on it, and keeps the address in step.

const page = document.getElementById("page"), hiding = document.getElementById("hiding"), tip = document.getElementById("tip");
const wanted = (event, selector) => event.target.closest?.(selector) ?? null;

function redraw(id) {
  const element = document.getElementById(id), box = () => element.querySelector(".scroll"), left = box()?.scrollLeft;
  element.innerHTML = redrawables.get(id).draw(shownArms(report, view), view.zoom[id]);
  if (left) box().scrollLeft = left;
}
const redrawAll = () => [...redrawables.keys()].forEach(redraw);

// After a change of which arms are shown. Tables hide them by style.
function applyView() {
  hiding.textContent = hidingStyle(report, view);
  [...redrawables.keys()].filter((id) => !id.startsWith("table-")).forEach(redraw);
  for (const box of page.querySelectorAll(".legend [data-arm]")) box.querySelector("input").checked = !view.hidden.has(report.order[box.dataset.arm]);
  for (const field of page.querySelectorAll(".filter")) if (field.value !== view.filter) field.value = view.filter;
  for (const count of page.querySelectorAll(".count")) count.textContent = armCount(report, view);
  keepAddress();
}

const keepAddress = () => history.replaceState(null, "", `#${writeView(view, report.order)}`);

function goTo(id) {
  view.section = id;
  keepAddress();
  const element = document.getElementById(id);
  for (let box = element?.closest("details"); box; box = box.parentElement.closest("details")) box.open = true;
  element?.scrollIntoView();
}

// ---- Arms and tables

function showAlone(name) {
  view.hidden = new Set(report.order.filter((other) => other !== name));
  applyView();
}

page.addEventListener("input", (event) => {
  if (!wanted(event, ".filter")) return;
  view.filter = event.target.value;
  applyView();
});

page.addEventListener("change", (event) => {
  const box = wanted(event, "[data-arm]"), name = report.order[box?.dataset.arm];
  if (!box) return;
  if (event.target.checked) view.hidden.delete(name);
  else view.hidden.add(name);
  applyView();
});

function sortBy(head) {
  const id = head.closest(".arm-table").id.replace("table-", ""), before = view.sort[id], key = head.dataset.sort;
  view.sort[id] = { key, down: before?.key === key && !before.down };
  redraw(`table-${id}`);
  document.getElementById(`table-${id}`).querySelector(`[data-sort="${CSS.escape(key)}"] button`)?.focus({ preventScroll: true });
  keepAddress();
}

page.addEventListener("click", (event) => {
  const all = wanted(event, "[data-show]"), head = wanted(event, "[data-sort]"), arm = wanted(event, "[data-arm]"), link = wanted(event, 'a[href^="#"]');
  if (all) {
    view.hidden = new Set(all.dataset.show === "all" ? [] : report.order);
    if (all.dataset.show === "all") view.filter = "";
    applyView();
  } else if (arm && event.altKey) {
    event.preventDefault();
    showAlone(report.order[arm.dataset.arm]);
  } else if (head) sortBy(head);
  else if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
    event.preventDefault();
    goTo(decode(link.getAttribute("href").slice(1)));
  }
});

// ---- Charts

let drag = null; // where a rectangle began: {svg, id, from}

// In the units of the drawing.
function placeIn(svg, event) {
  const box = svg.getBoundingClientRect(), [, , width, height] = svg.getAttribute("viewBox").split(" ").map(Number);
  return [((event.clientX - box.left) * width) / box.width, ((event.clientY - box.top) * height) / box.height];
}

function showTip(html, left, top) {
  tip.innerHTML = html;
  tip.hidden = false;
  const { offsetWidth: width, offsetHeight: height } = tip, edge = document.documentElement.clientWidth;
  tip.style.left = `${Math.max(4, left + 14 + width > edge ? left - width - 14 : left + 14)}px`;
  tip.style.top = `${top - height - 10 < 0 ? top + 14 : top - height - 10}px`;
}

function hideTip() {
  tip.hidden = true;
  for (const svg of page.querySelectorAll("svg.pointed")) {
    svg.classList.remove("pointed");
    svg.querySelectorAll(".hot").forEach((one) => one.classList.remove("hot"));
    svg.querySelector(".here")?.remove();
  }
}

function pointAt(svg, event) {
  const id = svg.closest(".chart").id, point = redrawables.get(id).near(shownArms(report, view), view.zoom[id], ...placeIn(svg, event));
  hideTip();
  if (!point) return;
  svg.classList.add("pointed");
  svg.querySelector(`[data-line="${point.line}"]`)?.classList.add("hot");
  svg.insertAdjacentHTML("beforeend", `<circle class="here ${point.style}" cx="${point.px}" cy="${point.py}" r="6"/>`);
  showTip(point.html, event.clientX, event.clientY);
}

// On glass nothing hovers: what a title says is shown by a tap.
function tapTitle(event) {
  const titled = wanted(event, "[title], svg g");
  const text = titled?.getAttribute("title") ?? titled?.querySelector(":scope > title")?.textContent;
  if (text) showTip(escapeHtml(text).replaceAll("\n", "<br>"), event.clientX, event.clientY);
}

page.addEventListener("pointerdown", (event) => {
  const svg = wanted(event, "svg.curves");
  if (event.pointerType === "touch" || event.button !== 0 || !svg) return;
  event.preventDefault();
  hideTip();
  drag = { svg, id: svg.closest(".chart").id, from: placeIn(svg, event) };
});

function drawRectangle(event) {
  const [ax, ay] = drag.from, [bx, by] = placeIn(drag.svg, event);
  drag.svg.querySelector(".rectangle")?.remove();
  drag.svg.insertAdjacentHTML("beforeend", `<rect class="rectangle" x="${Math.min(ax, bx)}" y="${Math.min(ay, by)}" width="${Math.abs(ax - bx)}" height="${Math.abs(ay - by)}"/>`);
}

document.addEventListener("pointermove", (event) => {
  const svg = wanted(event, "svg.curves");
  if (event.pointerType === "touch") return;
  if (drag) drawRectangle(event);
  else if (svg) pointAt(svg, event);
  else if (!tip.hidden) hideTip();
});

document.addEventListener("pointerup", (event) => {
  if (event.pointerType === "touch" || !drag) return;
  const { svg, id, from } = drag, range = redrawables.get(id).range(shownArms(report, view), view.zoom[id], from, placeIn(svg, event));
  drag = null;
  svg.querySelector(".rectangle")?.remove();
  if (!range) return;
  hideTip();
  view.zoom[id] = range;
  redraw(id);
  keepAddress();
});

document.addEventListener("click", (event) => {
  if (event.pointerType !== "touch") return;
  const svg = wanted(event, "svg.curves");
  hideTip();
  if (svg) pointAt(svg, event);
  else if (!wanted(event, "a, button, input, label, summary")) tapTitle(event);
});

page.addEventListener("dblclick", (event) => {
  const svg = wanted(event, "svg.curves"), arm = wanted(event, "[data-arm]");
  if (arm) showAlone(report.order[arm.dataset.arm]);
  if (!svg) return;
  delete view.zoom[svg.closest(".chart").id];
  redraw(svg.closest(".chart").id);
  keepAddress();
});

document.addEventListener("scroll", () => tip.hidden || hideTip(), { passive: true });

// ---- The page as a whole

phone.addEventListener("change", redrawAll);

addEventListener("hashchange", () => {
  view = readView(location.hash, report.order);
  redrawAll();
  applyView();
  if (view.section) goTo(view.section);
});

// On paper everything is open, and tables are cut to its width.
let opened = []; // for the paper alone
addEventListener("beforeprint", () => {
  opened = [...page.querySelectorAll("details:not([open])")];
  opened.forEach((details) => (details.open = true));
  view.printing = true;
  redrawAll();
});
addEventListener("afterprint", () => {
  opened.forEach((details) => (details.open = false));
  view.printing = false;
  redrawAll();
});

// Not while someone types into the filter or drags. What is unfolded stays so.
function reload() {
  if (drag || document.activeElement?.matches(".filter")) return setTimeout(reload, 1000);
  history.replaceState({ unfolded: [...page.querySelectorAll("details")].map((details) => details.open) }, "");
  location.reload();
}

function unfold(before) {
  const all = [...page.querySelectorAll("details")];
  if (before?.length === all.length) all.forEach((details, i) => (details.open = before[i]));
}

hiding.textContent = hidingStyle(report, view);
if (phone.matches) page.querySelector(".contents details")?.removeAttribute("open");
unfold(history.state?.unfolded);
// When the page loads itself again, the browser keeps the place.
if (view.section && performance.getEntriesByType("navigation")[0]?.type !== "reload") goTo(view.section);
if (report.reload_s) setTimeout(reload, 1000 * report.reload_s);
