"""A comparison from its configuration to its report, and the speed of decoding that it and `bench decode` measure."""

import json
import os
import re
import shutil
import signal
import subprocess
import time

from common import PROGRAM, Workspace, check

COMPARE = """\
compare:
  seeds: [1]
  baseline: dense
  arms:
    dense: {set: {depth: {kind: dense}}}
    mod: {}
"""

with Workspace() as space:
    with open(space.config, "a") as file:
        file.write(COMPARE)
    arguments = ("compare", space.config, "name=pair", "train.budget=20step", "eval.every=10step")
    out, err = space.run(*arguments)
    folder = space.path("runs/pair")
    with open(os.path.join(folder, "report.json")) as file:
        report = json.load(file)
    check("from the cache" in out and [arm["name"] for arm in report["arms"]] == ["dense", "mod"], out)
    dense, mod = ({one["batch"]: one for one in arm["decoding"]} for arm in report["arms"])
    check(set(dense) == set(mod) == {1, 16}, "%s %s" % (dense, mod))
    for batch in (1, 16):
        check(dense[batch]["kv_bytes_per_token"] == report["arms"][0]["kv_bytes_per_token"], "%s" % dense)
        check(2 <= mod[batch]["blocks_per_token"] < 4 == dense[batch]["blocks_per_token"], "%s %s" % (dense, mod))
        check(mod[batch]["tokens_per_s"] > 0 and mod[batch]["kv_bytes_per_token"] < dense[batch]["kv_bytes_per_token"], "%s" % mod)

    # What was asked before the first run is written down once.
    registered = space.content("runs/pair/registered.yaml").decode()
    asked = space.content("runs/pair/experiment.yaml").decode()
    check(re.fullmatch(r"# registered \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ by isobath \S+", registered.split("\n")[0]) and registered.split("\n", 1)[1] == asked, registered)
    check(report["registered"]["changes"] == [] and report["registered"]["yaml"] == asked, report["registered"])

    # What is measured stays until a run is trained again.
    measured = os.path.join(folder, "mod/seed-1/decode.json")
    before = os.stat(measured).st_mtime_ns
    space.run(*arguments)
    check(os.stat(measured).st_mtime_ns == before, "a finished comparison was measured again")

    def decoded_anew():
        """Removes what decoding left and the report, so that the next call writes both again."""
        shutil.rmtree(measured) if os.path.isdir(measured) else os.remove(measured)
        os.remove(os.path.join(folder, "report.json"))

    def reported():
        with open(os.path.join(folder, "report.json")) as file:
            return json.load(file)

    # A process that is killed while it decodes, as for taking too much memory, leaves a report. It decodes with the limit on spinning,
    # which OpenMP reads when the process starts.
    decoded_anew()
    process = space.start(*arguments)
    for line in process.stderr:
        if "decoding" in line:
            break
    with open("/proc/%d/environ" % process.pid) as file:
        environment = file.read().split("\0")
    process.kill()
    process.communicate()
    check([arm["name"] for arm in reported()["arms"]] == ["dense", "mod"], "killed while it decoded, compare left another report")
    check("GOMP_SPINCOUNT=2000" in environment, "compare decodes without GOMP_SPINCOUNT=2000")

    # A decoding that fails costs no report, which says what failed. Here its result cannot be written.
    space.run(*arguments)
    decoded_anew()
    os.mkdir(measured)
    with open(os.path.join(measured, "in the way"), "w"):
        pass
    os.utime(measured, (0, 0))
    out, err = space.run(*arguments)
    notes = [warning for warning in reported()["warnings"] if "decoding failed" in warning]
    check(len(notes) == 1 and "decode.json" in notes[0] and notes[0] in out and "decoding failed" in err, "%s\n%s" % (out, err))
    decoded_anew()
    out, _ = space.run(*arguments)
    check(not any("decoding failed" in warning for warning in reported()["warnings"]) and len(reported()["arms"][1]["decoding"]) == 2, out)
    space.run(*arguments, "compare.jobs=2")
    check(space.content("runs/pair/registered.yaml").decode() == registered and reported()["registered"]["changes"] == ["compare.jobs: auto -> 2"], reported()["registered"])

    # A schedule that finished runs do not have, or that ends before them, is refused before anything is written.
    for keys, words in ((("train.lr=1e-4",), "has finished under other settings"), (("train.budget=10step",), "is less than what")):
        before = space.content("runs/pair/experiment.yaml")
        _, err = space.run(*arguments[:2], *arguments[2:], *keys, expect=2)
        check(words in err, err)
        check(space.content("runs/pair/experiment.yaml") == before, "a refused comparison has changed its folder")

    # While runs are running there is a page that says so and loads itself again; once they are stopped it does not.
    live = space.path("runs/live/report.json")
    process = space.start("compare", space.config, "name=live", "train.budget=100000step")
    deadline = time.time() + 60
    while time.time() < deadline and not (os.path.exists(live) and json.loads(space.content("runs/live/report.json"))["unfinished"]):
        time.sleep(0.2)
    page = json.loads(space.content("runs/live/report.json"))
    check(page["running"] and page["reload_s"] >= 5 and page["unfinished"][0]["state"] == "running", "%s" % page)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    page = json.loads(space.content("runs/live/report.json"))
    check(process.returncode == 130 and not page["running"] and page["reload_s"] == 0, "%s" % page)
    check([run["state"] for run in page["unfinished"]] == ["stopped"] and page["headline"] == "no run has finished yet", "%s" % page)

    # A program that is built anew meanwhile changes nothing: all runs are of the program that was started.
    program = space.path("isobath")
    shutil.copy(PROGRAM, program)
    process = subprocess.Popen([program, "compare", space.config, "name=rebuilt", "train.budget=20step", "eval.every=10step"],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not os.path.exists(space.path("runs/rebuilt/dense/seed-1/pending")):
        time.sleep(0.002)
    with open(space.path("rebuilt"), "w") as file:
        file.write("#!/bin/sh\necho another program >&2\nexit 1\n")
    os.chmod(space.path("rebuilt"), 0o755)
    os.replace(space.path("rebuilt"), program)
    out, err = process.communicate(timeout=300)
    check(process.returncode == 0, "a program that was replaced while it compared: exit code %s\n%s%s" % (process.returncode, out, err))
    with open(space.path("runs/rebuilt/mod/seed-1/command.txt")) as file:
        command = file.read()
    check(command == "%s train %s\n" % (program, space.path("runs/rebuilt/mod/seed-1/config.yaml")), command)

    # Which build made a run stands in its folder and in the report.
    with open(space.path("runs/rebuilt/mod/seed-1/environment.json")) as file:
        environment = json.load(file)
    with open(space.path("runs/rebuilt/report.json")) as file:
        report = json.load(file)
    build = environment["build"]
    check(build.count(", ") == 2 and environment["libtorch"] in build, build)
    check(report["environment"]["build"] == build, report["environment"])
    check([run["builds"] for arm in report["arms"] for run in arm["runs"]] == [[build], [build]], "%s" % report["arms"])

    # What the ledger says of bytes and of growing cost.
    out, _ = space.run("bench", "decode", space.config, "--json", "--batch", "3", "--prompt", "16,40", "--steps", "8", "--repeats", "2")
    arms = {(arm["name"], arm["prompt"]): arm for arm in json.loads(out)["arms"]}
    check(set(arms) == {(name, prompt) for name in ("dense", "mod") for prompt in (16, 40)}, out)
    for (name, prompt), arm in arms.items():
        predicted = arm["kv_bytes_per_token_at_realised_capacity"]
        check(abs(arm["kv_bytes_per_token"] / predicted - 1) < 1e-6 and arm["kv_reserved_per_token"] >= predicted, out)
        check(len(arm["step_time_s"]) == len(arm["prompt_time_s"]) == 2, out)
    check(arms["dense", 40]["growth"]["step_flops"] > arms["dense", 16]["growth"]["step_flops"] == 1, out)
    check(arms["mod", 16]["flops_per_token"] < arms["dense", 16]["flops_per_token"], out)
    _, err = space.run("bench", "decode", space.config, "--prompt", "60", expect=2)
    check("model.context = 64" in err, err)

    # A peer that answers badly ends the bench by name.
    _, err = space.run("bench", "decode", space.config, "--prompt", "8", "--repeats", "1", "--peer", "parrot=echo hello", expect=1)
    check("echo hello" in err, err)

print("ok")
