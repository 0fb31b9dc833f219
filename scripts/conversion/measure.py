#!/usr/bin/env python3
"""Quality and speed of converted models: of every model, and of a routed one at several capacities, bits per byte on texts, answers to tasks, and decoding
speed, with the models taking turns. What was measured is kept in OUT and not measured again: the same call goes on where it was interrupted. Prints a
table; OUT/results.json has everything, and page.py draws the curves from OUT.

    scripts/conversion/measure.py OUT NAME=MODEL ... [--capacities 75%,50%,25%] [--texts wikitext2-test.txt,books-test.jsonl] [--text-kib 256]
      [--tasks arc-easy,piqa --tasks-folder FOLDER --items 100] [--decode 1,16] [--rounds 5] [--program build/isobath]

MODEL is a run, a checkpoint, or a GGUF file. The first is the one that the others are held against. Of a text its first --text-kib KiB are taken, of
the documents of a .jsonl file an equal share each. Standard library only."""

import argparse
import json
import os
import statistics
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Measure:
    def __init__(self, arguments):
        self.arguments = arguments

    def path(self, *parts):
        return os.path.join(self.arguments.out, *parts)

    def isobath(self, *words):
        run = subprocess.run([self.arguments.program, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
        if run.returncode != 0:
            raise SystemExit("isobath %s ended with %d:\n%s" % (" ".join(words), run.returncode, run.stderr))
        return run.stdout

    def kept(self, name, measure):
        """What `measure` returns, from OUT/measured/name.json where it is there."""
        path = self.path("measured", name + ".json")
        if not os.path.exists(path):
            print(name, file=sys.stderr)
            found = measure()
            with open(path + ".part", "w") as file:
                json.dump(found, file, indent=1)
            os.rename(path + ".part", path)
        with open(path) as file:
            return json.load(file)

    def texts(self):
        """name -> file with the part of the text that is measured."""
        found, budget = {}, self.arguments.text_kib * 1024
        for text in filter(None, self.arguments.texts.split(",")):
            name, ending = os.path.splitext(os.path.basename(text))
            found[name] = self.path("texts", name + ending)
            with open(text) as file:
                if ending == ".jsonl":
                    rows = [json.loads(line)["text"] for line in file]
                    cut = "".join(json.dumps({"text": row[:budget // len(rows)]}) + "\n" for row in rows)
                else:
                    cut = file.read(budget)
            with open(found[name], "w") as file:
                file.write(cut)
        return found

    def models(self):
        """label -> model: every dense one, and copies of routed ones that are calibrated to each capacity."""
        found = {}
        for word in self.arguments.models:
            name, model = word.split("=", 1)
            model = os.path.abspath(model)
            if not self.is_routed(name, model):
                found[name] = model
                continue
            for capacity in self.arguments.capacities.split(","):
                label = "%s %s" % (name, capacity)
                copy = self.path("models", label.replace(" ", "-").replace("%", ""))
                if not os.path.exists(copy):
                    print(label, "calibrated", file=sys.stderr)
                    self.isobath("eval", model, "--capacity", capacity, "--save", copy, "--json", "eval.routing=causal", "eval.final_tokens=1Ki")
                found[label] = copy
        return found

    def is_routed(self, name, model):
        few = self.path("texts", "few-words.txt")
        with open(few, "w") as file:
            file.write("The capital of France is Paris.\n")
        words = ("eval", model, "--text", few, "--json", "eval.routing=causal")
        return bool(self.kept(name + " routed", lambda: {"capacities": json.loads(self.isobath(*words))["capacity_causal"]})["capacities"])

    def text(self, label, model, name, file):
        """What `eval --text` says, and the loss of every token in nats."""
        tokens = self.path("measured", "%s %s tokens.jsonl" % (label, name))

        def measure():
            found = json.loads(self.isobath("eval", model, "--text", file, "--per-token", tokens, "--json", "eval.routing=causal",
                                            "model.context=%d" % self.arguments.context))
            with open(tokens) as lines:
                found["losses"] = [loss for loss in (json.loads(line)["loss_causal"] for line in lines) if loss is not None]
            os.remove(tokens)
            return found
        return self.kept("%s %s" % (label, name), measure)

    def tasks(self, label, model, first):
        answers = lambda of: self.path("measured", of + " answers.jsonl")
        against = [] if label == first else ["--against", answers(first)]
        files = ", ".join(os.path.join(ROOT, "configs", "tasks", name + ".yaml") for name in self.arguments.tasks.split(","))
        found = self.kept(label + " tasks", lambda: json.loads(
            self.isobath("eval", model, "--json", "eval.tasks=[%s]" % files, "eval.tasks_folder=" + os.path.abspath(self.arguments.tasks_folder),
                         "eval.final_task_items=%d" % self.arguments.items, "eval.routing=causal", "model.context=%d" % self.arguments.context,
                         "--predictions", answers(label), *against)))
        with open(answers(label)) as lines:
            rows = [json.loads(line) for line in lines]
        return {task["task"]: {**task, "right": {row["line"]: row["right"] for row in rows if row["task"] == task["task"]}} for task in found["tasks"]}

    def decoding(self, models):
        """label -> batch -> one result of `bench decode` a round; the models take turns in each round."""
        found = {label: {} for label in models}
        for batch in filter(None, self.arguments.decode.split(",")):
            for number in range(self.arguments.rounds):
                for label, model in models.items():
                    words = ("bench", "decode", model, "--batch", batch, "--prompt", "128", "--steps", "32", "--repeats", "2", "--json")
                    result = self.kept("%s decode %s round %d" % (label, batch, number), lambda: json.loads(self.isobath(*words)))
                    found[label].setdefault(batch, []).append(result)
        return found


def decode_facts(rounds, of_first):
    arms = [result["arms"][0] for result in rounds]
    step = [statistics.median(arm["step_time_s"]) for arm in arms]
    base = [statistics.median(result["arms"][0]["step_time_s"]) for result in of_first]
    ratios = sorted(b / s for b, s in zip(base, step))
    return {"tokens_per_s": statistics.median(arm["tokens_per_s"] for arm in arms),
            "speedup": statistics.median(ratios), "speedup_range": [ratios[0], ratios[-1]],
            "prompt_tokens_per_s": statistics.median(arm["prompt_tokens_per_s"] for arm in arms),
            "kv_bytes_per_token": arms[0]["kv_bytes_per_token"], "flops_per_token": arms[0]["flops_per_token"],
            "resident_bytes": max(max(result["resident_bytes"]) for result in rounds)}


def table(results):
    """The figures as rows of Markdown."""
    texts, batches = (list(next(iter(results.values()))[part]) for part in ("texts", "decode"))
    rows = [["model"] + ["bits per byte, " + name for name in texts] + ["tasks"] +
            ["batch %s, tokens/s (speedup)" % batch for batch in batches] + ["KV bytes a token", "resident MiB"]]
    for label, found in results.items():
        scores = [task[task["main_metric"]] for task in found["tasks"].values()]
        decode = list(found["decode"].values())
        rows.append([label] + ["%.4f" % found["texts"][name]["bits_per_byte_causal"] for name in texts] +
                    ["%.1f %%" % (100 * statistics.mean(scores)) if scores else ""] +
                    ["%.1f (%.2fx)" % (facts["tokens_per_s"], facts["speedup"]) for facts in decode] +
                    (["%.0f" % decode[0]["kv_bytes_per_token"], "%.0f" % (decode[0]["resident_bytes"] / 2**20)] if decode else ["", ""]))
    return "\n".join("| " + " | ".join(row) + " |" for row in rows[:1] + [["---"] * len(rows[0])] + rows[1:])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("models", nargs="+", metavar="NAME=MODEL")
    parser.add_argument("--capacities", default="75%,50%,25%")
    parser.add_argument("--texts", default="")
    parser.add_argument("--text-kib", type=int, default=256)
    parser.add_argument("--context", type=int, default=512, help="tokens of a window of text and of the longest item (default 512)")
    parser.add_argument("--tasks", default="")
    parser.add_argument("--tasks-folder", default="~/.cache/isobath/tasks")
    parser.add_argument("--items", type=int, default=100)
    parser.add_argument("--decode", default="1,16")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--program", default=os.path.join(ROOT, "build", "isobath"))
    arguments = parser.parse_args()
    arguments.out, arguments.program = os.path.abspath(arguments.out), os.path.abspath(arguments.program)
    arguments.tasks_folder = os.path.expanduser(arguments.tasks_folder)
    for folder in ("models", "texts", "measured"):
        os.makedirs(os.path.join(arguments.out, folder), exist_ok=True)
    measure = Measure(arguments)
    texts, models = measure.texts(), measure.models()
    first = next(iter(models))
    results = {label: {"texts": {name: measure.text(label, model, name, file) for name, file in texts.items()},
                       "tasks": measure.tasks(label, model, first) if arguments.tasks else {}} for label, model in models.items()}
    decoding = measure.decoding(models)
    for label in models:
        results[label]["decode"] = {batch: decode_facts(rounds, decoding[first][batch]) for batch, rounds in decoding[label].items()}
    with open(os.path.join(arguments.out, "results.json"), "w") as file:
        json.dump(results, file)
    print(table(results))


if __name__ == "__main__":
    main()
