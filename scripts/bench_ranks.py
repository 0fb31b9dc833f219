#!/usr/bin/env python3
"""What it costs to train with several processes: step times of one process with all cores, of one process a core, of these with the optimizer
divided (parallel.shard: optimizer), and of one process with one core. The ways take turns in each round; printed are medians over rounds, and
of the ratio to the first way in the same round. Then what `isobath plan --ranks` predicts: for one process a core, from the speed of one process
with one core; and for that one, from the speeds of two other sizes. With --buckets: one process a core with buckets of these
sizes instead, whole and divided, and nothing predicted.

    scripts/bench_ranks.py [PROGRAM] [--rounds 5] [--steps 8] [--sizes 256x4,128x4,384x4] [--buckets 4Mi,64Ki,64Mi] [--interconnect 1.6GB/s] [--latency 1ms] [KEY=VALUE ...]

A size is width x layers. Nothing else should run meanwhile. Standard library only."""

import argparse
import json
import os
import statistics
import subprocess
import tempfile


CONFIG = "configs/bench.yaml"


def measure(program, folder, name, keys, ranks, steps):
    """Median step time, and the seconds a step that rank 0 waited for the others."""
    command = [program, "train", CONFIG, "run_dir=" + folder, "name=" + name, "train.budget=%dstep" % steps, "train.log_every=1step",
               "eval.every=%dstep" % (10 * steps), "eval.final_tokens=1Ki", "eval.routing=topk", "eval.sample_tokens=0",
               "checkpoint.every=%dstep" % (10 * steps), *keys]
    if ranks > 1:
        command += ["--ranks", str(ranks)]
    run = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if run.returncode != 0:
        raise SystemExit("%s ended with %d:\n%s" % (" ".join(command), run.returncode, run.stderr))
    with open(os.path.join(folder, name, "metrics.jsonl")) as file:
        records = [record for record in map(json.loads, file) if record["kind"] == "train"]

    def steps_of(key):  # the first steps warm up
        values = [record.get(key, 0.0) for record in records]
        return statistics.median(after - before for before, after in zip(values[1:], values[2:]))

    return {"step_s": steps_of("time_s"), "wait_s": steps_of("communication_wait_s")}


def predict(program, runs, keys, ranks, arguments):
    """The step time that `plan` predicts for so many ranks from the speed of the runs."""
    command = [program, "plan", CONFIG, "--json", "--ranks", str(ranks), "--measured", ",".join(runs), "--interconnect", arguments.interconnect,
               "--latency", arguments.latency, *keys]
    plan = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    return plan["on_ranks"]["dense"][-1]["step_s"]


def median_step(values):
    return statistics.median(value["step_s"] for value in values)


def print_prediction(what, predicted, measured):
    print("  predicted %-40s %8.1f ms, measured %8.1f ms: %+.1f %%" % (what, 1000 * predicted, 1000 * measured, 100 * (predicted / measured - 1)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", nargs="?", default="build/isobath")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--sizes", default="256x4,128x4,384x4")
    parser.add_argument("--buckets")
    parser.add_argument("--interconnect", default="1.6GB/s")
    parser.add_argument("--latency", default="1ms")
    parser.add_argument("--json", help="also write all measurements to this file")
    arguments, keys = parser.parse_known_args()
    cores = len(os.sched_getaffinity(0))
    ways = {"1 rank x %d threads" % cores: (1, ["train.threads=%d" % cores]),
            "%d ranks x 1 thread" % cores: (cores, ["train.threads=1"]),
            "the same, optimizer divided": (cores, ["train.threads=1", "parallel.shard=optimizer"]),
            "1 rank x 1 thread": (1, ["train.threads=1"])}
    if arguments.buckets:
        ways = {"%s, shard: %s" % (size, shard): (cores, ["train.threads=1", "parallel.bucket_bytes=" + size, "parallel.shard=" + shard])
                for shard in ("none", "optimizer") for size in arguments.buckets.split(",")}
    names, everything, last_runs = list(ways), {}, {}
    folders = tempfile.TemporaryDirectory()
    for size in arguments.sizes.split(","):
        width, layers = size.split("x")
        measured = {way: [] for way in ways}
        folder, shape = os.path.join(folders.name, size), ["model.width=" + width, "model.layers=" + layers, *keys]
        for number in range(arguments.rounds):
            for index, (way, (ranks, own)) in enumerate(ways.items()):
                measured[way].append(measure(arguments.program, folder, "%d-%d" % (number, index), shape + own, ranks, arguments.steps))
        everything[size] = measured
        print("width %s, %s layers" % (width, layers))
        first = measured[next(iter(ways))]
        for way, values in measured.items():
            wait = statistics.median(value["wait_s"] / value["step_s"] for value in values)
            ratio = statistics.median(value["step_s"] / base["step_s"] for value, base in zip(values, first))
            print("  %-30s %8.1f ms  %.3fx  waits %.1f %%" % (way, 1000 * median_step(values), ratio, 100 * wait))
        if not arguments.buckets:
            last_runs[size] = os.path.join(folder, "%d-%d" % (arguments.rounds - 1, len(ways) - 1))
            print_prediction(names[1], predict(arguments.program, [last_runs[size]], shape, cores, arguments), median_step(measured[names[1]]))
    for size, run in last_runs.items():
        others = sorted((other for other in last_runs if other != size), key=lambda other: int(other.split("x")[0]))
        if len(others) >= 2:
            width, layers = size.split("x")
            shape = ["model.width=" + width, "model.layers=" + layers, *keys]
            predicted = predict(arguments.program, [last_runs[others[0]], last_runs[others[-1]]], shape, 1, arguments)
            print_prediction("%s, %s, from %s and %s" % (size, names[3], others[0], others[-1]), predicted, median_step(everything[size][names[3]]))
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump(everything, file, indent=1)


if __name__ == "__main__":
    main()
