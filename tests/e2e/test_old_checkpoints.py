"""Checkpoints of every kind that an earlier program wrote (tests/e2e/checkpoints) load and resume, and generate.

expected.json holds what that program gave: the losses of the stored model, and the training losses of the twelve steps after it.
"""

import json
import os
import shutil

from common import Workspace, check

STORED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "checkpoints")

# Results that differ by design: random numbers now have a stream of their own in each use, and the balance loss of `balance: loss` takes
# the shares of the step before, so that the cut into micro-batches does not matter.
OTHER_DRAWS = {"mod-random": "loss", "nested-sequence": "resumed"}

# One of each kind: what is read of a file is the same for eval and generate.
GENERATE = {"dense", "mod-threshold", "nested-token", "scaled-token"}

with open(os.path.join(STORED, "expected.json")) as file:
    expected = json.load(file)
check(GENERATE <= set(expected), "no such checkpoints: %s" % (GENERATE - set(expected)))
with Workspace() as space:
    shutil.copy(os.path.join(STORED, "text.txt"), space.folder)
    for name in sorted(expected):
        run = space.path("runs", name)
        shutil.copytree(os.path.join(STORED, name), os.path.join(run, "checkpoints", "step-00000012"))
        os.symlink("checkpoints/step-00000012", os.path.join(run, "latest"))

        out, _ = space.run("eval", "--json", run, "eval.calibration_tokens=off", cwd=space.folder)
        for key in ("loss_topk", "loss_causal"):
            far = abs(json.loads(out)[key] - expected[name][key])
            check(far < (0.02 if OTHER_DRAWS.get(name) == "loss" else 1e-5), "%s: %s is off by %g" % (name, key, far))

        if name in GENERATE:
            out, _ = space.run("generate", run, "-p", "the ", "-n", "8", cwd=space.folder)
            check(out.startswith("the "), "%s generates %r" % (name, out))

        _, err = space.run("train", os.path.join(STORED, name, "config.yaml"), "train.budget=24step", cwd=space.folder)
        check("resuming" in err, "%s started anew:\n%s" % (name, err))
        losses = [r["train_loss"] for r in space.metrics(name) if r["kind"] == "train" and r["step"] > 12]
        check(len(losses) == 12, "%s: %d losses after the resume" % (name, len(losses)))
        far = max(abs(a - b) for a, b in zip(losses, expected[name]["resumed_train_loss"]))
        check(far < (1e-3 if OTHER_DRAWS.get(name) == "resumed" else 1e-5), "%s: training losses after the resume are off by %g" % (name, far))
