#!/usr/bin/env python3
"""How fast trained models answer tasks, and write: arms one after the other in each round, medians over rounds, beside the first arm.

    scripts/tasks/speed.py build/isobath FOLDER [--task NAME]... [--items N] [--rounds N] dense=RUN mod=RUN ...

FOLDER has the task files (eval.tasks_folder), RUN is a run folder or a checkpoint. Tokens read a second are those of `isobath eval` under
causal routing with one thread; tokens written a second are those of `isobath bench decode` (one text, 64 tokens of prompt). Run it on idle cores.
"""

import argparse
import json
import os
import statistics
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def run(arguments):
    finished = subprocess.run(arguments, stdout=subprocess.PIPE, check=True)
    return json.loads(finished.stdout)


def read_speed(program, folder, model, task, items):
    """Tokens read a second, and blocks a token, of one task."""
    result = run([program, "eval", model, "eval.routing=causal", "train.threads=1", "eval.tasks=[%s/configs/tasks/%s.yaml]" % (ROOT, task),
                  "eval.tasks_folder=" + folder, "eval.final_task_items=%d" % items, "--json"])["tasks"][0]
    return result["tokens_per_s"], result["blocks_per_token"], result["kv_bytes_per_token"]


def write_speed(program, model):
    """Tokens written a second by one text at a time."""
    arm = run([program, "bench", "decode", model, "--steps", "32", "--repeats", "5", "--json"])["arms"][0]
    return arm["tokens_per_s"], arm["kv_bytes_per_token"]


def ratio(values, reference):
    return statistics.median(value / first for value, first in zip(values, reference))


def table(title, arms, speeds, notes):
    print("\n| %s | tokens/s | beside %s | %s |\n|---|---|---|---|" % (title, arms[0], notes))
    for arm in arms:
        print("| `%s` | %.0f | %.2fx | %s |" % (arm, statistics.median(speeds[arm]["speed"]), ratio(speeds[arm]["speed"], speeds[arms[0]]["speed"]),
                                         speeds[arm]["note"]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("folder")
    parser.add_argument("arms", nargs="+", metavar="NAME=RUN")
    parser.add_argument("--task", action="append", default=[])
    parser.add_argument("--items", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    models = dict(arm.split("=", 1) for arm in arguments.arms)
    for task in arguments.task:
        speeds = {arm: {"speed": [], "note": ""} for arm in models}
        for _ in range(arguments.rounds):
            for arm, model in models.items():
                speed, blocks, bytes_ = read_speed(arguments.program, arguments.folder, model, task, arguments.items)
                speeds[arm]["speed"].append(speed)
                speeds[arm]["note"] = "%.2f, %.0f" % (blocks, bytes_)
        table("reading `%s`" % task, list(models), speeds, "blocks, bytes of keys and values a token")
    speeds = {arm: {"speed": [], "note": ""} for arm in models}
    for _ in range(arguments.rounds):
        for arm, model in models.items():
            speed, bytes_ = write_speed(arguments.program, model)
            speeds[arm]["speed"].append(speed)
            speeds[arm]["note"] = "%.0f" % bytes_
    table("writing one text", list(models), speeds, "bytes of keys and values a token")


if __name__ == "__main__":
    main()
