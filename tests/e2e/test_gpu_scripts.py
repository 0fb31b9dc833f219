"""The scripts for a visit to a GPU, tried on the CPU at toy size; and what they say where there is no GPU."""

import ctypes
import json
import os
import subprocess
import sys

from common import PROGRAM, Workspace, check

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")


def script(name, *arguments, expect=0, **environment):
    done = subprocess.run([os.path.join(ROOT, "scripts", name), *arguments], capture_output=True, text=True, timeout=300,
                          env={**os.environ, "ISOBATH": os.path.abspath(PROGRAM), "ISOBATH_PYTHON": sys.executable, **environment})
    check(done.returncode == expect, "%s %s ended with %s:\n%s%s" % (name, arguments, done.returncode, done.stdout, done.stderr))
    return done.stdout


def has_driver():
    try:
        return bool(ctypes.CDLL("libcuda.so.1"))
    except OSError:
        return False


with Workspace() as space:
    # A check leaves one JSON file, goes on with what is missing, and prints it again.
    output = space.path("check.json")
    parts = ["--device", "cpu", "--tiny", "--work", space.folder, "--output", output]
    script("gpu_check.sh", *parts, "--parts", "environment,kernels")
    said = script("gpu_check.sh", *parts, "--parts", "kernels,profile-124m")
    check("kernels: done before" in said, said)
    with open(output) as file:
        result = json.load(file)
    check(result["parts"]["kernels"]["pass"] and len(result["parts"]["kernels"]["arms"]["bf16"]) == 17, result["parts"]["kernels"])
    arms = {arm["name"]: arm for arm in result["parts"]["profile-124m"]["arms"]}
    check(0 < arms["mod"]["profile"]["routing_share"] < 1 and arms["dense"]["profile"]["routing_share"] == 0, arms)
    check(arms["dense"]["mfu"] > 0 and arms["mod"]["ideal_speedup"] > 1, arms)
    check(space.folder not in json.dumps(result), "a path of this machine is in the JSON")
    check("routing" in script("gpu_check.sh", "--show", output), "the table lacks the goals")

    # Without a GPU: exit 1, and each part's reason in the file.
    if not has_driver():
        refused = space.path("refused.json")
        script("gpu_check.sh", "--work", space.folder, "--output", refused, "--parts", "kernels", expect=1)
        with open(refused) as file:
            part = json.load(file)["parts"]["kernels"]
        check(part["status"] == "failed" and "an NVIDIA driver" in part["reason"], part)

    # The study packs its text, trains what the time allows and goes on.
    data, runs, results = space.path("data"), space.path("study"), space.path("results")
    sources = [os.path.join(ROOT, part) for part in ("src", "trainer", "data", "tests", "docs")]  # enough for 8Ki pieces
    script("gpu_study.sh", "prepare", "--sources", *sources, "--data", data, "--megabytes", "1")
    check(sum(entry.stat().st_size for entry in os.scandir(data)) < 1 << 20, os.listdir(data))
    visit = ["run", "--tiny", "--device", "cpu", "--precision", "fp32", "--data", data, "--runs", runs, "--output", results, "--jobs", "1",
             "--budgets", "1e11", "--reserve-s", "1"]
    finished, visits = [], 0
    while not finished and visits < 10:  # one is enough where nothing else runs
        script("gpu_study.sh", *visit, "--minutes", "0.1")
        finished, visits = [name for name in os.listdir(results) if "-seed-" in name], visits + 1
    check(finished, "no run of the study finished: %s" % os.listdir(results))
    with open(os.path.join(results, finished[0])) as file:
        run = json.load(file)
    check(run["budget_flop"] == 1e11 and abs(int(run["train_flops"]) / 1e11 - 1) < 0.2 and run["loss_causal"] > 0, run)
    print("%d of the study's runs in %d visits" % (len(finished), visits))
