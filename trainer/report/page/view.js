"use strict";
// What a reader has chosen to see: arms, sorting, zoom. The fragment of the address keeps it, so that a link shows the same:
// "#results&hide=a,b&filter=mod&sort.results=-loss_causal&zoom.chart-loss=0,3,1.2,1.5"; a minus sorts downwards.

const emptyView = () => ({ section: "", hidden: new Set(), filter: "", sort: {}, zoom: {}, printing: false });

// order: names of all arms. Names that it lacks are dropped: the experiment may have changed since the link was made.
function readView(fragment, order) {
  const view = emptyView();
  const known = (names) => names.split(",").map(decode).filter((name) => order.includes(name));
  for (const part of fragment.replace(/^#/, "").split("&")) {
    const [key, value] = [part.split("=")[0], part.slice(part.indexOf("=") + 1)], [kind, id] = [key.split(".")[0], key.slice(key.indexOf(".") + 1)];
    if (!part.includes("=")) view.section = view.section || decode(part);
    else if (key === "hide") view.hidden = new Set(known(value));
    else if (key === "only") view.hidden = new Set(order.filter((name) => !known(value).includes(name)));
    else if (key === "filter") view.filter = decode(value);
    else if (kind === "sort") view.sort[id] = { key: decode(value.replace(/^-/, "")), down: value.startsWith("-") };
    else if (kind === "zoom" && value.split(",").length === 4 && value.split(",").every((v) => v !== "" && Number.isFinite(Number(v)))) view.zoom[id] = value.split(",").map(Number);
  }
  return view;
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

// Shown or hidden arms, whichever are fewer.
function writeView(view, order) {
  const encode = encodeURIComponent, shown = order.filter((name) => !view.hidden.has(name)), parts = view.section ? [encode(view.section)] : [];
  if (view.hidden.size && shown.length && shown.length < view.hidden.size) parts.push(`only=${shown.map(encode).join(",")}`);
  else if (view.hidden.size) parts.push(`hide=${[...view.hidden].map(encode).join(",")}`);
  if (view.filter) parts.push(`filter=${encode(view.filter)}`);
  for (const [id, { key, down }] of Object.entries(view.sort)) parts.push(`sort.${id}=${down ? "-" : ""}${encode(key)}`);
  for (const [id, range] of Object.entries(view.zoom)) parts.push(`zoom.${id}=${range.map((v) => +v.toPrecision(6)).join(",")}`);
  return parts.join("&");
}

// ---- Arms

// Every arm in order, with what the filter looks at; of arms without a finished run, what their first run says.
function everyArm(report) {
  return report.order.map((name) => {
    const arm = report.arms.find((one) => one.name === name) ?? report.unfinished.find((run) => run.arm === name);
    return { name, kind: arm?.kind ?? "", description: arm?.description ?? "", routed: arm ? isRouted(arm) : false, begun: Boolean(arm) };
  });
}

// All words of the filter occur in name, kind or description.
function matches({ name, kind, description }, filter) {
  const text = `${name} ${kind} ${description}`.toLowerCase();
  return filter.toLowerCase().split(/\s+/).every((word) => text.includes(word));
}

const shownArms = (report, view) => new Set(everyArm(report).filter((arm) => !view.hidden.has(arm.name) && matches(arm, view.filter)).map((arm) => arm.name));

// Marks an element as being about these arms: it is hidden with any of them.
const aboutArms = (report, ...names) => ` data-arms="${names.map((name) => report.order.indexOf(name)).join(" ")}"`;

// The style that hides what is about hidden arms. Their entries in the legend stay, pale.
function hidingStyle(report, view) {
  const shown = shownArms(report, view), hidden = report.order.flatMap((name, i) => (shown.has(name) ? [] : [i]));
  return hidden.map((i) => `[data-arms~="${i}"] { display: none !important; } .legend [data-arm="${i}"] span { opacity: 0.45; }`).join("\n");
}

const armCount = (report, view) => `${shownArms(report, view).size} of ${report.order.length} arms`;
