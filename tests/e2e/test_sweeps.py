"""Budgets, sizes, shards, devices and tuning, from the configuration to the report."""

import json
import os
import shutil
import time

from common import Workspace, check

SWEEP = """\
compare:
  seeds: [1]
  budgets: [24step, 12step]
  baseline: dense
  arms:
    dense: {set: {depth: {kind: dense}}, size: {small: {model.layers: 2}, large: {model.layers: 4}}}
    mod: {}
"""

TUNED = """\
compare:
  seeds: [1]
  tune: {keys: {train.lr: [1e-4, 1e-3]}, seeds: [101], share: 50%, as: {deep: dense}}
  arms:
    dense: {set: {depth: {kind: dense}}}
    mod: {}
    deep: {set: {depth: {kind: dense}, model.layers: 6}}
"""


def configuration(space, name, compare):
    path = space.path(name)
    with open(space.config) as file, open(path, "w") as out:
        out.write(file.read() + compare)
    return path


def reported(folder):
    with open(os.path.join(folder, "report.json")) as file:
        return json.load(file)


def records(space, *parts):
    return space.content("runs", *parts, "metrics.jsonl")


with Workspace() as space:
    keys = ("eval.every=50%", "eval.tokens=512", "eval.final_tokens=512", "eval.sample_tokens=0")

    # Every arm at every size and budget, the largest budget judged.
    config = configuration(space, "sweep.yaml", SWEEP)
    out, _ = space.run("plan", config)
    check("budget 12step\n" in out and "budget 24step\n" in out and "all runs: 6, " in out and "dense/small" in out, out)
    check(json.loads(space.run("plan", config, "--json")[0])["runs"] == 6, "plan --json counts other runs")
    out, err = space.run("compare", config, "name=whole", *keys)
    whole = reported(space.path("runs/whole"))
    check([arm["name"] for arm in whole["arms"]] == ["dense/small", "dense/large", "mod"] and whole["budget"] == "24step", "%s" % whole["arms"])
    check("budget 24step a run" in out and "[1/6] dense/12step/small/seed-1" in err and "mod/24step/seed-1" in err, out + err)
    rows = {(row["family"], row["size"], row["budget"]): row for row in whole["sweep"]}
    check(set(rows) == {(family, size, budget) for family, size in (("dense", "small"), ("dense", "large"), ("mod", ""))
                        for budget in ("12step", "24step")}, "%s" % rows)
    check(rows["dense", "large", "24step"]["params"] > rows["dense", "small", "24step"]["params"], "%s" % rows)
    check(rows["mod", "", "24step"]["tokens"] == 24 * 512 and rows["mod", "", "12step"]["losses"][0] > 0, "%s" % rows)
    check(all(arm["decoding"] for arm in whole["arms"]), "decoding was not measured at the largest budget")
    check(not os.path.exists(space.path("runs/whole/mod/12step/seed-1/decode.json")), "decoding was measured at a smaller budget")
    out, _ = space.run("runs", space.path("runs"))
    check("6 of 6 runs finished" in out and "whole/dense/12step/large/seed-1" in out, out)
    out, _ = space.run("report", space.path("runs/whole/dense/24step/small/seed-1"), "--output", space.path("single"))
    check([arm["name"] for arm in reported(space.path("single"))["arms"]] == ["dense/24step/small"], out)
    before = records(space, "whole/mod/24step/seed-1")
    _, err = space.run("compare", config, "name=whole", *keys)
    check(err.count("finished before") == 6 and records(space, "whole/mod/24step/seed-1") == before, err)
    out, _ = space.run("config", "show", config, "--arm", "dense/small")
    check("layers: 2" in out and "size small of arm dense" in out, out)

    # Two machines with folders of their own run each run once, and their report is that of one machine.
    for shard in (1, 2):
        out, _ = space.run("compare", config, "name=sweep", "run_dir=" + space.path("machine%d" % shard), "--shard", "%d/2" % shard, *keys)
        folder = space.path("machine%d/sweep" % shard)
        check("3 of 3 runs of this shard are finished; the report of all: isobath report %s" % folder in out, out)
        check(not os.path.exists(os.path.join(folder, "report.json")), "a shard has written a report")
    machines = [space.path("machine%d/sweep" % shard) for shard in (1, 2)]
    space.run("report", *machines, "--output", space.path("merged"))
    merged = reported(space.path("merged"))
    check(not merged["incomplete"], "%s" % merged["incomplete"])
    check([(row["family"], row["size"], row["budget"], row["losses"]) for row in merged["sweep"]] ==
          [(row["family"], row["size"], row["budget"], row["losses"]) for row in whole["sweep"]], "%s" % merged["sweep"])
    out, _ = space.run("report", machines[0])
    check(out.count("not started") == 3, out)

    # A run that two folders hold: a copy is taken once, another one is refused with both paths.
    twice = "mod/12step/seed-1"
    owner, other = machines if os.path.exists(os.path.join(machines[0], twice)) else reversed(machines)
    shutil.copytree(os.path.join(owner, twice), os.path.join(other, twice))
    space.run("report", *machines, "--output", space.path("merged"))
    with open(os.path.join(other, twice, "metrics.jsonl"), "a") as file:
        file.write('{"kind": "note"}\n')
    _, err = space.run("report", *machines, "--output", space.path("merged"), expect=3)
    check(os.path.join(owner, twice) in err and os.path.join(other, twice) in err, err)

    # Shards share a folder; the same one, and the whole experiment, are refused beside one.
    arguments = ("compare", config, "name=shared", "compare.budgets=none", "train.budget=100000step", *keys)
    process = space.start(*arguments, "--shard", "1/3")
    deadline = time.time() + 60
    while time.time() < deadline and not os.path.exists(space.path("runs/shared/dense/small/seed-1/metrics.jsonl")):
        time.sleep(0.1)
    _, err = space.run(*arguments, "--shard", "1/3", expect=2)
    check("another process runs shard 1/3" in err, err)
    _, err = space.run(*arguments, expect=2)
    check("another process is comparing" in err, err)
    space.run(*arguments, "--shard", "3/3", "--minutes", "0.01", expect=9)
    process.terminate()
    process.communicate(timeout=60)
    check(process.returncode == 143, "a stopped shard ended with %s" % process.returncode)
    _, err = space.run("compare", config, "--shard", "4/3", expect=2)
    check("write 2/4 for the second of four" in err, err)

    # Runs are handed round over devices.
    _, err = space.run("compare", config, "name=devices", "compare.devices=[cpu, cpu]", "compare.budgets=[12step]", "train.threads=auto", *keys)
    check(len(reported(space.path("runs/devices"))["arms"]) == 3, err)
    check(err.index("dense/12step/large/seed-1: starts") < err.index("dense/12step/small/seed-1: finished"), err)

    # Tuning: every arm tries the same settings, and its choice stays.
    config = configuration(space, "tuned.yaml", TUNED)
    out, _ = space.run("plan", config, "train.budget=16step")
    check("tuning before them: 4 trials" in out, out)
    arguments = ("compare", config, "name=tuned", "train.budget=16step", *keys)
    out, err = space.run(*arguments)
    check("tune/mod/lr-1e-4/seed-101" in err and "tuning took" in out and "deep takes the choice of dense" in out, out + err)
    tuning = reported(space.path("runs/tuned"))["tuning"]
    check([arm["arm"] for arm in tuning["arms"]] == ["dense", "mod"] and tuning["trials"] == 4, "%s" % tuning)
    for arm in tuning["arms"]:
        losses = {trial["name"]: trial["loss_causal"] for trial in arm["trials"]}
        check(arm["chosen"] == min(losses, key=losses.get) == "lr-1e-3", "%s" % arm)  # so few steps favour the larger rate
    check("mod: the best train.lr, 1e-3, is the largest tried" in err, err)
    check(0.2 < tuning["share_of_train_flops"] < 0.5, "%s" % tuning)
    for arm in ("dense", "mod", "deep"):
        check(b"\n  lr: 0.001\n" in space.content("runs/tuned", arm, "seed-1/config.yaml"), "%s did not take the choice" % arm)
    check(len([r for r in space.metrics("tuned/tune/mod/lr-1e-3/seed-101") if r["kind"] == "end" and r["step"] == 8]) == 1, "trials have another length")
    before = space.content("runs/tuned/tune.json")
    _, err = space.run(*arguments)
    check(err.count("finished before") == 3 and space.content("runs/tuned/tune.json") == before, err)
    _, err = space.run(*arguments, "compare.tune.keys.train.lr=[1e-3, 2e-3]", expect=2)
    check("compare.tune.keys.train.lr: [1e-4, 1e-3] there, [1e-3, 2e-3] now" in err, err)

    # A trial that diverges is a bad setting, not a failure.
    _, err = space.run("compare", config, "name=diverging", "train.budget=60step", "train.log_every=5step", "train.weight_decay=100",
                       "compare.tune.keys.train.lr=[1e-3, 100]", *keys)
    for arm in json.loads(space.content("runs/diverging/tune.json"))["arms"]:
        check(arm["chosen"] == "lr-1e-3" and arm["trials"][1]["losses"] == [None] and not arm["trials"][1]["loss_causal"], "%s\n%s" % (arm, err))

print("ok")
