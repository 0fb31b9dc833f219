"""What the end-to-end tests share: a tiny experiment, and a way to run the program. Standard library only."""

import json
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

PROGRAM = sys.argv[1]

CONFIG = """\
name: tiny
run_dir: {folder}/runs
data: {{sources: ["{folder}/text"], cache_dir: "{folder}/cache", valid_fraction: 0.1}}
tokenizer: {{kind: byte}}
model: {{layers: 4, width: 32, heads: 2, kv_heads: 2, context: 64}}
depth: {{kind: mod, capacity: 0.25, stride: 2, offset: 1, causal: predictor}}
train: {{budget: 60step, batch_tokens: 512, micro_batch_tokens: 256, log_every: 7step, threads: 1}}
eval: {{every: 20step, tokens: 1Ki, final_tokens: 2Ki, sample_tokens: 4}}
checkpoint: {{every: 15step, keep: 2}}
"""


class Workspace:
    """A temporary folder with a text and a configuration of a few seconds."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="isobath-e2e-")
        self.config = os.path.join(self.folder, "tiny.yaml")
        os.mkdir(os.path.join(self.folder, "text"))
        words = "the cat sat on a mat while seven small birds sang of rain and old stone towers".split()
        chance = random.Random(1)
        for number in range(30):
            with open(os.path.join(self.folder, "text", "%d.txt" % number), "w") as file:
                file.write(" ".join(chance.choice(words) for _ in range(600)) + ".\n")
        with open(self.config, "w") as file:
            file.write(CONFIG.format(folder=self.folder))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.folder, ignore_errors=True)

    def path(self, *parts):
        return os.path.join(self.folder, *parts)

    def lines(self, lines):
        """A file of these lines, open for reading."""
        path = self.path("lines.txt")
        with open(path, "w") as file:
            file.writelines(line + "\n" for line in lines)
        return open(path)

    def start(self, *arguments, **options):
        return subprocess.Popen([PROGRAM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                errors="replace", **options)

    def run(self, *arguments, expect=0, **options):
        """Runs the program to its end; returns what it wrote to stdout and stderr."""
        process = self.start(*arguments, **options)
        out, err = process.communicate(timeout=300)
        check(process.returncode == expect, "%s ended with %s, not %s:\n%s%s" % (arguments, process.returncode, expect, out, err))
        return out, err

    def train(self, *keys, expect=0, **options):
        return self.run("train", self.config, *keys, expect=expect, **options)

    def train_until(self, name, step, signal_number, *keys):
        """Trains until a train record of `step` is written, then sends the signal. Returns exit code and stderr."""
        process = self.start("train", self.config, "name=" + name, *keys)
        deadline = time.time() + 120
        while process.poll() is None and time.time() < deadline:
            if any(r["kind"] == "train" and r["step"] >= step for r in self.metrics(name)):
                process.send_signal(signal_number)
                break
            time.sleep(0.01)
        _, err = process.communicate(timeout=120)
        return process.returncode, err

    def metrics(self, name):
        """Whole records of metrics.jsonl so far."""
        try:
            with open(self.path("runs", name, "metrics.jsonl")) as file:
                lines = file.read().split("\n")
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in lines[:-1]]

    def checkpoints(self, name):
        folder = self.path("runs", name, "checkpoints")
        return sorted(entry for entry in os.listdir(folder) if entry.startswith("step-") and not entry.endswith(".damaged"))

    def content(self, *parts):
        with open(self.path(*parts), "rb") as file:
            return file.read()


# What may differ between two runs of the same thing.
MEASURED = {"time_s", "data_wait_s", "tokens_per_s", "mfu", "mfu_6n", "memory_bytes", "eval_s", "step_time_s_median", "wall_s", "name", "peak_flops",
            "checkpoint_s", "checkpoints"}


def comparable(records):
    return [{key: value for key, value in record.items() if key not in MEASURED} for record in records]


def check(condition, message):
    if not condition:
        print("FAILED:", message)
        sys.exit(1)


def check_same_run(workspace, name, reference="reference"):
    """Final weights, optimizer and every metric of two runs are equal."""
    mine, other = (["runs", n, "latest"] for n in (name, reference))
    for file in ("model.safetensors", "optimizer.safetensors"):
        check(workspace.content(*mine, file) == workspace.content(*other, file), "%s: %s differs from %s" % (name, file, reference))
    a, b = comparable(workspace.metrics(name)), comparable(workspace.metrics(reference))
    for left, right in zip(a, b):
        check(left == right, "%s: a record differs from %s:\n  %s\n  %s" % (name, reference, left, right))
    check(len(a) == len(b), "%s has %d records, %s %d" % (name, len(a), reference, len(b)))


def tensors(file):
    """name -> bytes of a safetensors file."""
    length = struct.unpack("<Q", file[:8])[0]
    header = json.loads(file[8:8 + length])
    return {name: file[8 + length + one["data_offsets"][0]:8 + length + one["data_offsets"][1]] for name, one in header.items() if name != "__metadata__"}


STOP, INTERRUPT, KILL = signal.SIGTERM, signal.SIGINT, signal.SIGKILL
