"""Damaged checkpoints, full disks, a second process: what is whole stays whole, and the exit code says what happened."""

import os
import resource
import shutil
import signal
import time

from common import STOP, Workspace, check, check_same_run


def flip_byte(path):
    with open(path, "r+b") as file:
        file.seek(-5, os.SEEK_END)
        byte = file.read(1)[0]
        file.seek(-5, os.SEEK_END)
        file.write(bytes([byte ^ 1]))


def small_files_only():
    """The optimizer's tensors no longer fit, as on a full disk. Writing past the limit is an error instead of a signal."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))


SHORT = ("train.budget=40step", "checkpoint.every=10step", "eval.every=40step", "eval.final_tokens=1Ki", "eval.calibration_tokens=1Ki")

with Workspace() as space:
    space.train("name=reference", *SHORT)

    # One flipped byte in the newest checkpoint: inspect finds it, training goes back to the one before.
    space.train_until("damaged", 21, STOP, *SHORT)
    newest = space.checkpoints("damaged")[-1]
    out, _ = space.run("inspect", space.path("runs/damaged"))
    check("DAMAGED" not in out and newest in out, out)
    flip_byte(space.path("runs/damaged/checkpoints", newest, "model.safetensors"))
    out, err = space.run("inspect", space.path("runs/damaged"), expect=4)
    check("DAMAGED" in out and "checksum" in err, out + err)
    _, err = space.run("inspect", space.path("runs/damaged/checkpoints", newest), expect=4)
    check("model.safetensors" in err, err)
    space.run("generate", space.path("runs/damaged"), expect=4)
    _, err = space.train("name=damaged", *SHORT)
    check("going back to the older checkpoint" in err and "model.safetensors" in err, err)
    check(os.path.isdir(space.path("runs/damaged/checkpoints", newest + ".damaged")), "the damaged one was not set aside")
    check_same_run(space, "damaged")

    # Nothing whole is left: nothing is overwritten.
    shutil.copytree(space.path("runs/reference"), space.path("runs/ruined"), symlinks=True)
    for name in space.checkpoints("ruined"):
        os.truncate(space.path("runs/ruined/checkpoints", name, "optimizer.safetensors"), 100)
    _, err = space.train("name=ruined", *SHORT, expect=4)
    check("no whole checkpoint" in err, err)
    check(len(space.checkpoints("ruined")) == len(space.checkpoints("reference")), "checkpoints were touched")

    # A disk that fills up during a checkpoint: exit 7, the earlier checkpoint whole, and the run goes on later.
    space.train_until("full", 7, STOP, *SHORT)
    before = space.checkpoints("full")
    _, err = space.train("name=full", *SHORT, expect=7, preexec_fn=small_files_only, restore_signals=False)
    check("was not written" in err, err)
    check(space.checkpoints("full") == before, "checkpoints %s, before %s" % (space.checkpoints("full"), before))
    check(not [n for n in os.listdir(space.path("runs/full/checkpoints")) if n.startswith(".")], "leftovers")
    space.run("inspect", space.path("runs/full"))
    space.train("name=full", *SHORT)
    check_same_run(space, "full")

    # Two processes never train in one folder.
    first = space.start("train", space.config, "name=twice", "train.budget=5000step")
    while not space.metrics("twice") and first.poll() is None:
        time.sleep(0.01)
    _, err = space.train("name=twice", "train.budget=5000step", expect=2)
    check("another process" in err, err)
    first.send_signal(signal.SIGTERM)
    first.communicate(timeout=60)
    check(first.returncode == 143, "the first ended with %s" % first.returncode)
print("ok")
