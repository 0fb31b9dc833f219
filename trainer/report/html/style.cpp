#include "trainer/report/html/style.h"

namespace isobath {

char const* const report_style = R"css(
:root {
  color-scheme: light dark;
  --bg: #fbfbf9; --card: #ffffff; --ink: #1c2127; --soft: #59616c; --line: #dcdfe3; --grid: #e9ebee;
  --good: #1d7a46; --bad: #b3372f; --even: #59616c; --depth: 196, 110, 0;
  --c0: #2563a8; --c1: #c2410c; --c2: #1c8057; --c3: #7c4dbd; --c4: #a3700a; --c5: #0e7f92; --c6: #b03a77; --c7: #6b7280;
}
@media (prefers-color-scheme: dark) {
  :root {
    --bg: #14171b; --card: #1b1f25; --ink: #e4e7eb; --soft: #9aa3ae; --line: #343a43; --grid: #272c33;
    --good: #5cc98c; --bad: #f08a80; --even: #9aa3ae; --depth: 255, 170, 60;
    --c0: #6faeef; --c1: #f59561; --c2: #5cc79a; --c3: #b897f2; --c4: #dcb24a; --c5: #56c1d6; --c6: #ea86b8; --c7: #a3abb6;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--bg); color: var(--ink);
  font: 16px/1.55 ui-sans-serif, system-ui, -apple-system, "Segoe UI", "Noto Sans", "DejaVu Sans", sans-serif;
}
main { max-width: 68rem; margin: 0 auto; padding: 2.5rem 1.5rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; letter-spacing: -0.015em; margin: 0 0 0.3rem; }
h2 { font-size: 1.15rem; margin: 2.8rem 0 0.7rem; letter-spacing: -0.005em; }
h3 { font-size: 0.95rem; font-weight: 600; margin: 0 0 0.4rem; }
:is(.scroll, .histograms) + h3 { margin-top: 1.6rem; }
p { margin: 0.4rem 0; max-width: 46rem; }
.lead, .soft, figcaption, .note { color: var(--soft); }
.lead { margin-bottom: 1.6rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); gap: 1rem; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 1.1rem 1.3rem 1.2rem; }
.card h3 { color: var(--soft); font-weight: 500; }
.verdict { font-size: 1.35rem; line-height: 1.3; font-weight: 650; letter-spacing: -0.01em; margin: 0 0 0.5rem; }
.verdict.better { color: var(--good); } .verdict.worse { color: var(--bad); } .verdict.even { color: var(--ink); }
.note { font-size: 0.9rem; }
.warnings { margin: 1.2rem 0 0; padding: 0.2rem 0 0.2rem 1.1rem; border-left: 3px solid var(--c4); font-size: 0.92rem; list-style: none; }
.warnings li { margin: 0.15rem 0; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(26rem, 1fr)); gap: 1rem; }
figure { margin: 0; }
svg { display: block; width: 100%; height: auto; overflow: visible; }
svg text { font: 12px ui-sans-serif, system-ui, -apple-system, "Segoe UI", "Noto Sans", "DejaVu Sans", sans-serif; fill: var(--soft); font-variant-numeric: tabular-nums; }
svg .label { font-weight: 600; font-size: 12.5px; fill: currentColor; }
svg .grid { stroke: var(--grid); } svg .axis { stroke: var(--line); } svg .leader { stroke: var(--line); fill: none; }
svg .mean { fill: none; stroke: currentColor; stroke-width: 2.2; stroke-linejoin: round; }
svg .seed { fill: none; stroke: currentColor; stroke-width: 1; opacity: 0.38; }
svg .all { fill: var(--soft); opacity: 0.3; } svg .picked { fill: currentColor; }
svg .dot { fill: var(--card); stroke: currentColor; stroke-width: 2; }
.c0 { color: var(--c0); } .c1 { color: var(--c1); } .c2 { color: var(--c2); } .c3 { color: var(--c3); }
.c4 { color: var(--c4); } .c5 { color: var(--c5); } .c6 { color: var(--c6); } .c7 { color: var(--c7); }
.legend { display: flex; flex-wrap: wrap; gap: 0.3rem 1.3rem; margin: 0.7rem 0 0; padding: 0; list-style: none; font-size: 0.9rem; }
.legend svg { display: inline-block; width: 26px; height: 10px; margin-right: 0.45rem; vertical-align: baseline; }
.legend span { color: var(--ink); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 0.92rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.34rem 0.9rem 0.34rem 0; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--grid); }
th:first-child, td:first-child { text-align: left; white-space: normal; min-width: 11rem; }
th:last-child, td:last-child { padding-right: 0; }
thead th { border-bottom: 1.5px solid var(--line); vertical-align: bottom; }
tbody th { font-weight: 400; color: var(--soft); }
tr.group th { color: var(--ink); font-weight: 600; padding-top: 1.1rem; border-bottom-color: var(--line); }
td.best { font-weight: 650; }
td .spread { color: var(--soft); font-weight: 400; }
table.layers { table-layout: fixed; min-width: 50rem; } table.layers th { white-space: normal; }
.histograms { display: grid; grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)); gap: 0.9rem 1.4rem; margin-top: 1rem; }
.histograms figcaption { grid-column: 1 / -1; font-size: 0.9rem; }
.terms { margin-top: 1.6rem; font-size: 0.9rem; color: var(--soft); } .terms dt { color: var(--ink); }
td.text { text-align: left; white-space: normal; }
.text-box {
  background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 1rem 1.2rem; margin-top: 0.8rem;
  font: 13.5px/1.75 ui-monospace, "SFMono-Regular", "Cascadia Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace;
  white-space: pre-wrap; overflow-wrap: anywhere; tab-size: 4;
}
.text-box span, .swatch { border-radius: 2.5px; padding: 1px 0; }
.swatch { display: inline-block; width: 1.5em; height: 1.05em; margin-right: 0.4em; vertical-align: -0.18em; border: 1px solid var(--line); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0.25rem 1.4rem; font-size: 0.92rem; margin: 0; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
code { font: 0.92em ui-monospace, "SFMono-Regular", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
@media (max-width: 40rem) { main { padding: 1.5rem 1rem 3rem; } .charts { grid-template-columns: 1fr; } dl { grid-template-columns: 1fr; } dt { margin-top: 0.5rem; } }
@media print { main { max-width: none; padding: 0; } .card, figure, tr { break-inside: avoid; } }
)css";

}  // namespace isobath
