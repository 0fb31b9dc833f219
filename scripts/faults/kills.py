#!/usr/bin/env python3
"""Kills programs (SIGKILL) at random moments and starts them again, until each has ended: what they leave must be, byte for byte, what an undisturbed
program leaves.

    scripts/faults/kills.py PROGRAM [--kills 300] [--seed 1]

Trained is every kind of depth, with a checkpoint every other step, so that many kills fall into the saving of one; then data are prepared, a comparison is run and a
model is exported. Ends with 1 at the first difference, whose folder stays. Standard library only."""

import argparse
import os
import random
import shutil
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "e2e"))

from common import Workspace, check, check_same_run  # noqa: E402  (reads the program from the command line)

SHORT = ("train.budget=24step", "checkpoint.every=2step", "eval.every=6step", "eval.tokens=512", "eval.final_tokens=1Ki", "eval.calibration_tokens=512",
         "train.log_every=2step")
KINDS = {
    "dense": ("depth.kind=dense",),
    "mod-predictor": (),
    "mod-threshold": ("depth.causal=threshold", "depth.skipped_kv=keep"),
    "mod-bce": ("depth.causal=bce", "depth.capacity_warmup=50%"),
    "mod-random": ("depth.router=random", "depth.router_init=random", "depth.router_input=raw", "depth.gate=none", "depth.causal=none"),
    "nested-expert": ("depth.kind=nested", "depth.exits=[2]"),
    "nested-token": ("depth.kind=nested", "depth.exits=[2]", "depth.choice=token", "depth.mean_depth=3"),
    "scaled": ("depth.kind=scaled", "depth.mean_depth=3"),
}


class Killer:
    """Runs commands, killed at moments drawn between nothing and somewhat more than what they took undisturbed."""

    def __init__(self, space, chance):
        self.space, self.chance, self.kills = space, chance, 0

    def seconds(self, *arguments):
        start = time.monotonic()
        self.space.run(*arguments)
        return time.monotonic() - start

    def until_ended(self, within, *arguments, is_done=lambda: False):
        """Starts it again and again, until it ends or is_done() says after a kill that nothing is left to do. Each try may take longer than the one
        before, so that it ends even where nothing is kept. Returns the number of kills."""
        kills = 0
        while True:
            process = self.space.start(*arguments, start_new_session=True)
            wait = self.chance.uniform(0.02, within * (0.6 + 0.1 * kills))
            try:
                out, err = process.communicate(timeout=wait)
                check(process.returncode == 0, "%s ended with %d after %d kills:\n%s%s" % (" ".join(arguments), process.returncode, kills, out, err))
                self.kills += kills
                return kills
            except Exception as timeout:
                if type(timeout).__name__ != "TimeoutExpired":
                    raise
                os.killpg(process.pid, 9)
                process.communicate()
                kills += 1
                if is_done():
                    self.kills += kills
                    return kills


def same_files(a, b, what):
    """But for temporary files (NAME.tmp-PID), which a killed process cannot remove and which nobody reads."""
    names = lambda folder: sorted(os.path.relpath(os.path.join(at, file), folder) for at, _, files in os.walk(folder) for file in files
                                  if file != ".lock" and ".tmp-" not in file)
    check(names(a) == names(b), "%s: files %s, undisturbed %s" % (what, names(a), names(b)))
    for name in names(a):
        with open(os.path.join(a, name), "rb") as left, open(os.path.join(b, name), "rb") as right:
            check(left.read() == right.read(), "%s: %s differs" % (what, name))


def train(killer, kind, number):
    space, keys = killer.space, (*SHORT, *KINDS[kind])
    name = "%s-%d" % (kind, number)
    if not os.path.exists(space.path("runs", kind)):
        train.seconds[kind] = killer.seconds("train", space.config, "name=" + kind, *keys)
    kills = killer.until_ended(train.seconds[kind], "train", space.config, "name=" + name, *keys)
    check_same_run(space, name, kind)
    shutil.rmtree(space.path("runs", name))
    return kills


train.seconds = {}


def prepare(killer, number):
    space = killer.space
    cache = lambda name: "data.cache_dir=" + space.path(name)
    keys = ("tokenizer.kind=bpe", "tokenizer.vocab_size=300")
    if not os.path.exists(space.path("whole")):
        prepare.seconds = killer.seconds("data", "prepare", space.config, *keys, cache("whole"))
    kills = killer.until_ended(prepare.seconds, "data", "prepare", space.config, *keys, cache("killed"))
    same_files(space.path("killed"), space.path("whole"), "data prepare")
    shutil.rmtree(space.path("killed"))
    return kills


def export(killer, number):
    space = killer.space
    command = ("export", space.path("runs/mod-predictor"), "-o", space.path("exported"), "--format", "hf")
    exported, whole = space.path("exported"), space.path("whole-export")
    if not os.path.exists(whole):
        export.seconds = killer.seconds(*command)
        os.rename(exported, whole)  # not made under this name, for an export's README.md names its command
    # An export refuses a folder that exists: what lies there after a kill must be whole.
    kills = killer.until_ended(export.seconds, *command, is_done=lambda: os.path.exists(exported))
    same_files(exported, whole, "export")
    shutil.rmtree(exported)
    return kills


def compare(killer, number):
    space = killer.space
    path = space.path("compare.yaml")
    with open(path, "w") as file:
        file.write("include: tiny.yaml\nname: compared\ncompare: {baseline: dense, seeds: [1, 2], arms: {dense: {set: {depth.kind: dense}}, mod: {}}}\n")
    keys = (*SHORT, "train.budget=8step")
    name = "compared-%d" % number
    if not os.path.exists(space.path("runs/compared")):
        compare.seconds = killer.seconds("compare", path, "name=compared", *keys)
    kills = killer.until_ended(compare.seconds, "compare", path, "name=" + name, *keys)
    for arm in ("dense", "mod"):
        for seed in ("seed-1", "seed-2"):
            check_same_run(space, "%s/%s/%s" % (name, arm, seed), "compared/%s/%s" % (arm, seed))
    check(os.path.exists(space.path("runs", name, "report.json")), "no report")
    shutil.rmtree(space.path("runs", name))
    return kills


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    print("seed", arguments.seed)
    work = {**{kind: lambda killer, number, kind=kind: train(killer, kind, number) for kind in KINDS}, "data prepare": prepare, "compare": compare, "export": export}
    counts, ended, number = dict.fromkeys(work, 0), dict.fromkeys(work, 0), 0
    space = Workspace()
    print("in", space.folder, flush=True)
    killer = Killer(space, random.Random(arguments.seed))
    while killer.kills < arguments.kills:
        for name, of in work.items():
            counts[name] += of(killer, number)
            ended[name] += 1
            print("%s: %d kills in %d runs; %d of %d in all" % (name, counts[name], ended[name], killer.kills, arguments.kills), flush=True)
            if killer.kills >= arguments.kills:
                break
        number += 1
    shutil.rmtree(space.folder)
    print("%d kills, everything as if undisturbed: %s" % (killer.kills, ", ".join("%s %d" % pair for pair in counts.items())))


if __name__ == "__main__":
    main()
