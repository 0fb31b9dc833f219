#!/usr/bin/env python3
"""The results of `isobath eval ... --json` on tasks as a Markdown table:  scripts/tasks/results_table.py RESULTS.json"""

import json
import sys


def share(task, key):
    if key not in task:
        return "-"
    low, high = task[key + "_ci95"]
    return "%.1f (%.1f to %.1f)" % (100 * task[key], 100 * low, 100 * high)


def percent(task, key):
    return "%.1f" % (100 * task[key]) if key in task else "-"


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with open(sys.argv[1], encoding="utf-8") as file:
        tasks = json.load(file)["tasks"]
    print("| task | items | acc % | acc_norm % | F1 % | bits per byte | chance | majority |\n|---|---|---|---|---|---|---|---|")
    for task in tasks:
        name = task["task"] + (" (top-k, looks ahead)" if task["looks_ahead"] else "")
        print("| `%s` | %d | %s | %s | %s | %.3f | %s | %s |" % (name, task["items"], share(task, "acc"), share(task, "acc_norm"), share(task, "f1"),
                                                          task["bits_per_byte"], percent(task, "chance"), percent(task, "majority")))


if __name__ == "__main__":
    main()
