"""Fine-tuning on tasks: from task files and rows to a model that answers, stopped and resumed bit for bit, for every kind of depth."""

import json
import os
import random
import re

from common import INTERRUPT, STOP, Workspace, check, check_same_run

COLOURS = ("red", "green", "blue", "grey")
SUM = """\
kind: choice
source: sums.jsonl
split_by: question
split_share: 0.2
train: sums.jsonl
prompt: "{question} ="
choices: choices
answer: label
"""
COLOUR = """\
kind: label
source: colours-test.jsonl
train: colours.jsonl
prompt: "The {thing} is"
answer: colour
labels: [red, green, blue, grey]
words: [red, green, blue, grey]
"""
TASKS = ("tokenizer.kind=byte", "model.context=48", "train.batch_tokens=192", "train.micro_batch_tokens=96", "train.budget=40step", "eval.tokens=all", "eval.final_tokens=all",
         "eval.every=10step", "checkpoint.every=15step", "train.log_every=5step", "eval.calibration_tokens=1Ki")
DENSE = ("depth.kind=dense",)
KINDS = {
    "mod": (),
    "nested": ("depth={kind: nested, exits: [2]}",),
    "expert": ("depth={kind: nested, exits: [2], choice: expert, causal: threshold}",),
    "scaled": ("depth={kind: scaled, scale: token, mean_depth: 3}",),
}


def write_tasks(space):
    chance = random.Random(2)
    os.makedirs(space.path("tasks"))
    os.makedirs(space.path("rows"))
    for name, text in (("sums", SUM), ("colours", COLOUR)):
        with open(space.path("tasks", name + ".yaml"), "w") as file:
            file.write(text)
    with open(space.path("rows", "sums.jsonl"), "w") as file:
        for a in range(12):
            for b in range(12):
                options = [str(a + b), str(a + b + 1), str(abs(a - b) + 30)]
                order = chance.sample(range(3), 3)
                file.write(json.dumps({"question": "%d + %d" % (a, b), "choices": [options[i] for i in order], "label": order.index(0)}) + "\n")
    for part, numbers in (("colours", range(80)), ("colours-test", range(80, 100))):
        with open(space.path("rows", part + ".jsonl"), "w") as file:
            for number in numbers:
                colour = COLOURS[number % 4]
                file.write(json.dumps({"thing": "%s%s ball" % ("very " * (number % 3), colour[:2]), "colour": colour}) + "\n")


def keys(space, *more):
    names = ", ".join(space.path("tasks", name + ".yaml") for name in ("sums", "colours"))
    return ("data.sources=[libtorch-headers]", "data.tasks=[%s]" % names, "eval.tasks_folder=" + space.path("rows"), *TASKS, *more)


def records(space, name, kind):
    return [record for record in space.metrics(name) if record["kind"] == kind]


def check_training(space):
    _, err = space.train(*keys(space, "name=reference", *DENSE))
    check("examples, " in err and "% are padding" in err, err)
    curve = [record["loss_causal"] for record in records(space, "reference", "validation")]
    check(curve[-1] < 0.7 * curve[0], "nothing is learned: %s" % curve)
    final = records(space, "reference", "validation")[-1]
    with open(space.path("rows", "colours-test.jsonl")) as file:
        answers = sum(1 + len(json.loads(line)["colour"]) for line in file)
    check(answers < final["eval_bytes"] < answers + 144 * 3 and final["eval_tokens"] == final["eval_bytes"], "the answers alone are predicted: %s" % final)
    run = records(space, "reference", "run")[0]
    check(run["documents"] == 12 * 12 + 100, "%s" % run)
    plan = json.loads(space.run("plan", space.config, "--data", "--json", *keys(space, *DENSE))[0])
    arm = plan["arms"][0]
    check(plan["data"]["exact"] and abs(arm["epochs"] - run["epochs"]) < 1e-9 and 0 < arm["padding"] < 0.2, "%s" % plan)
    guess = json.loads(space.run("plan", space.config, "--json", *keys(space, *DENSE))[0])["arms"][0]
    check(abs(guess["epochs"] / arm["epochs"] - 1) < 0.1, "%s, not %s" % (guess, arm))
    again = space.run("eval", space.path("runs/reference"), "--json", "train.threads=1")[0]
    check(abs(json.loads(again)["loss_causal"] - final["loss_causal"]) < 1e-6, "%s, not %s" % (again, final))
    space.run("analyze", space.path("runs/reference"), "train.threads=1")
    out, _ = space.run("data", "prepare", space.config, *keys(space))
    check("was there" in out, out)


def check_resume(space):
    for name, kind in (("dense", DENSE), ("mod", ())):
        reference = "reference" if name == "dense" else name
        if name != "dense":
            space.train(*keys(space, "name=" + name, *kind))
        for at, how in ((16, INTERRUPT), (27, STOP)):
            halted = "%s-%d" % (name, at)
            space.train_until(halted, at, how, *keys(space, *kind))
            space.train(*keys(space, "name=" + halted, *kind))
            check_same_run(space, halted, reference)


def check_kinds(space):
    for name, kind in KINDS.items():
        space.train(*keys(space, "name=kind-" + name, "train.budget=12step", *kind))
        losses = [record["loss_causal"] for record in records(space, "kind-" + name, "validation")]
        check(losses[-1] < 5.6, "%s: %s" % (name, losses))
    start = ("train.init_from=" + space.path("runs/reference"), "train.freeze=[blocks, embeddings]", "model.context=48")
    space.train(*keys(space, "name=frozen", "train.budget=5step", *start))
    first = records(space, "frozen", "train")[0]["train_loss"]
    check(first < 3, "it does not start from what the other run learned: %s" % first)


def check_patience(space):
    patient = ("train.patience=4", "eval.every=6step", "train.budget=1000step", *DENSE)
    still = ("train.min_lr=100%", "train.warmup=0step", "train.lr=1e-12", "train.weight_decay=0")
    _, err = space.train(*keys(space, "name=patient", *patient, *still))
    check("the run ends here (train.patience)" in err, err)
    end = records(space, "patient", "end")[-1]
    check(end["status"] == "finished" and end["reason"] == "train.patience" and end["step"] < 100, "%s" % end)
    space.train_until("patient-halted", 18, STOP, *keys(space, *patient, *still))
    space.train(*keys(space, "name=patient-halted", *patient, *still))
    check_same_run(space, "patient-halted", "patient")
    patient = ("name=patient", *patient)
    _, err = space.train(*keys(space, *patient, *still))
    check("is finished" in err and len(records(space, "patient", "end")) == 1, err)
    _, err = space.train(*keys(space, *patient, *still, "train.budget=2000step"), expect=2)
    check("a larger train.patience" in err, err)
    space.train(*keys(space, *patient, *still, "train.patience=6"))
    check(records(space, "patient", "end")[-1]["step"] > end["step"], "%s" % records(space, "patient", "end"))
    check(records(space, "patient", "end")[-1]["reason"] == "train.patience", "%s" % records(space, "patient", "end"))


def check_accuracy(space):
    """The best checkpoint is the one with the highest accuracy, the first of equal ones, also after a stop."""
    names = ", ".join(space.path("tasks", name + ".yaml") for name in ("sums", "colours"))
    more = ("eval.tasks=[%s]" % names, "checkpoint.best=accuracy", "eval.every=5step", "train.lr=1e-2", "checkpoint.keep=1", *DENSE)
    space.train(*keys(space, "name=accurate", *more))
    accuracies = {}
    for record in records(space, "accurate", "task"):
        if not record["final"]:
            accuracies.setdefault(record["step"], []).append(record["acc"])
    means = {step: sum(values) / 2 for step, values in accuracies.items()}
    check(len(means) == 8 and all(len(values) == 2 for values in accuracies.values()), "%s" % accuracies)
    best = min(step for step in means if means[step] == max(means.values()))
    check(os.readlink(space.path("runs/accurate/best")) == "checkpoints/step-%08d" % best, "the best of %s is not %d" % (means, best))
    out, _ = space.run("inspect", space.path("runs/accurate/latest"))
    check("accuracy" in out and "at step %d, the best" % best in out, out)
    space.train_until("accurate-halted", 22, STOP, *keys(space, *more))
    space.train(*keys(space, "name=accurate-halted", *more))
    check(space.content("runs/accurate-halted/latest/model.safetensors") == space.content("runs/accurate/latest/model.safetensors"), "resumed otherwise")
    check(os.readlink(space.path("runs/accurate-halted/best")) == os.readlink(space.path("runs/accurate/best")), "another checkpoint is the best after a stop")
    _, err = space.train(*keys(space, "name=x", "checkpoint.best=accuracy"), expect=2)
    check("needs eval.tasks" in err, err)


def check_refusals(space):
    _, err = space.train(*keys(space, "data.sources=[%s]" % space.path("text")), expect=2)
    check("data.sources and data.tasks exclude each other" in err, err)
    for more, code, words in ((["data.tasks=[absent.yaml]"], 2, "no such file"),
                              (["data.task_weights=[1]"], 2, "1 numbers for 2 tasks"),
                              (["eval.tasks_folder=/nowhere"], 3, "sums.jsonl")):
        for command in ("train", "plan") + (("config", "check"),):
            command = (command,) if isinstance(command, str) else command
            _, err = space.run(*command, space.config, *keys(space, *more), expect=code)
            check(words in err, "%s: %s" % (command, err))
    out, _ = space.run("config", "check", space.config, *keys(space))
    check("ok" in out and "2 tasks" in out, out)


def check_teacher(space):
    """Windows of examples have numbers as those of text have: what a teacher says of one is read by another seed."""
    taught = keys(space, *DENSE, "train.distill.from=" + space.path("runs/reference"), "train.distill.top=8")
    for name, seed in (("taught", 1), ("taught-again", 1), ("taught-otherwise", 2)):
        space.train(*taught, "name=" + name, "seed=%d" % seed)
        with open(space.path("runs", name, "train.log")) as log:
            ran, read = map(int, re.findall(r"the teacher ran on (\d+) windows; what it says of (\d+) was read", log.read())[-1])
        check(ran + read == 40 * 4 and (ran > 0) == (name == "taught"), "%s: %d and %d windows" % (name, ran, read))
    check(space.content("runs/taught/latest/model.safetensors") == space.content("runs/taught-again/latest/model.safetensors"), "learned otherwise")


with Workspace() as space:
    write_tasks(space)
    check_training(space)
    check_teacher(space)
    check_resume(space)
    check_kinds(space)
    check_patience(space)
    check_accuracy(space)
    check_refusals(space)

print("ok")
