#!/usr/bin/env python3
"""Quality against speed, drawn from what measure.py has measured.

    scripts/conversion/page.py OUT --page page.html [--figure figure.png] [--control dense,static] [--text "one paragraph"]

A way's points are its models "NAME CAPACITY"; the control's are the models without capacities whose names begin with one of --control. At equal speed a routed model is held against a straight line between the two models of the control around it, window by window and item
by item. Intervals: 95 %, percentiles of 4,000 paired resamples of windows of 512 tokens, and of items within their tasks. Needs numpy and matplotlib."""

import argparse
import html
import io
import json
import os

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot

WINDOW, RESAMPLES = 512, 4000
COLOURS = ("#1b6ca8", "#c8553d", "#3a7d44", "#8e5ea2", "#a67c00", "#4a4a4a")


class Model:
    def __init__(self, label, found):
        self.label = label
        self.way = label.rsplit(" ", 1)[0] if label.endswith("%") else label
        self.speed = {batch: facts["speedup"] for batch, facts in found["decode"].items()}
        self.facts = found["decode"]
        self.texts = {name: text["bits_per_byte_causal"] for name, text in found["texts"].items()}
        self.windows = {name: np.add.reduceat(text["losses"], np.arange(0, len(text["losses"]), WINDOW)) for name, text in found["texts"].items()}
        self.flops = next(iter(found["texts"].values()))["forward_flops_per_token_causal"]
        self.layers = next(iter(found["texts"].values()))["mean_depth_causal"]
        self.tasks = found["tasks"]
        self.right = {name: np.array([task["right"][line] for line in sorted(task["right"])], float) for name, task in found["tasks"].items()}

    def score(self):
        return 100 * np.mean([right.mean() for right in self.right.values()])


class Mix:
    """A model between two of the control: share of the way from a to b."""

    def __init__(self, a, b, share):
        between = lambda part: {name: (1 - share) * getattr(a, part)[name] + share * getattr(b, part)[name] for name in getattr(a, part)}
        self.label = a.label if share == 0 else "%s to %s" % (a.label, b.label)
        self.windows, self.right = between("windows"), between("right")


def at_speed(control, batch, speed):
    """The control at this speed. A slower model is held against the slowest; None where no model of the control is as fast."""
    control = sorted(control, key=lambda model: model.speed[batch])
    if speed <= control[0].speed[batch]:
        return Mix(control[0], control[0], 0)
    for a, b in zip(control, control[1:]):
        if speed <= b.speed[batch]:
            return Mix(a, b, (speed - a.speed[batch]) / (b.speed[batch] - a.speed[batch]))
    return None


def draws(name, count):
    """Resampled places, the same for every pair of models."""
    seed = sum(name.encode())
    return np.random.default_rng(seed).integers(0, count, (RESAMPLES, count))


def loss_difference(model, other, name):
    """(difference of the loss in per cent, low, high)"""
    ours, theirs = model.windows[name], other.windows[name]
    picks = draws(name, len(ours))
    of = lambda a, b: 100 * (a / b - 1)
    return (of(ours.sum(), theirs.sum()), *np.percentile(of(ours[picks].sum(1), theirs[picks].sum(1)), (2.5, 97.5)))


def score_difference(model, other):
    """(difference of the mean score over tasks in points, low, high)"""
    difference = {name: model.right[name] - other.right[name] for name in model.right}
    resampled = np.mean([rows[draws(name, len(rows))].mean(1) for name, rows in difference.items()], 0)
    return (100 * np.mean([rows.mean() for rows in difference.values()]), *(100 * np.percentile(resampled, (2.5, 97.5))))


def worse_tasks(model):
    """Tasks with significantly fewer right answers than the first model: McNemar's test at 5 % over all tasks, by Holm's rule."""
    against = {name: task["against"] for name, task in model.tasks.items() if "against" in task}
    found = []
    for place, name in enumerate(sorted(against, key=lambda name: against[name]["mcnemar_p"])):
        if against[name]["mcnemar_p"] > 0.05 / (len(against) - place):
            break
        if against[name]["difference"] < 0:
            found.append(name)
    return found


def figure(models, control, ways):
    """One row a measure, one column a batch."""
    first, texts, batches = models[0], list(models[0].texts), list(models[0].speed)
    measures = [("bits per byte, " + name, lambda model, name=name: model.texts[name],
                 lambda model, name=name: np.array(loss_difference(model, first, name)) * first.texts[name] / 100) for name in texts]
    if first.right:
        measures.append(("right answers, mean over tasks, %", Model.score, lambda model: np.array(score_difference(model, first))))
    drawing, axes = pyplot.subplots(len(measures), len(batches), figsize=(5.2 * len(batches), 3.4 * len(measures)), squeeze=False, constrained_layout=True)
    for row, (title, value, interval) in enumerate(measures):
        for column, batch in enumerate(batches):
            panel = axes[row][column]
            for colour, (way, members) in zip(COLOURS, ways.items()):
                members = sorted(members, key=lambda model: model.speed[batch])
                bars = [[abs(found[0] - found[1]), abs(found[2] - found[0])] for found in map(interval, members)]
                panel.errorbar([model.speed[batch] for model in members], [value(model) for model in members], np.array(bars).T, label=way, color=colour,
                               marker="s" if members[0] in control else "o", linestyle="--" if members[0] in control else "-", capsize=2, linewidth=1.4, markersize=4)
                for model in members:
                    panel.annotate(model.label[len(way):].strip(" -") or model.label, (model.speed[batch], value(model)), textcoords="offset points",
                                   xytext=(4, 5), fontsize=7, color=colour)
            panel.set_title(title if column == 0 else "", fontsize=9, loc="left")
            panel.set_xlabel("decoding speed at batch %s, dense = 1" % batch, fontsize=8)
            panel.tick_params(labelsize=8)
            panel.grid(alpha=0.25)
    axes[0][0].legend(fontsize=8)
    return drawing


def with_interval(found, unit):
    return "%+.1f%s <small>%+.1f to %+.1f</small>" % (found[0], unit, found[1], found[2])


def rows_of_models(models):
    first = models[0]
    head = ["model", "layers a token", "MFLOPs a token"] + ["batch %s" % batch for batch in first.speed] + ["prompt, tokens/s", "KV bytes a token", "resident MiB"]
    head += ["bits per byte, %s" % name for name in first.texts] + (["mean of tasks, %", "significantly worse in"] if first.right else [])
    rows = []
    for model in models:
        facts = list(model.facts.values())
        row = [model.label, "%.1f" % model.layers, "%.0f" % (model.flops / 1e6)] + ["%.1f tokens/s, %.2fx" % (fact["tokens_per_s"], fact["speedup"]) for fact in facts]
        row += ["%.0f" % facts[0]["prompt_tokens_per_s"], "%.0f" % facts[0]["kv_bytes_per_token"], "%.0f" % (facts[0]["resident_bytes"] / 2**20)]
        row += ["%.4f" % value + ("" if model is first else "<br>" + with_interval(loss_difference(model, first, name), " %")) for name, value in model.texts.items()]
        if first.right:
            row += ["%.1f" % model.score() + ("" if model is first else "<br>" + with_interval(score_difference(model, first), "")), ", ".join(worse_tasks(model)) or "none"]
        rows.append(row)
    return head, rows


def rows_at_equal_speed(models, control):
    first = models[0]
    head = ["model", "batch", "speed", "held against"] + ["bits per byte, %s" % name for name in first.texts] + (["mean of tasks"] if first.right else [])
    rows = []
    for batch in first.speed:
        for model in (model for model in models if model not in control):
            other = at_speed(control, batch, model.speed[batch])
            row = [model.label, batch, "%.2fx" % model.speed[batch]]
            if other is None:
                row += ["no control is as fast"] + [""] * (len(head) - 4)
            else:
                row += [other.label] + [with_interval(loss_difference(model, other, name), " %") for name in first.texts]
                row += [with_interval(score_difference(model, other), "")] if first.right else []
            rows.append(row)
    return head, rows


def rows_of_tasks(models):
    names = list(models[0].right)
    return ["model"] + names, [[model.label] + ["%.0f" % (100 * model.right[name].mean()) for name in names] for model in models]


def table(head, rows):
    cells = lambda row, kind: "<tr>" + "".join("<%s>%s</%s>" % (kind, cell, kind) for cell in row) + "</tr>"
    return "<div class=wide><table>" + cells(map(html.escape, head), "th") + "".join(cells(row, "td") for row in rows) + "</table></div>"


PAGE = """<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content="width=device-width"><title>Quality against speed</title>
<style>body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}
table{border-collapse:collapse;font-size:13px}th,td{padding:.3rem .6rem;text-align:right;border-bottom:1px solid #ddd;white-space:nowrap}
th{vertical-align:bottom;white-space:normal}th:first-child,td:first-child{text-align:left}small{color:#666}.wide{overflow-x:auto}svg{max-width:100%%;height:auto}</style>
<h1>Quality against speed</h1><p>%s</p>%s<h2>All models</h2><p>Small figures: 95 %% interval of the paired difference from <b>%s</b>. A task counts as
significantly worse by McNemar's test at 5 %% over all tasks (Holm).</p>%s%s%s</html>
"""


def page(models, control, drawing, text):
    picture = io.StringIO()
    drawing.savefig(picture, format="svg")
    equal = "<h2>At equal speed</h2><p>Paired difference from the control at the speed of the model; a straight line between the two nearest models of the control. A model that is slower than all of the control is held against the slowest, which is dense.</p>" + table(*rows_at_equal_speed(models, control))
    tasks = "<h2>Tasks</h2><p>Right answers, %.</p>" + table(*rows_of_tasks(models)) if models[0].right else ""
    svg = picture.getvalue()
    return PAGE % (html.escape(text), svg[svg.index("<svg"):], html.escape(models[0].label), table(*rows_of_models(models)), equal, tasks)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("--page", required=True)
    parser.add_argument("--figure")
    parser.add_argument("--control", default="dense,static")
    parser.add_argument("--text", default="")
    arguments = parser.parse_args()
    with open(os.path.join(arguments.out, "results.json")) as file:
        models = [Model(label, found) for label, found in json.load(file).items()]
    control = [model for model in models if model.label.startswith(tuple(arguments.control.split(",")))]
    ways = {"control": control}
    for model in models:
        if model not in control:
            ways.setdefault(model.way, []).append(model)
    drawing = figure(models, control, ways)
    if arguments.figure:
        drawing.savefig(arguments.figure, dpi=110)
    with open(arguments.page, "w") as file:
        file.write(page(models, control, drawing, arguments.text))


if __name__ == "__main__":
    main()
