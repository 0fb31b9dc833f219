"""The page of a report in Node, without a browser, and the run folders that its tests invent."""

import html.parser
import json
import os
import shutil
import subprocess

from common import check

NODE = shutil.which("node") or shutil.which("nodejs")

# Stands in for the browser: runs a page's scripts at an address that ends in argv[3], then the script argv[4], and prints as JSON what that returns.
# Elements are made as they are asked for; nothing is laid out, and no selector finds anything.
DRAW = """
const file = require("fs").readFileSync(process.argv[2], "utf8");
const body = (start) => file.slice(file.indexOf(start) + start.length, file.indexOf("</script>", file.indexOf(start)));
const element = () => ({ listeners: {}, hidden: true, style: {}, querySelector: () => null, querySelectorAll: () => [], closest: () => null, scrollIntoView() {},
  addEventListener(type, listener) { (this.listeners[type] ??= []).push(listener); } });
const elements = { report: { textContent: body('<script type="application/json" id="report">') } };
const window = element(), location = { hash: process.argv[3] };
const scope = {
  document: { ...element(), lastModified: "today", getElementById: (id) => (elements[id] ??= element()) }, location, window, elements,
  history: { state: null, replaceState: (state, title, address) => (location.hash = address) }, matchMedia: () => ({ ...element(), matches: false }),
  performance: { getEntriesByType: () => [] }, CSS: { escape: (text) => text }, addEventListener: window.addEventListener.bind(window), setTimeout() {},
  // What a listener is told: the element that is hit, by the selectors that find it.
  fire: (at, type, hit, more) => (at.listeners[type] ?? []).forEach((listener) =>
    listener({ target: { ...more, closest: (selector) => hit[selector] ?? null }, preventDefault() {}, ...more })) };
const run = new Function(...Object.keys(scope), body("<script>\\n") + "\\n" + process.argv[4]);
process.stdout.write(JSON.stringify(run(...Object.values(scope))));
"""

class Tables(html.parser.HTMLParser):
    """The cells of every table, row by row."""

    def __init__(self, page):
        super().__init__()
        self.tables, self.cell = [], None
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.cell = ""

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.tables[-1][-1].append(self.cell.replace("\u00a0", " "))
            self.cell = None

    def handle_data(self, data):
        if self.cell is not None:
            self.cell += data


def write_run(workspace, arm, seed, loss, depth, final):
    """A run folder as the trainer leaves it: four validations on the curve's text, and the last one again on all the text."""
    folder = workspace.path(arm, "seed-%d" % seed)
    os.makedirs(folder)
    with open(os.path.join(folder, "config.yaml"), "w") as file:
        file.write("name: %s\nseed: %d\nmodel: {layers: 4}\ndepth: %s\n" % (arm, seed, depth))
    records = [{"kind": "run", "params": 1000, "params_non_embedding": 700, "forward_flops_per_token_topk": 5e5, "threads": 2, "epochs": 0.5}]
    for i in (1, 2, 3, 4, 5):
        last = i == 5
        i = min(i, 4)
        records.append({"kind": "validation", "final": last, "step": 250 * i, "tokens": 256000 * i, "train_flops_total": 25 * 10 ** 11 * i,
                        "time_s": 25.0 * i, "loss_topk": loss + 1 / i - 0.26, "loss_causal": loss + 1 / i - 0.25, "bits_per_byte_topk": 2.0,
                        "bits_per_byte_causal": 2.01, **(final if last else {})})
    records.append({"kind": "end", "status": "finished", "step": 1000, "tokens": 1024000, "train_flops_total": 10 ** 13, "time_s": 100.0,
                    "step_time_s_median": 0.1, "tokens_per_s": 10240.0, "memory_bytes": 1 << 20})
    with open(os.path.join(folder, "metrics.jsonl"), "w") as file:
        file.writelines(json.dumps(record) + "\n" for record in records)
    if "mod" in depth:
        with open(os.path.join(folder, "depth_text.json"), "w") as file:
            json.dump({"pieces": ["if (", "a<b", '&& "c"', "\u0001)\n"], "depth": [2, 3, 4, 2], "layers": 4, "loss": [None, 1.5, 2.5, 0.25]}, file)
    return folder


def in_page(workspace, script, address=""):
    """What a script returns that runs in the page after the page's own; address: the fragment."""
    path = workspace.path("draw.js")
    with open(path, "w") as file:
        file.write(DRAW)
    drawn = subprocess.run([NODE, path, workspace.path("out", "report.html"), address, script], capture_output=True, text=True, timeout=60)
    check(drawn.returncode == 0, "the page's scripts failed: " + drawn.stderr)
    return json.loads(drawn.stdout)


def draw(workspace, folders, address=""):
    """Makes the report of run folders; returns the file and what its scripts draw."""
    workspace.run("report", *folders, "--output", workspace.path("out"))
    drawn = in_page(workspace, "return elements.page.innerHTML", address)
    for wrong in ("NaN", "undefined", "Infinity", "[object"):
        check(wrong not in drawn, "the page shows %s: %s" % (wrong, drawn[max(0, drawn.find(wrong) - 200):][:400]))
    with open(workspace.path("out", "report.html"), encoding="utf-8") as file:
        return file.read(), drawn
