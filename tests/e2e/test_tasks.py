"""Tasks with the program: `eval` with eval.tasks, predictions and a baseline, tasks during training, and what is said of faults."""

import json
import math

from common import Workspace, check

TASK = """\
description: Which word follows.
kind: choice
source: rows.jsonl
prompt: "the {before}"
choices: options
answer: label
metrics: [acc, acc_norm]
group: kind
"""


def write_tasks(space):
    rows = [{"before": "cat sat on a", "options": ["mat", "zebra quilt"], "label": 0, "kind": "seen"},
            {"before": "seven small", "options": ["xylophones", "birds"], "label": 1, "kind": "seen"},
            {"before": "rain", "options": ["and", "and"], "label": 0, "kind": "equal"}]
    rows += [{"before": "cat " * i, "options": ["sat", "qqq", "vvv"], "label": i % 3, "kind": "many"} for i in range(1, 30)]
    with open(space.path("rows.jsonl"), "w") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    with open(space.path("words.yaml"), "w") as file:
        file.write(TASK)
    return rows


def answers(space, run, *more):
    path = space.path("answers.jsonl")
    out, err = space.run("eval", run, "eval.tasks=[%s]" % space.path("words.yaml"), "eval.tasks_folder=" + space.folder, "--json", "--predictions",
                         path, *more)
    with open(path) as file:
        return json.loads(out), [json.loads(line) for line in file], err


def check_predictions(space, run, rows):
    result, records, err = answers(space, run)
    check("1 of 32 items have two equal options" in err and "line 3" in err, err)
    causal, topk = result["tasks"]
    check((causal["routing"], causal["looks_ahead"], topk["routing"], topk["looks_ahead"]) == ("causal", False, "topk", True), "%s" % result)
    check(len(records) == 2 * len(rows), "%d records" % len(records))
    mine = [record for record in records if record["routing"] == "causal"]
    check([record["line"] for record in mine] == list(range(1, 33)), "lines")
    for record, row in zip(mine, rows):
        scores = [option["log_probability"] for option in record["options"]]
        best = scores.index(max(scores))
        check(record["given"] == best and record["answer"] == row["label"], "%s" % record)
        check(record["right"] == (best == row["label"] and scores.count(scores[best]) == 1), "%s" % record)
        # Bytes: the prompt is read once, of each option all but the last byte.
        check(len(record["prompt_depth"]) == len("the " + row["before"].rstrip()) or record["options"][0]["cut"] > 0, "%s" % record)
        check([len(option["depth"]) for option in record["options"]] == [option["tokens"] - 1 for option in record["options"]] or len(record["prompt_depth"]) == 0,
              "%s" % record)
    right = sum(record["right"] for record in mine)
    check(math.isclose(causal["acc"], right / 32) and causal["items"] == 32 and causal["ties"] == 1, "%s" % causal)
    check(causal["acc_ci95"][0] < causal["acc"] < causal["acc_ci95"][1], "%s" % causal)
    check(causal["groups"]["seen"]["items"] == 2 and causal["groups"]["many"]["items"] == 29, "%s" % causal["groups"])
    check(causal["tokens_not_read"] > 0 and causal["kv_bytes_per_token"] > 0 and 2 <= causal["blocks_per_token"] <= 4, "%s" % causal)


def check_baseline(space, run):
    _, _, _ = answers(space, run, "eval.routing=causal")
    baseline = space.path("baseline.jsonl")
    with open(space.path("answers.jsonl")) as file, open(baseline, "w") as changed:
        for line in file:
            record = json.loads(line)
            changed.write(json.dumps({**record, "right": False, "given": 1 - min(1, record["given"])}) + "\n")
    result, records, _ = answers(space, run, "eval.routing=causal", "--against", baseline)
    against, task = result["tasks"][0]["against"], result["tasks"][0]
    check(math.isclose(against["difference"], task["acc"]) and against["only_baseline_right"] == 0, "%s" % against)
    check(0 <= against["mcnemar_p"] <= 1 and not any(record["baseline_right"] for record in records), "%s" % against)
    _, err = space.run("eval", run, "eval.tasks=[%s]" % space.path("words.yaml"), "eval.tasks_folder=" + space.folder, "--against", space.path("rows.jsonl"),
                       expect=3)
    check("rows.jsonl:1" in err and "--predictions" in err, err)


def check_faults(space, run):
    task = "eval.tasks=[%s]" % space.path("words.yaml")
    for arguments, code, words in (
            (["eval", run, task, "eval.tasks_folder=/nowhere"], 3, ["rows.jsonl", "/nowhere", "scripts/get_tasks.sh"]),
            (["eval", run, "eval.tasks=[none.yaml]"], 2, ["none.yaml", "no such file"]),
            (["eval", run, task, "eval.tasks_folder=" + space.folder, "--leak"], 2, ["--leak", "--text"]),
            (["eval", run, task, "eval.task_items=3"], 2, ["eval.final_task_items=3"]),
            (["eval", run, "--predictions", "x.jsonl"], 2, ["--predictions x.jsonl goes with tasks"]),
            (["config", "check", space.config, "eval.tasks=[%s]" % space.path("bad.yaml")], 2, ["bad.yaml:1:1", "unknown key 'kid'"])):
        with open(space.path("bad.yaml"), "w") as file:
            file.write("kid: choice\nsource: a\n")
        _, err = space.run(*arguments, expect=code)
        for word in words:
            check(word in err, "%s:\n%s" % (arguments, err))
    with open(space.path("rows.jsonl"), "a") as file:
        file.write(json.dumps({"before": "x", "options": ["a", "b"], "label": 2, "kind": "bad"}) + "\n")
    _, err = space.train("name=refused", task, "eval.tasks_folder=" + space.folder, expect=3)
    check("rows.jsonl:33: field 'label' is 2, out of range" in err, err)


def check_training(space):
    keys = ["name=asked", "train.budget=20step", "eval.every=10step", "eval.tasks=[%s]" % space.path("words.yaml"), "eval.tasks_folder=" + space.folder,
            "eval.task_items=8"]
    space.train(*keys)
    records = [record for record in space.metrics("asked") if record["kind"] == "task"]
    check([(record["step"], record["final"], record["routing"], record["items"]) for record in records] ==
          [(10, False, "causal", 8), (10, False, "topk", 8), (20, False, "causal", 8), (20, False, "topk", 8), (20, True, "causal", 32), (20, True, "topk", 32)],
          "%s" % records)
    stored = json.loads(space.content("runs", "asked", "task_answers.json"))
    check([(one["task"], one["routing"], one["metric"], len(one["right"])) for one in stored] == [("words", "causal", "acc", 32), ("words", "topk", "acc", 32)],
          "%s" % stored)
    final = {record["routing"]: record["acc"] for record in records if record["final"]}
    check(all(math.isclose(one["right"].count("1") / 32, final[one["routing"]]) for one in stored), "%s" % stored)
    # A report reads both.
    space.run("report", space.path("runs", "asked"), "--output", space.path("out"))
    reported = json.loads(space.content("out", "report.json"))["tasks"]
    check([(task["task"], task["routing"], task["looks_ahead"], task["items"]) for task in reported] ==
          [("words", "causal", False, 32), ("words", "topk", True, 32)], "%s" % reported)
    check(all(math.isclose(task["arms"][0]["value"], final[task["routing"]]) and task["arms"][0]["ci95"] for task in reported), "%s" % reported)
    out, _ = space.run("eval", space.path("runs/asked"), "eval.tasks=[]")
    check("loss" in out and "words" not in out, out)
    # The stored model gives the same answers.
    result, _, _ = answers(space, space.path("runs/asked"))
    check([task["acc"] for task in result["tasks"]] == [final["causal"], final["topk"]], "%s" % result)


with Workspace() as space:
    rows = write_tasks(space)
    space.train()
    run = space.path("runs/tiny")
    check_predictions(space, run, rows)
    check_baseline(space, run)
    check_training(space)
    check_faults(space, run)

print("ok")
