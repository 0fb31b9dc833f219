#!/usr/bin/env python3
"""Accuracy by the distance of the evidence, from what `isobath eval --predictions` writes.

    scripts/tasks/by_distance.py TASKS_FOLDER NAME=predictions.jsonl [NAME=predictions.jsonl ...]

NAME: what a model is called in the tables; several files of one name are its seeds, whose items are pooled. One table a task:
recall        by the number of pairs between the pair and the question, also by how many pairs there are
last-word     by the number of words since the last word occurred before; last-word-alone the same rows without the sentences before
boolq, mctest by the length of the passage, and by the words between the sentence that shares most words with question and answer, and the question
blimp         agreement, by whether another noun stands between the two words that agree
Accuracies in per cent with Wilson's 95 % interval. "depth": blocks that the last token of the prompt went through, after which the answer
comes, and the mean of the prompt's tokens.
"""

import collections
import json
import math
import pathlib
import re
import sys

from rows import find, read_rows  # beside this file

TASKS = {  # file of rows; the fields of the passage where there is one
    "recall": ("recall-test.jsonl", None), "recall-two-hop": ("recall-two-hop-test.jsonl", None),
    "last-word": ("last-word.jsonl", None), "last-word-alone": ("last-word.jsonl", None),
    "boolq-held-out": ("boolq-train.jsonl", "passage"), "boolq": ("boolq-val.jsonl", "passage"),
    "mctest160": ("mctest-mc160-test.jsonl", "story"), "mctest500": ("mctest-mc500-dev.jsonl", "story"), "blimp": ("blimp-half.jsonl", None)}
COMMON = set("a an the of in on at to and or is are was were be do does did it its he she they his her their that this with for from by as".split())


def rows_of(folder, name):
    path = find(pathlib.Path(folder), name)
    if path is None:
        sys.exit(f"no {name} (or .zst, .gz) in {folder}")
    return read_rows(path)


def words(text):
    return re.findall(r"[a-z0-9']+", text.lower())


def bucket(value, borders):
    for low, high in zip(borders, borders[1:]):
        if low <= value < high:
            return "%d to %d" % (low, high - 1) if high - low > 1 else str(low)
    return "%d and more" % borders[-1]


def evidence_distance(row, passage):
    """Words between the sentence that shares most words with question and right answer, and the end of the passage."""
    asked = set(words(row["question"] + " " + row["choices"][row["label"]])) - COMMON
    sentences = re.split(r"(?<=[.!?])\s+", row[passage].strip())
    shared = [len(asked & set(words(sentence))) for sentence in sentences]
    best = max(range(len(sentences)), key=lambda i: shared[i])
    return sum(len(words(sentence)) for sentence in sentences[best + 1:])


def groups(task, row):
    """The names of the groups that a row belongs to, each with its kind."""
    passage = TASKS[task][1]
    if task.startswith("recall"):
        return [("pairs between", "%d" % row["distance"]), ("pairs between, of %d" % row["pairs"], "%d" % row["distance"])]
    if task.startswith("last-word"):
        return [("words since", bucket(row["distance"], [0, 20, 40, 60, 80]))]
    if passage:
        return [("words in passage", bucket(len(words(row[passage])), [0, 75, 125, 200, 300])),
                ("words after evidence", bucket(evidence_distance(row, passage), [0, 15, 50, 100, 200]))]
    name = row["paradigm"]
    if "agreement" in name:
        return [("agreement", "another noun between" if "distractor" in name else "next to each other")]
    return [("field", row["field"])]


def interval(hits, n):
    z, p = 1.96, hits / n
    center, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, 100 * (center - half)) / (1 + z * z / n), 100 * (center + half) / (1 + z * z / n)


def read_predictions(arguments):
    """Records by task, then by model."""
    found = collections.defaultdict(lambda: collections.defaultdict(list))
    for argument in arguments:
        name, separator, path = argument.partition("=")
        if not separator:
            sys.exit("'%s': NAME=predictions.jsonl is needed" % argument)
        with open(path, encoding="utf-8") as file:
            for line in file:
                record = json.loads(line)
                if record["routing"] == "causal" and record["task"] in TASKS:
                    found[record["task"]][name].append(record)
    return found


def print_task(task, models, rows):
    table = collections.defaultdict(lambda: collections.defaultdict(list))
    for name, records in models.items():
        for record in records:
            for group in groups(task, rows[record["line"] - 1]):
                table[group][name].append(record)
    print("\n## %s\n\n| %s | items | %s |\n|---|---|%s" % (task, "by", " | ".join("%s, depth" % name for name in models), "---|" * len(models)))
    order = sorted(table, key=lambda group: (group[0], [int(x) if x.isdigit() else x for x in re.split(r"(\d+)", group[1])][1:2], group[1]))
    for group in order:
        cells, items = [], set()
        for name in models:
            records = table[group][name]
            if not records:
                cells.append("-")
                continue
            items |= {record["line"] for record in records}
            hits, n = sum(record["right"] for record in records), len(records)
            last = [record["prompt_depth"][-1] for record in records if record["prompt_depth"]]
            mean = [sum(record["prompt_depth"]) / len(record["prompt_depth"]) for record in records if record["prompt_depth"]]
            depth = ", %.2f of %.2f" % (sum(last) / len(last), sum(mean) / len(mean)) if last else ""
            cells.append("%.1f (%.1f to %.1f)%s" % (100 * hits / n, *interval(hits, n), depth))
        print("| %s: %s | %d | %s |" % (*group, len(items), " | ".join(cells)))


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    for task, models in read_predictions(sys.argv[2:]).items():
        print_task(task, models, rows_of(sys.argv[1], TASKS[task][0]))


if __name__ == "__main__":
    main()
