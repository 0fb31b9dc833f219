#!/usr/bin/env python3
"""The page of a report, drawn by its own scripts in Node from run folders that are invented here."""

import json
import os
import re
import shutil
import sys

from common import Workspace, check
from page import NODE, Tables, draw, in_page, write_run

ROUTING = {
    "router_f1": [0.84, None], "router_f1_ceiling": [0.875, None], "choice_entropy_token": [0.625, 0.5], "choice_entropy_position": [0.9375, None],
    "dead_tokens": [0.25, 0.125], "always_on_tokens": [0.0, 0.03125], "calibration_tokens": 16384,
    "score_histogram": [{"low": -1.5, "high": 2.5, "tokens": [10, 40, 20, 0], "picked": [0, 0, 10, 0]}, None]}


def check_results(tables):
    rows = {row[0]: row[1:] for row in tables[0] if row}
    check(rows["Loss, causal routing (nats per token)"] == ["3.0150 ± 0.0071", "2.5150 ± 0.0071", "2.5150 ± 0.0071"], rows)
    check(rows["Causal over top-k loss"] == ["–", "+0.399 %", "+0.399 %"], rows)
    check(rows["Training FLOPs, realised"] == ["1.000 × 10¹³"] * 3, rows)
    check(rows["Step time, median"] == ["100.0 ms"] * 3, rows)
    check(rows["Peak memory (of the process; on a GPU of its tensors)"] == ["1.0 MiB"] * 3, rows)
    check(rows["Routed layers"] == ["–", "2 routed at 12.5 %", "2 routed at 12.5 %"], rows)
    check("Best branch in hindsight, same mean depth" not in rows, "a row that no arm has measured")


def check_layers(table, older):
    heads = ["Layer (from 0)", "Planned capacity", "Realised capacity", "Precision", "Recall", "F1", "F1 ceiling", "Token entropy",
             "Position entropy", "Dead", "Always on", "F1 / ceiling"]
    check(table[0] == heads, table[0])
    check(table[1] == ["1", "12.5 %", "12.0 %", "90.0 %", "80.0 %", "0.820", "0.875", "0.625", "0.938", "25.0 %", "0.0 %", "93.7 %"], table[1])
    check(table[2] == ["3", "12.5 %", "13.0 %", "–", "70.0 %", "0.500", "–", "0.500", "–", "12.5 %", "3.1 %", "–"], table[2])
    check(older[1][5:8] == ["0.847", "–", "–"], older[1])


def check_comparison(workspace):
    routed = {"capacity_causal": [0.12, 0.13], "router_precision": [0.9, None], "router_recall": [0.8, 0.7]}
    folders = []
    for seed in (1, 2):
        luck = 0.01 * seed
        folders.append(write_run(workspace, "dense", seed, 3 + luck, "{}", {}))
        second = {**ROUTING, "router_f1": [0.8, 0.5]} if seed == 2 else ROUTING
        folders.append(write_run(workspace, "a<script>&b", seed, 2.5 + luck, "{kind: mod}", {**routed, **second}))
        folders.append(write_run(workspace, "old", seed, 2.5 + luck, "{kind: mod}", routed))
    file, page = draw(workspace, folders)
    check("a<script>&b" not in file and "a&lt;script&gt;&amp;b" in page, "an arm's name is not escaped")
    check("http" not in file and "prefers-color-scheme: dark" in file, "the page fetches something, or knows no dark mode")
    tables = Tables(page).tables
    check_results(tables)
    check_layers(*[rows for rows in tables if rows[0] and rows[0][0] == "Layer (from 0)"])
    check("decisions calibrated on 16384 tokens of training text" in page, "no word of the calibration")
    check(len(re.findall("independent scores would reach an F1 of 0.9[0-9]+", page)) == 1, "the ceiling of independent scores is not there once")
    check(page.count('class="all"') == 1 and "layer 3</text>" not in page, "not one histogram a seed that measured it")
    # Tops of the four bins; 84 is the floor, 20 the fullest bin's top. Picked tokens lie over all.
    check('class="all" d="M0 84V68.00H40.00V20.00H80.00V52.00H120.00V84.00H160.00V84Z"' in page, "all tokens of the histogram")
    check('class="picked" d="M0 84V84.00H40.00V84.00H80.00V68.00H120.00V84.00H160.00V84Z"' in page, "picked tokens of the histogram")
    for shown in (">a&lt;b</span>", ">␁)\n</span>", 'title="3 of 4 blocks, loss 1.50"', 'title="2 of 4 blocks"', "better by 16.6\u00a0% ± 0.3",
                  "3 arms, 2 seeds", "<svg"):
        check(shown in page, "%r is not on the page" % shown)
    check(page.count('<polyline class="seed"') == 12, "three arms of two seeds in two charts have twelve thin lines")
    check(page.count('<td class="best"') == 1, "not one best arm")


ANALYSIS = {
    "tokens_read": 16384, "layers": 4, "mean_depth": 2.5, "correlation_tokens": {"r": -0.25, "ci95": [-0.3, -0.2]},
    "correlation_windows": {"r": None, "ci95": [None, None]}, "depth_by_surprisal_tenth": [2 + 0.1 * i for i in range(10)],
    "classes": [{"class": "digits", "count": 4096, "depth": 3.0, "loss": None}, {"class": "word start", "count": 12288, "depth": 2.25, "loss": 4.5}],
    "at_least": 16, "words": {"deepest": [{"word": "a<b", "count": 20, "depth": 4.0, "loss": 1.5, "example": 'if ("[a<b]'}], "shallowest": []}}


def check_runs(workspace):
    """Training curves, samples, what the arms set, words, and a run that has not finished."""
    training = [{"kind": "train", "step": 100 * i, "train_flops_total": 10 ** 12 * i, "train_loss": 5 - 0.1 * i, "lr": 0.003, "grad_norm": None if i == 2 else 1.0}
                for i in range(1, 11)]
    folders = [write_run(workspace, arm, 1, loss, depth, {"sample": "<b>once</b>"}) for arm, loss, depth in (("plain", 3, "{}"), ("routed", 2.9, "{kind: mod}"))]
    folders.append(write_run(workspace, "late", 1, 2.8, "{kind: mod, capacity: 0.5}", {}))
    for folder in folders:
        metrics = os.path.join(folder, "metrics.jsonl")
        with open(metrics) as file:
            lines = file.readlines()
        if "late" in folder:
            lines = lines[:3]  # the head and two validations
        with open(metrics, "w") as file:
            file.writelines(lines[:1] + [json.dumps(record) + "\n" for record in training] + lines[1:])
    with open(os.path.join(folders[1], "depth_analysis.json"), "w") as file:
        json.dump(ANALYSIS, file)
    page = draw(workspace, folders)[1]
    check(page.count('class="partial') == 0 and page.count('partial"><polyline') == 5, "the unfinished run is dotted in two charts of losses and three of training")
    tables = {rows[0][0]: rows for rows in Tables(page).tables if rows and rows[0]}
    check(tables["Run"][1] == ["late, seed 1", "broken off", "1000", "–", "4.0000", "3.0500"], tables["Run"])
    check('href="../late/seed-1/"' in page, "no link to a run's folder")
    check(tables["Token class"][1:] == [["word start", "75.0 %", "2.25", "4.50"], ["digits", "25.0 %", "3.00", "–"]], tables["Token class"])
    check(tables["Deepest words"][1] == ["a<b", "20", "4.00", "1.50", "", "", "", ""], tables["Deepest words"])
    check("−0.25 (95\u00a0%: −0.30 to −0.20) by token, – (all tokens are alike) by window" in page, "the correlations")
    check(page.count("&lt;b&gt;once") == 2 and "<b>once" not in page, "two samples, escaped")
    keys = {row[0]: row[1:] for rows in Tables(page).tables for row in rows if row and row[0].startswith(("train.", "depth."))}
    check(keys["depth.kind"] == ["dense", "mod"] and keys["train.batch_tokens"][0] == keys["train.batch_tokens"][1], keys)
    check(page.count("<h3>Training loss") == 1 and page.count("<h3>Gradient norm") == 1, "curves of training")
    page = draw(workspace, folders[2:])[1]
    check("No run has finished yet" in page and "Not finished" in page and "<svg" in page, "a report of nothing but a run that has begun")


def add_task(folder, task, right, routing="causal", **more):
    """A task's final record, as a run leaves it, and the answers to its 40 items."""
    record = {"kind": "task", "final": True, "step": 1000, "task": task, "routing": routing, "looks_ahead": routing == "topk", "main_metric": "acc",
              "items": 40, "acc": right / 40, "bits_per_byte": 1.5, "chance": 0.25, "majority": 0.3, "blocks_per_token": 3.25, "tokens_per_s": 1500.0, **more}
    with open(os.path.join(folder, "metrics.jsonl"), "a") as file:
        file.write(json.dumps(record) + "\n")
    path, answers = os.path.join(folder, "task_answers.json"), []
    if os.path.exists(path):
        with open(path) as file:
            answers = json.load(file)
    answers.append({"task": task, "routing": routing, "items_key": "k", "metric": record["main_metric"], "right": "1" * right + "0" * (40 - right),
                    "group": [i % 4 for i in range(40)], "group_names": ["0", "1", "2", "far <off>" if task == "words" else "10"]})
    with open(path, "w") as file:
        json.dump(answers, file)


def check_tasks(workspace):
    """Two tasks, one of them also under top-k, which looks ahead; and bits per byte, which have no interval."""
    folders = [write_run(workspace, arm, seed, loss, depth, {}) for arm, loss, depth in (("asked", 3, "{}"), ("ask<ed>", 2.9, "{kind: mod}")) for seed in (1, 2)]
    for i, folder in enumerate(folders):
        add_task(folder, "quiz<1>", 10 if i < 2 else 30)
        add_task(folder, "words", 10, main_metric="bits_per_byte", chance=None, majority=None)
        if i >= 2:
            add_task(folder, "quiz<1>", 32, "topk")
        with open(os.path.join(folder, "metrics.jsonl"), "a") as file:
            for flops, acc in ((10 ** 12, 0.2), (2 * 10 ** 12, 0.4)):
                file.write(json.dumps({"kind": "task", "final": False, "step": 1, "train_flops_total": flops, "task": "quiz<1>", "routing": "causal",
                                       "looks_ahead": False, "main_metric": "acc", "items": 10, "acc": acc}) + "\n")
    page = draw(workspace, folders)[1]
    tables = {tuple(rows[0]): rows[1:] for rows in Tables(page).tables if rows}
    rows = tables[("", "Chance", "Majority", "asked", "ask<ed>")]
    check([row[0] for row in rows] == ["quiz<1>acc, %; 40 items", "quiz<1> top-k, looks aheadacc, %; 40 items", "wordsbits per byte; 40 items"], rows)
    check(rows[0][1:3] == ["25.0", "30.0"] and re.fullmatch(r"75\.0 [0-9.]+–[0-9.]+3\.25 blocks", rows[0][4]), rows[0])
    check(rows[1][3] == "–" and rows[1][4].startswith("80.0 "), rows[1])
    check(rows[2][1:] == ["–", "–", "1.500 3.25 blocks", "1.500 3.25 blocks"], rows[2])
    pairs = tables[("Task", "Pair", "Difference, points", "95 % interval", "p")]
    check([row[2] for row in pairs] == ["+50.0", "+55.0", "+0.0"] and pairs[0][4:] == ["< 0.001, < 0.001"], pairs)
    check("<td><b>+50.0</b></td>" in page and "<td>+0.0</td>" in page, "bold where the interval excludes zero, and only there")
    check('against asked: better by 50.0 points (' in page, "no verdict where the pointer rests")
    figures = re.findall('<figure class="card"><h3>(?:quiz&lt;1&gt;|words)</h3>.*?</figure>', page)
    check([figure.count('class="dot"') for figure in figures] == [3, 2], "a dot an arm and routing")
    check([figure.count('class="interval"') for figure in figures] == [3, 0], "an interval where there is one")
    check([figure.count('class="guess"') for figure in figures] == [2, 0], "ticks for chance and majority")
    check("ask&lt;ed&gt;, top-k" in figures[0] and "Top-k routing looks ahead" in page, "top-k is not marked")
    by_group = [rows[1:] for rows in Tables(page).tables if rows[0][0] == "Group"]
    check([[row[0] for row in rows] for rows in by_group] == [["0", "1", "2", "10"], ["0", "1", "2", "10"], ["0", "1", "2", "far <off>"]], by_group)
    check(by_group[0][0][1:3] == ["10", "30.0 %s" % by_group[0][0][2].split(" ")[1]] and by_group[0][3][2].startswith("20.0 "), by_group[0])
    check(page.count("by group, accuracy in per cent</h3>") == 1, "a chart where all groups are numbers, top-k left out")
    during = re.findall('<figure class="card"><h3>quiz&lt;1&gt; \\(acc, %\\)</h3>.*?</figure>', page)
    check(len(during) == 1 and "Tasks during training" in page and during[0].count('class="mean"') == 2, "a curve an arm")
    check('id="tasks"' not in draw(workspace, [write_run(workspace, "unasked", 1, 3, "{}", {})])[1], "tasks of a run that has none")


def check_many(workspace):
    """More arms than colours: arms are rows, in the order that the address asks for."""
    folders = [write_run(workspace, "arm-%d" % i, seed, 3 - 0.01 * i + 0.02 * (seed - 1), "{kind: mod}" if i % 2 else "{}", {}) for i in range(14) for seed in (1, 2)]
    for i, folder in enumerate(folders):
        add_task(folder, "quiz", 10 + i)
    page = draw(workspace, folders, "#results&sort.results=-loss_causal&sort.tasks=quiz_causal&hide=arm-3,gone")[1]
    check(page.count('<li class="c') == 14 and page.count('<li class="c5 w1">') == 1, "fourteen arms in the legend, six of them dashed")
    results, tasks = [next(rows for rows in Tables(page).tables if rows[0][0] == "Arm" and wanted in " ".join(sum(rows[:2], []))) for wanted in ("Quality", "quiz")]
    check(results[0][:3] == ["Arm", "Quality, at the end", "Model and compute"] and results[1][0] == "Loss, causal routing (nats per token)", results[:2])
    check([row[0] for row in results[2:]] == ["arm-%d" % i for i in range(14)] and results[2][1] == "3.0100 ± 0.0141", results[2:])
    check([row[0] for row in tasks[1:]] == ["arm-%d" % i for i in range(14)] and re.match("quizacc, %; 40 itemschance 25.0majority 30.0", tasks[0][1]), tasks)
    check(re.search('aria-sort="descending" data-sort="loss_causal"', page) and page.count('aria-sort="ascending"') == 1, "how the tables are sorted")
    check(page.count('<td class="best') == 1 and page.count('<span>Quality, at the end</span>') == 1, "the best arm, and heads that span")
    check('<tr data-arms="3"><th' in page and page.count('<input type="checkbox">') == 1, "arm-3 is not marked, or is still checked in the legend")
    check(in_page(workspace, "return elements.hiding.textContent", "#hide=arm-3").startswith('[data-arms~="3"] { display: none'), "arm-3 is not hidden")
    check(page.count('class="mean"') == 14 + 3 * 13 and 'class="seed"' not in page, "a line too many: fourteen marks, three charts of thirteen means and no single seeds")


def check_view(workspace):
    """What a reader changes is drawn, and stands in the address. After check_many, of its report."""
    view = "const clicked = (selector, element, more) => fire(elements.page, 'click', { [selector]: element }, more); "
    head = "const head = { dataset: { sort: 'loss_causal' }, closest: () => ({ id: 'table-results' }) }; elements['table-results'].querySelector = () => null; "
    first = "return [location.hash, /<tbody><tr data-arms=.(\\d+)/.exec(elements['table-results'].innerHTML)[1]]"
    table = "elements['table-results'] = document.getElementById('table-results'); " + view + head
    check(in_page(workspace, table + "clicked('[data-sort]', head); " + first) == ["#sort.results=loss_causal", "13"], "a click on a head sorts")
    check(in_page(workspace, table + "clicked('[data-sort]', head); clicked('[data-sort]', head); " + first) == ["#sort.results=-loss_causal", "0"], "a second one turns the order")
    shown = "return [location.hash, (elements['chart-validation-loss-causal-routing-nats-per-token-against-training-flops'].innerHTML.match(/class=.mean/g) ?? []).length]"
    alone = "clicked('[data-arm]', { dataset: { arm: 5 } }, { altKey: true }); "
    check(in_page(workspace, view + alone + shown) == ["#only=arm-5", 1], "a click with Alt shows one arm")
    check(in_page(workspace, view + "fire(elements.page, 'dblclick', { '[data-arm]': { dataset: { arm: 6 } } }); " + shown) == ["#only=arm-6", 1], "so does a double click")
    check(in_page(workspace, view + alone + "clicked('[data-show]', { dataset: { show: 'all' } }); " + shown) == ["#", 14], "and all again")
    check(in_page(workspace, view + "clicked('[data-show]', { dataset: { show: 'none' } }); " + shown)[1] == 0, "or none")
    box = "fire(elements.page, 'change', { '[data-arm]': { dataset: { arm: 2 } } }, { checked: false }); "
    check(in_page(workspace, box + shown, "#loss&hide=arm-1") == ["#loss&hide=arm-1,arm-2", 12], "a check box hides one more")
    check(in_page(workspace, "fire(elements.page, 'input', { '.filter': {} }, { value: 'ROUTED 12.5' }); " + shown) == ["#filter=ROUTED%2012.5", 7], "the filter looks at descriptions")
    check(in_page(workspace, "return [...shownArms(report, view)]", "#filter=arm-1%20mod&hide=arm-11") == ["arm-1", "arm-13"], "the filter looks at names and kinds")
    same = "#made&hide=arm-1,a%2Cb%26c&filter=x%20y&sort.results=-loss_causal&zoom.chart-x=0,1.5,-2,3"
    check(in_page(workspace, "const order = ['arm-1', 'a,b&c', 'd', 'e']; return writeView(readView('%s', order), order)" % same) == same[1:], "a view does not come back from the address")
    check(in_page(workspace, "const { zoom, filter } = readView('#zoom.a=1,2,3&zoom.b=1,2,,4&zoom.c=1,x,3,4&filter=%E0%A4%A', []); return [zoom, filter]") == [{}, "%E0%A4%A"], "a broken address")
    check(in_page(workspace, "return [...readView('#hide=arm-3,gone', report.order).hidden]") == ["arm-3"], "an arm that is gone is hidden")
    check(in_page(workspace, "const at = []; document.getElementById = (id) => ({ ...elements.page, scrollIntoView: () => at.push(id) }); goTo('results'); return [at, location.hash]", "#loss&hide=arm-1")
          == [["results"], "#results&hide=arm-1"], "a link to a section loses the view")


def check_layouts(workspace):
    """On paper tables are cut to its width; on a phone drawings are narrow. After check_many, of its report."""
    table = "return elements['table-results'].innerHTML"
    paper = in_page(workspace, "window.listeners.beforeprint[0](); " + table)
    rows = [row for rows in Tables(paper).tables for row in rows if row[0] == "arm-3"]
    check(len(rows) == 4 and max(len(row) for row in rows) <= 7 and "<button" not in paper, "tables on paper: %s" % rows)
    screen = in_page(workspace, "window.listeners.beforeprint[0](); window.listeners.afterprint[0](); " + table)
    check(screen.count("<table") == 1 and screen.count("<button") == sum(len(row) - 1 for row in rows) + 1, "the table after printing")
    chart = "return elements['chart-validation-loss-causal-routing-nats-per-token-against-training-time'].innerHTML.slice(0, 48)"
    check('viewBox="0 0 350 ' in in_page(workspace, "phone.matches = true; phone.listeners.change[0]({}); " + chart), "a drawing on a phone")


def check_charts(workspace):
    """Values under the pointer, and zoom. After check_many, of its report."""
    chart = "const chart = [...redrawables.values()].find((one) => one.near), shown = shownArms(report, view); "
    near = "const at = frameOf(report.arms.map((arm) => armLine(report, arm, arm.runs, (run) => run.curve.map((p) => [p.train_flops_total / 1e12, p.loss_causal]))), false); "
    point = in_page(workspace, chart + near + "return chart.near(shown, undefined, at.x(10) + 3, at.y(2.88) + 1)")
    check(point["name"] == "arm-13" and abs(point["y"] - 2.88) < 1e-9 and point["x"] == 10 and point["seeds"] == 2 and abs(point["std"] - 0.02 / 2 ** 0.5) < 1e-9, point)
    check(point["html"].startswith('<b class="c5 w1">arm-13</b><br>2.88 ± 0.014 (2 seeds)<br>') and "at 10, training FLOPs (10¹²)" in point["html"], point)
    check(in_page(workspace, chart + near + "shown.delete('arm-13'); return chart.near(shown, undefined, at.x(10), at.y(2.88)).name") == "arm-12", "a hidden arm has a value")
    check(in_page(workspace, chart + "return chart.near(shown, undefined, 60, 280)") is None, "a value where there is none")
    beside = "const zoom = [7.6, 10.2, 2.8, 3.2]; return chart.near(shown, zoom, 54, frameOf([], false, zoom).y(2.963))"
    check(in_page(workspace, chart + beside) is None, "a value that lies outside of what is zoomed in on")
    check(in_page(workspace, chart + "return [chart.range(shown, undefined, [100, 100], [104, 200]), chart.range(shown, undefined, [404, 294], [0, 0]).slice(0, 2)]") == [None, [0, 10]],
          "rectangles: one too small, one beyond the edge")
    ticks = in_page(workspace, "return [...elements.page.innerHTML.split('<svg class=\"curves\"')[1].matchAll(/text-anchor=.middle.>([0-9.]+)</g)].map((found) => found[1])",
                    "#zoom.chart-validation-loss-causal-routing-nats-per-token-against-training-flops=6,8,2.9,3.1")
    check(ticks[0] == "6.0" and ticks[-1] == "8.0", ticks)
    lines = "[{ name: 'a', style: '', mean: [[1, 1], [3, 5]], seeds: [] }]"
    check(in_page(workspace, "const whole = frameOf(%s, true), part = frameOf([], true, [1, 2, 0, 4]); return [whole.x(0), whole.x(3), part.x(1), part.x(2), part.y(0), part.y(4), part.valueAt(52, 294)]" % lines)
          == [52, 404, 52, 404, 294, 14, [1, 0]], "where values lie")
    labels = "const lines = Array.from({ length: 40 }, (_, i) => ({ name: `name-of-an-arm-${i}`, style: '', mean: [[1, i]], seeds: [] })); "
    names = in_page(workspace, labels + "return [...endLabels(lines, frameOf(lines, true)).matchAll(/>([^<]+)<.text/g)].map((found) => found[1])")
    check(len(names) == 18 and names[0] == "name-of…arm-39" and names[-1] == "name-of…-arm-0", names)


def check_sections(workspace):
    """A link to each section, and what was registered."""
    folder = workspace.path("plan")
    os.makedirs(folder)
    experiment = "name: plan\ntrain: {lr: %s}\ncompare:\n  baseline: plain\n  seeds: [%s]\n  arms: {plain: {}, late: {set: {model.layers: 3}}%s}\n"
    for arm in ("plain", "late"):
        shutil.copytree(workspace.path(arm), os.path.join(folder, arm))
    with open(os.path.join(folder, "experiment.yaml"), "w") as file:
        file.write(experiment % ("0.003", "1, 2, 3, 4", ", new: {}"))
    check('id="registered"' not in draw(workspace, [folder])[1], "what was registered, where nothing was")
    with open(os.path.join(folder, "registered.yaml"), "w") as file:
        file.write("# registered 2026-11-27T18:30:11Z by isobath v1-2-gabc\n" + experiment % ("0.002", "1", ""))
    page = draw(workspace, [folder])[1]
    section = re.search('<section id="registered">.*?</section>', page, re.S).group(0)
    for shown in ("2026-11-27 18:30:11 UTC", "version v1-2-gabc", "<li>arm new was added</li>", "<li>seeds 2 to 4 were added</li>", "<li>train.lr: 0.002 → 0.003</li>",
                  "<dt><code>train.lr</code></dt><dd><code>0.002</code></dd>", "<td><code>{set: {model.layers: 3}}</code></td>", "  arms: {plain: {}"):
        check(shown in section, "%r is not in %s" % (shown, section))
    check('not what was <a href="#registered">registered' in page, "no note of the changes")
    titles = re.findall('<section id="([^"]+)"><h2>.*?<a class="anchor" href="#([^"]+)"', page)
    linked = re.findall('<li><a href="#([^"]+)">', re.search('<nav class="contents">.*?</nav>', page).group(0))
    check(len(titles) >= 6 and [a for a, b in titles if a == b] == linked and len(set(linked)) == len(linked), (titles, linked))


def check_frontier(workspace):
    """Dense arms of three costs, of which the costliest is the worst, and two routed arms, one of them cheaper than any dense one."""
    cost = lambda flops: {"forward_flops_per_token_causal": flops}
    folders = [write_run(workspace, arm, seed, loss + 0.01 * seed, depth, cost(flops)) for seed in (1, 2, 3) for arm, loss, depth, flops in (
        ("d<1>", 3.2, "{}", 1e5), ("d2", 3.0, "{}", 2e5), ("d3", 3.1, "{}", 4e5), ("mod-a", 2.9, "{kind: mod}", 1.5e5), ("mod-b", 3.3, "{kind: mod}", 5e4))]
    page = draw(workspace, folders)[1]
    with open(workspace.path("out", "report.json")) as file:
        [frontier] = json.load(file)["frontiers"]
    check([point["arm"] for point in frontier["points"] if point["on_frontier"]] == ["d<1>", "d2"], frontier)
    figure = re.search(r'<figure class="card"><h3>forward FLOPs a token, causal routing</h3>.*?</figure>', page)[0]
    check(figure.count("<circle") == 3 and figure.count("<rect") == 2 and figure.count('class="interval"') == 5, "an arm each, dense ones round")
    line = re.search(r'class="frontier" points="([^"]*)"', figure)[1].split(" ")
    check(len(line) == 3 and line[1].split(",")[1] == line[2].split(",")[1], "level beyond the best dense arm: %s" % line)
    check("d&lt;1&gt;" in figure and figure.count('class="band"') == 1, figure)
    rows = [rows for rows in Tables(page).tables if rows[0][:2] == ["Arm", "At equal"]][0]
    check([row[0] for row in rows[1:]] == ["mod-a", "mod-b"] and rows[1][2].startswith("better by") and "no dense arm is that cheap" in rows[2][2], rows)
    check(rows[1][3].endswith("between d<1> and d2"), rows[1])
    [differences] = [rows for rows in Tables(page).tables if rows[0] == ["", "mod-a", "mod-b"]]
    check(differences[2][0] == "forward FLOPs a token, causal routing" and differences[2][1].startswith("−5.90") and differences[2][1].endswith("better") and differences[2][2] == "no verdict", differences)
    check("At equal inference FLOPs</h3>" in page and "mod-a: better by" in page, "a card with the verdict")
    pairs = [rows for rows in Tables(page).tables if rows[0][0] == "Pair"][0]
    check(pairs[0][-2:] == ["Verdict", "p, Holm"] and not any("frontier" in row[0] for row in pairs), pairs)


def write_experiment(workspace, name, compare):
    os.makedirs(workspace.path(name))
    with open(workspace.path(name, "experiment.yaml"), "w") as file:
        file.write("name: %s\ncompare: %s\n" % (name, json.dumps(compare)))


def check_sizes(workspace):
    sizes = {"s%d" % cost: {"model.layers": 4} for cost in (1, 2, 4)}
    write_experiment(workspace, "sizes", {"baseline": "dense", "seeds": [1, 2], "arms": {"dense": {"size": sizes}, "mod": {"set": {"depth.kind": "mod"}, "size": sizes}}})
    for arm, depth, lower in (("dense", "{}", 0), ("mod", "{kind: mod}", 0.1)):
        for size, bend in (("s1", 0.3), ("s2", 0), ("s4", 0.3)):
            for seed in (1, 2):
                write_run(workspace, "sizes/%s/%s" % (arm, size), seed, 3 + bend - lower + 0.01 * seed, depth, {"forward_flops_per_token_causal": 1e5 * int(size[1:])})
    with open(workspace.path("sizes", "tune.json"), "w") as file:
        trials = [{"name": "lr-%s" % lr, "settings": {"train.lr": lr}, "losses": [loss], "train_flops": 1000} for lr, loss in (("1e-3", 3.5), ("2e-3", None))]
        json.dump({"format": 1, "asked": {}, "as": {"mod": "dense"}, "arms": [{"arm": "dense", "chosen": "lr-1e-3", "trials": trials, "edges": [{"key": "train.lr", "value": "1e-3", "side": "smallest"}]}]}, file)
    page = draw(workspace, [workspace.path("sizes")])[1]
    check('<section id="sizes">' in page and page.count('class="optimum"') == 2, "two families with an optimum each")
    by_head = {rows[0][-1]: rows for rows in Tables(page).tables if rows[0][0] in ("Family", "Arm")}
    check([row[0] for row in by_head["Loss there"][1:]] == ["dense", "mod"] and by_head["Loss there"][1][-2].startswith("200k"), by_head["Loss there"])
    best = by_head["Time a decoded token"]
    check(best[1][0] == "mod" and best[1][2].startswith("−3.3") and best[1][3].startswith("0.67"), best)  # 0.1 of 3.015; where 0.3 (log2 x)^2 is 0.1: 2^-0.58
    trials = [rows for rows in Tables(page).tables if rows[0][:2] == ["Arm", "Setting"]][0]
    check(trials[1][1:3] == ["train.lr 1e-3", "3.5000"] and "at the edge" in trials[1][4] and trials[2][2] == "diverged", trials)
    check("mod: as dense" in page, "an arm that takes another's choice")


def check_lengths(workspace):
    sizes = {"short": {"model.context": 64}, "long": {"model.context": 256}}
    write_experiment(workspace, "lengths", {"baseline": "dense", "seeds": [1], "arms": {"dense": {"size": sizes}, "mod": {"set": {"depth.kind": "mod"}, "size": sizes}}})
    for arm, depth, cost in (("dense", "{}", 4e5), ("mod", "{kind: mod}", 3e5)):
        for size, context in (("short", 64), ("long", 256)):
            folder = write_run(workspace, "lengths/%s/%s" % (arm, size), 1, 3, depth, {"forward_flops_per_token_causal": cost})
            with open(os.path.join(folder, "config.yaml")) as file:
                text = file.read()
            with open(os.path.join(folder, "config.yaml"), "w") as file:
                file.write(text.replace("{layers: 4}", "{layers: 4, context: %d}" % context))
    page = draw(workspace, [workspace.path("lengths")])[1]
    rows = [rows for rows in Tables(page).tables if rows[0][:4] == ["Family", "Size", "Budget", "Context"]][0]
    check([row[:6] for row in rows[1:]] == [["mod", "short", "–", "64", "300k", "0.75"], ["mod", "long", "–", "256", "300k", "0.75"]], rows)
    check('class="optimum"' not in page, "lengths are no sizes to fit")


def check_edges(workspace):
    shutil.rmtree(workspace.path("dense"))
    alone = write_run(workspace, "dense", 1, 3, "{}", {})
    check("nothing to compare" in draw(workspace, [alone])[1], "one run is no comparison")
    nested = write_run(workspace, "deep", 1, 2.5, "{kind: nested, exits: [2], mean_depth: 3}",
                       {"capacity_causal": [0.55, 0.5], "mean_depth_causal": 3.05, "oracle_loss_same_depth": 2.0})
    rows = {row[0]: row[1:] for row in Tables(draw(workspace, [alone, nested])[1]).tables[0] if row}
    check(rows["Layers a token goes through, mean"] == ["4.00", "3.05"], rows)
    check(rows["Best branch in hindsight, same mean depth"] == ["–", "2.0000"] and rows["Head-room"] == ["–", "+25.00 %"], rows)
    for name, value in (("agree", {"picked": [1, 2]}), ("range", {"high": -1.5}), ("number", {"low": None})):
        broken = {**ROUTING, "score_histogram": [{**ROUTING["score_histogram"][0], **value}]}
        page = draw(workspace, [write_run(workspace, name, 1, 3, "{kind: mod}", broken)])[1]
        check('class="all"' not in page, "a histogram that is not whole is shown: " + name)


def main():
    if not NODE:
        print("SKIPPED: Node is not installed (Debian's nodejs); it runs the page's scripts")
        sys.exit(77)
    with Workspace() as workspace:
        check_comparison(workspace)
        check_edges(workspace)
        check_runs(workspace)
        check_tasks(workspace)
        check_many(workspace)
        check_view(workspace)
        check_charts(workspace)
        check_layouts(workspace)
        check_sections(workspace)
        check_frontier(workspace)
        check_sizes(workspace)
        check_lengths(workspace)
    print("the page of a report: fine")


main()
