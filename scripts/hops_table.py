#!/usr/bin/env python3
"""What models make of the text of scripts/make_hops.py, and whether their routers found the tokens that need depth:

    isobath eval RUN eval.routing=causal --per-token FILE.jsonl        (for every run)
    scripts/hops_table.py dense=FILE.jsonl mod=FILE.jsonl mod=FILE-2.jsonl ...

prints, for each name (several files: means over them), the loss of answers by the number of functions, of all other words, the blocks that a value
and another token go through, and how well each routed layer's selected tokens are the values, which need depth (precision and recall)."""

import json
import statistics
import sys


def read(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def is_value(tokens, at):
    """Whether an answer, in capitals, comes next."""
    return at + 1 < len(tokens) and tokens[at + 1]["piece"].isupper() and tokens[at + 1]["document"] == tokens[at]["document"]


def hops(tokens, at):
    """Functions of the problem whose value is token `at`."""
    functions = 0
    for token in reversed(tokens[:at]):
        word = token["piece"].strip()
        if token["document"] != tokens[at]["document"] or len(word) != 2 or word[0] not in "ae" or not word.islower():
            break
        functions += 1
    return functions


def mean(values):
    return statistics.fmean(values) if values else None


def measure(path):
    tokens = read(path)
    answers, others, depth_values, depth_others = {}, [], [], []
    layers = len(tokens[0]["selected"])
    hits, selected, wanted = [0] * layers, [0] * layers, 0
    for at, token in enumerate(tokens):
        if "depth" not in token:  # the last one of a document was not read
            continue
        value = is_value(tokens, at)
        (depth_values if value else depth_others).append(token["depth"])
        wanted += value
        for layer, chosen in enumerate(token["selected"]):
            selected[layer] += chosen
            hits[layer] += chosen and value
        if at + 1 == len(tokens) or tokens[at + 1]["loss_causal"] is None:
            continue
        if value:
            answers.setdefault(hops(tokens, at), []).append(tokens[at + 1]["loss_causal"])
        else:
            others.append(tokens[at + 1]["loss_causal"])
    result = {"answer, %d function%s" % (n, "s" * (n > 1)): mean(losses) for n, losses in sorted((n, l) for n, l in answers.items())}
    result["all answers"] = mean([loss for losses in answers.values() for loss in losses])
    result["other words"] = mean(others)
    result["blocks of a value"], result["blocks of another token"] = mean(depth_values), mean(depth_others)
    for layer in range(layers):
        result["precision, routed layer %d" % (layer + 1)] = hits[layer] / selected[layer] if selected[layer] else None
        result["recall, routed layer %d" % (layer + 1)] = hits[layer] / wanted if wanted else None
    return result


def main():
    if len(sys.argv) < 2 or any("=" not in argument for argument in sys.argv[1:]):
        sys.exit(__doc__)
    arms = {}
    for argument in sys.argv[1:]:
        name, path = argument.split("=", 1)
        arms.setdefault(name, []).append(measure(path))
    rows = list(dict.fromkeys(row for runs in arms.values() for run in runs for row in run))
    print("| | " + " | ".join("`%s`" % name for name in arms) + " |\n|---|" + "---|" * len(arms))
    for row in rows:
        cells = []
        for runs in arms.values():
            values = [run[row] for run in runs if run.get(row) is not None]
            cells.append("%.3f" % statistics.fmean(values) if values else "-")
        print("| %s | %s |" % (row, " | ".join(cells)))


if __name__ == "__main__":
    main()
