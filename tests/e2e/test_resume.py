"""Stopped anywhere and started again, a run ends with the bytes of one that was never stopped."""

import json
import os
import shutil
import time

from common import INTERRUPT, KILL, STOP, Workspace, check, check_same_run

with Workspace() as space:
    space.train("name=reference")
    records = space.metrics("reference")
    kinds = [record["kind"] for record in records]
    check(kinds[0] == "run" and kinds[-1] == "end" and records[-1]["status"] == "finished", "records: %s" % kinds)
    check([r["step"] for r in records if r["kind"] == "train"] == [7, 14, 21, 28, 35, 42, 49, 56, 60], "train records")
    check([(r["step"], r["final"]) for r in records if r["kind"] == "validation"] == [(20, False), (40, False), (60, False), (60, True)],
          "validations: %s" % [(r["step"], r["final"]) for r in records if r["kind"] == "validation"])
    check(records[-1]["train_flops_total"] == records[0]["train_flops_planned"], "realised FLOPs are not the planned ones")
    for file in ("config.yaml", "command.txt", "environment.json", "train.log", "depth_text.json", "latest", "best"):
        check(os.path.exists(space.path("runs/reference", file)), "no " + file)
    text = json.loads(space.content("runs/reference/depth_text.json"))
    check(len(text["pieces"]) == len(text["depth"]) == len(text["loss"]) == 64 and text["layers"] == 4, "depth_text.json")
    check(all(2 <= depth <= 4 for depth in text["depth"]), "depths %s" % text["depth"])

    # Stopped by a signal between two records, before the first checkpoint, and again later: a run is a function of its configuration.
    code, err = space.train_until("stopped", 7, STOP)
    check(code == 143 and "saved" in err, "SIGTERM ended with %s:\n%s" % (code, err))
    check(space.metrics("stopped")[-1]["status"] == "stopped", "no end record of the stop")
    shutil.copytree(space.path("runs/stopped"), space.path("runs/other"), symlinks=True)

    # Text that changed under the same path, as long as before, is other text; the refusal harms nothing.
    path = space.path("text/0.txt")
    before = open(path).read()
    with open(path, "w") as file:
        file.write("X" + before[1:])
    _, err = space.train("name=stopped", expect=3)
    check("the text is not what" in err, err)
    with open(path, "w") as file:
        file.write(before)
    code, err = space.train_until("stopped", 28, INTERRUPT)
    check(code == 130 and "resuming" in err, "SIGINT ended with %s:\n%s" % (code, err))
    _, err = space.train("name=stopped")
    check("resuming" in err and "bit-exact" not in err, err)
    check_same_run(space, "stopped")

    # No thread that computes may be interrupted by a signal handler (src/core/stop.h).
    process = space.start("train", space.config, "name=masks", "train.budget=5000step", "train.threads=2")
    while len(space.metrics("masks")) < 3 and process.poll() is None:
        time.sleep(0.01)
    tasks, interruptible = os.listdir("/proc/%d/task" % process.pid), []
    for task in tasks:
        with open("/proc/%d/task/%s/status" % (process.pid, task)) as file:
            blocked = int(next(line.split()[1] for line in file if line.startswith("SigBlk:")), 16)
        if not all(blocked >> (number - 1) & 1 for number in (STOP, INTERRUPT)):
            interruptible.append(task)
    # The one that waits for the signals shows them as not blocked while it waits.
    check(len(tasks) >= 3 and len(interruptible) <= 1 and str(process.pid) not in interruptible,
          "of the threads %s these can be interrupted: %s" % (tasks, interruptible))
    process.send_signal(STOP)
    process.communicate(timeout=60)
    check(process.returncode == 143, "the run with two threads ended with %s" % process.returncode)

    # Killed: what came after the last checkpoint is done again.
    code, _ = space.train_until("killed", 35, KILL)
    check(code == -9, "SIGKILL ended with %s" % code)
    with open(space.path("runs/killed/metrics.jsonl"), "a") as file:
        file.write('{"kind":"train","step":36,"to')  # as if it had died while writing
    space.train("name=killed")
    check_same_run(space, "killed")

    # What other kinds of routing keep from step to step: a capacity that changes, running thresholds, documents. Stopped and killed in
    # turn: "scaled" before its tokens harden, "layers" with a checkpoint from after that.
    kinds = {"changing": ("depth.capacity_random=[10%,60%]", "depth.capacity_warmup=40%"),
             "threshold": ("depth.causal=threshold", "depth.threshold_training=true", "depth.capacity=[50%,20%]"),
             "nested": ("depth.kind=nested", "depth.exits=[1,2]", "depth.mean_depth=2.5", "depth.balance=bias", "depth.gate_training=gumbel",
                        "depth.causal=none"),
             "documents": ("data.isolate_documents=true", "depth.router=mlp", "depth.causal=none", "depth.score_noise=0.1"),
             "scaled": ("depth.kind=scaled", "depth.mean_depth=2.5", "depth.scale=token", "depth.harden_after=50%", "depth.causal=none"),
             "layers": ("depth.kind=scaled", "depth.mean_depth=2", "depth.harden_after=30%", "depth.causal=none")}
    short = ("train.budget=30step", "checkpoint.every=12step", "eval.final_tokens=1Ki", "eval.calibration_tokens=1Ki")
    for number, (kind, keys) in enumerate(kinds.items()):
        keys += short
        space.train("name=whole-" + kind, *keys)
        code, _ = space.train_until(kind, *((7, STOP), (14, KILL))[number % 2], *keys)
        check(code == (143, -9)[number % 2], "%s was not stopped, but ended with %s" % (kind, code))
        _, err = space.train("name=" + kind, *keys)
        check("resuming" in err, err)
        check_same_run(space, kind, "whole-" + kind)
    records = space.metrics("changing")
    check(records[-1]["train_flops_total"] == records[0]["train_flops_planned"], "realised FLOPs are not the planned ones")
    routed = [r["capacity_realised"][0] for r in records if r["kind"] == "train"]
    check(routed[0] > 0.8 and len(set(routed)) == len(routed), "capacities %s" % routed)

    # A finished run stays as it is, but for links that a killed process did not come to set when its last checkpoint was whole.
    before, older = space.content("runs/stopped/metrics.jsonl"), space.checkpoints("stopped")[-2]
    links = {name: os.readlink(space.path("runs/stopped", name)) for name in ("latest", "best")}
    for name in links:
        os.remove(space.path("runs/stopped", name))
    os.symlink("checkpoints/" + older, space.path("runs/stopped/latest"))
    _, err = space.train("name=stopped")
    check("is finished" in err and space.content("runs/stopped/metrics.jsonl") == before, err)
    for name, target in links.items():
        link = space.path("runs/stopped", name)
        check(os.path.lexists(link) and os.readlink(link) == target, "%s is not %s again" % (name, target))

    # Other threads or micro-batches are allowed and said.
    _, err = space.train("name=other", "train.micro_batch_tokens=512")
    check("not be bit-exact" in err and "256 before, 512 now" in err, err)

    # Another model or seed is another run; another schedule is a new segment.
    for key in ("seed=2", "model.layers=5", "depth.capacity=0.5"):
        _, err = space.train("name=stopped", key, expect=2)
        check(key.split("=")[0] in err and "name=" in err, err)
    space.train("name=stopped", "train.budget=70step", "train.lr=1e-3")
    _, err = space.train("name=stopped", "train.budget=70step", "train.lr=2e-3", expect=2)  # nothing is left that it could train with that
    check("train.lr: 0.001 -> 0.002 would change nothing" in err, err)
    check("lr: 0.001" in space.content("runs/stopped/config.yaml").decode(), "the run says that it had another learning rate")
    state = json.loads(space.content("runs/stopped/latest/state.json"))
    check(state["step"] == 70 and state["finished"], "state %s" % state)
    check([s["from_step"] for s in state["segments"]] == [0, 60], "segments %s" % state["segments"])
    check(any("train.lr" in change for change in state["segments"][1]["changes"]), "segments %s" % state["segments"])
    check(space.metrics("stopped")[-1]["status"] == "finished", "no end record of the longer run")
print("ok")
