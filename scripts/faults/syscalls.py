#!/usr/bin/env python3
"""Lets single system calls of the program fail, and checks that nothing is lost.

    scripts/faults/syscalls.py PROGRAM [--share S | --all] [--seed N] [SCENARIO...]

Scenarios: train, resume, prepare, export-safetensors, export-hf, export-gguf, compare. Each command runs once undisturbed while its calls on the
files of its folder are counted, then again and again with the N-th write, fsync, rename, open, mkdir, unlink, mmap or symlink failing
(tests/faults/shim.c, compiled here with cc). A share of the faults is drawn (default 0.05), or all are tried. After each:

- the exit code is a documented one: 0 where the program can go on, 3 data, 4 checkpoint, 7 disk, of a comparison 9; 0 after EINTR and short writes
- every checkpoint that is there loads (inspect), and an exported file is whole or absent
- the same command without a fault ends with 0, with the files of the undisturbed run, and leaves no temporary file
"""

import argparse
import errno
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FULL, SHORT = "full", "short"
KINDS = {
    "write": [errno.ENOSPC, errno.EIO, errno.EINTR, SHORT, FULL],
    "fsync": [errno.EIO, errno.EINTR],
    "rename": [errno.EIO, errno.ENOSPC],
    "open": [errno.ENOSPC, errno.EIO, errno.EINTR],
    "mkdir": [errno.ENOSPC],
    "unlink": [errno.EIO],
    "mmap": [errno.ENOMEM],
    "symlink": [errno.ENOSPC],
}
GOES_ON = {errno.EINTR, SHORT}
CONFIG = """\
name: tiny
run_dir: "{folder}/runs"
data: {{sources: ["{text}"], cache_dir: "{folder}/cache", split: tail, valid_fraction: 0.1}}
tokenizer: {{kind: byte}}
model: {{layers: 2, width: 16, heads: 2, context: 16}}
depth: {{kind: mod, capacity: 0.25, stride: 2, offset: 1, causal: predictor}}
train: {{budget: 6step, batch_tokens: 32, micro_batch_tokens: 32, log_every: 1step, threads: 1}}
eval: {{every: 3step, tokens: 32, final_tokens: 32, sample_tokens: 0}}
checkpoint: {{every: 2step, keep: 2}}
"""
COMPARE = "compare: {seeds: [1], baseline: dense, arms: {dense: {set: {depth: {kind: dense}}}, mod: {}}}\n"
# What differs between two runs of the same thing.
MEASURED = {"time_s", "data_wait_s", "tokens_per_s", "mfu", "mfu_6n", "memory_bytes", "eval_s", "step_time_s_median", "wall_s", "peak_flops", "checkpoint_s",
            "checkpoints", "changes"}


class Scenario:
    """A command, what it needs before, and what it leaves."""

    def __init__(self, name, arguments, results, before=(), codes=(0, 3, 4, 7)):
        self.name, self.arguments, self.results, self.before, self.codes = name, arguments, results, before, codes


TRAIN = ["train", "{config}"]
SCENARIOS = [
    Scenario("train", TRAIN, ["runs/tiny"]),
    Scenario("resume", TRAIN, ["runs/tiny"], before=[["train", "{config}", "train.budget=3step"]]),
    Scenario("prepare", ["data", "prepare", "{config}"], ["cache"]),
    *(Scenario("export-" + kind, ["export", "{base}/runs/tiny", "-o", "{folder}/out/model" + ending, "--format", kind], ["out"], before=[])
      for kind, ending in (("safetensors", ".safetensors"), ("hf", ""), ("gguf", ".gguf"))),
    Scenario("compare", ["compare", "{config}"], ["runs/tiny/dense/seed-1", "runs/tiny/mod/seed-1"], codes=(0, 3, 4, 7, 9)),
]


class Bench:
    def __init__(self, program, folder):
        self.program, self.top = os.path.abspath(program), folder
        self.shim = os.path.join(folder, "shim.so")
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", self.shim, ROOT / "tests/faults/shim.c", "-ldl"], check=True)
        self.text = os.path.join(folder, "text.txt")
        words = "the cat sat on a mat while seven small birds sang of rain and old stone towers".split()
        chance = random.Random(1)
        Path(self.text).write_text(" ".join(chance.choice(words) for _ in range(2000)))
        self.base = os.path.join(folder, "base")  # a dense run, to export
        os.mkdir(self.base)
        config = self.configuration("base", self.base, "")
        self.run(self.base, ["train", config, "depth={kind: dense}"])

    def configuration(self, name, folder, more):
        path = os.path.join(self.top, name + ".yaml")
        Path(path).write_text(CONFIG.format(folder=folder, text=self.text) + more)
        return path

    def run(self, folder, arguments, fault=None):
        """Exit code, messages and, where there is a fault (call, number, kind), how many calls of each kind a command made."""
        environment = dict(os.environ, GOMP_SPINCOUNT="2000", OMP_NUM_THREADS="1")
        counter = os.path.join(self.top, "counter")
        if fault:
            Path(counter).write_bytes(bytes(8 * len(KINDS)))
            environment.update(LD_PRELOAD=self.shim, FAULTS_FOLDER=folder, FAULTS_CALL=fault[0], FAULTS_NUMBER=str(fault[1]), FAULTS_KIND=str(fault[2]),
                               FAULTS_COUNTER=counter)
        try:
            done = subprocess.run([self.program, *arguments], env=environment, capture_output=True, text=True, errors="replace", timeout=120)
        except subprocess.TimeoutExpired:
            return "no end", "", {}
        calls = dict(zip(KINDS, struct.unpack("<%dQ" % len(KINDS), Path(counter).read_bytes()))) if fault else {}
        return done.returncode, done.stdout + done.stderr, calls


def content_of(folder, results):
    """What must be equal of two runs: names and bytes of files, records without what is measured."""
    found = {}
    for result in results:
        for path in sorted(Path(folder, result).rglob("*")):
            name = path.relative_to(folder).as_posix()
            if path.is_symlink():
                found[name] = os.readlink(path)
            elif path.name == "metrics.jsonl":
                records = [json.loads(line) for line in path.read_text().splitlines()]
                found[name] = [{key: value for key, value in record.items() if key not in MEASURED} for record in records if record["kind"] != "run"]
            elif path.is_file() and path.suffix in (".safetensors", ".shard", ".model", ".gguf") or path.name == "tokenizer.json":
                found[name] = path.read_bytes()
    return found


def difference(found, expected):
    for name in sorted(set(found) | set(expected)):
        if name not in found or name not in expected:
            return "%s is %s" % (name, "missing" if name not in found else "too many")
        if found[name] != expected[name]:
            return name + " differs"
    return ""


def leftovers(folder):
    """Files that look temporary, and folders."""
    return [path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if ".tmp" in path.name or path.name.startswith(".old-")]


class Trial:
    def __init__(self, bench, scenario, config, folder):
        self.bench, self.scenario, self.folder = bench, scenario, folder
        values = {"config": config, "folder": folder, "base": bench.base}
        self.arguments = [each.format(**values) for each in scenario.arguments]
        self.before = [[each.format(**values) for each in command] for command in scenario.before]
        self.expected, self.prepared = None, folder + ".before"

    def reset(self):
        """The folder as it is before the command."""
        if not os.path.isdir(self.prepared):
            os.makedirs(os.path.join(self.folder, "out"))
            for command in self.before:
                code, text, _ = self.bench.run(self.folder, command)
                assert code == 0, text
            shutil.copytree(self.folder, self.prepared, symlinks=True)
        shutil.rmtree(self.folder)
        shutil.copytree(self.prepared, self.folder, symlinks=True)

    def count(self):
        """Runs the command undisturbed: its calls, and what it leaves."""
        self.reset()
        code, text, calls = self.bench.run(self.folder, self.arguments, ("write", 0, 0))
        assert code == 0, text
        self.expected = content_of(self.folder, self.scenario.results)
        assert self.expected, "nothing to compare"
        return calls

    def attempt(self, fault):
        """What is wrong after this fault; empty: nothing. And the exit code."""
        self.reset()
        code, text, _ = self.bench.run(self.folder, self.arguments, fault)
        allowed = {0} if fault[2] in GOES_ON else set(self.scenario.codes)
        if code not in allowed:
            return code, "ended with %s: %s" % (code, text.strip()[-400:])
        for checkpoint in sorted(Path(self.folder).rglob("step-????????")):
            inspected, said, _ = self.bench.run(self.folder, ["inspect", str(checkpoint)])
            if inspected != 0:
                return code, "after exit code %s: %s" % (code, said.strip()[-300:])
        exported = content_of(self.folder, ["out"])
        if code != 0 and self.scenario.results == ["out"] and (wrong := [name for name in exported if exported[name] != self.expected.get(name)]):
            return code, "after exit code %s, %s is not whole" % (code, wrong[0])
        if code == 0 and (wrong := difference(content_of(self.folder, self.scenario.results), self.expected)):
            return code, "ended with 0, but " + wrong
        again, said, _ = self.bench.run(self.folder, self.arguments)
        if again != 0:
            return code, "after exit code %s, the same command ended with %s: %s" % (code, again, said.strip()[-300:])
        if wrong := difference(content_of(self.folder, self.scenario.results), self.expected):
            return code, "after exit code %s (%s), the same command: %s" % (code, text.strip()[-200:], wrong)
        if left := leftovers(self.folder):
            return code, "left behind: " + ", ".join(left)
        return code, ""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--share", type=float, default=0.05, help="of the faults that are tried")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--seed", type=int, default=1, help="draws the share")
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO")
    options = parser.parse_intermixed_args()
    if unknown := set(options.scenarios) - {scenario.name for scenario in SCENARIOS}:
        parser.error("unknown scenario: " + ", ".join(sorted(unknown)))
    findings = total = 0
    with tempfile.TemporaryDirectory(prefix="isobath-faults-") as top:
        bench = Bench(options.program, os.path.realpath(top))
        for scenario in SCENARIOS:
            if options.scenarios and scenario.name not in options.scenarios:
                continue
            folder = os.path.join(bench.top, scenario.name)
            os.mkdir(folder)
            trial = Trial(bench, scenario, bench.configuration(scenario.name, folder, COMPARE if scenario.name == "compare" else ""), folder)
            calls = trial.count()
            faults = [(call, number, kind) for call in KINDS for number in range(1, calls[call] + 1) for kind in KINDS[call]]
            if not options.all:
                faults = random.Random("%d %s" % (options.seed, scenario.name)).sample(faults, max(1, round(len(faults) * options.share)))
            codes = Counter()
            for fault in sorted(faults, key=str):
                code, wrong = trial.attempt(fault)
                codes[code] += 1
                if wrong:
                    findings += 1
                    print("%s, %s %d with %s: %s" % (scenario.name, fault[0], fault[1], errno.errorcode.get(fault[2], fault[2]), wrong), flush=True)
            total += len(faults)
            print("%s: %s; %d faults tried, exit codes %s" % (scenario.name, ", ".join("%d %s" % (n, c) for c, n in calls.items() if n), len(faults),
                                                             ", ".join("%s: %d" % (c, n) for c, n in sorted(codes.items(), key=str))), flush=True)
    print("%d faults, %d findings" % (total, findings))
    return findings > 0


if __name__ == "__main__":
    sys.exit(main())
