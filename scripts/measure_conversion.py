#!/usr/bin/env python3
"""Quality against speed of converted models: of every model, and of a routed one at several capacities, bits per byte on texts, answers to tasks (paired with
the first model's, item by item), and decoding speed, with the models taking turns. What was measured is kept in OUT and not measured again: the same call
goes on where it was interrupted. Prints a table; OUT/results.json has everything.

    scripts/measure_conversion.py OUT NAME=RUN ... [--capacities 75%,50%,25%] [--texts wikitext2-test.txt,books-test.jsonl] [--tokens 64Ki]
      [--tasks arc-easy,piqa --tasks-folder FOLDER --items 100] [--decode 1,16] [--rounds 5] [--program build/isobath]

The first model is the one that the others are held against. Dense models have no capacity. Standard library only."""

import argparse
import json
import os
import statistics
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


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
        """What `measure` returns, from OUT/name.json where it is there."""
        path = self.path(name + ".json")
        if not os.path.exists(path):
            found = measure()
            with open(path + ".part", "w") as file:
                json.dump(found, file, indent=1)
            os.rename(path + ".part", path)
        with open(path) as file:
            return json.load(file)

    def models(self):
        """label -> folder: every run, and copies of routed ones that are calibrated to each capacity."""
        found = {}
        for word in self.arguments.runs:
            name, run = word.split("=", 1)
            run = os.path.abspath(run)
            if self.kind(run) == "dense":
                found[name] = run
                continue
            for capacity in self.arguments.capacities.split(","):
                label = "%s %s" % (name, capacity)
                copy = self.path("models", label.replace(" ", "-").replace("%", ""))
                if not os.path.exists(copy):
                    self.isobath("eval", run, "--capacity", capacity, "--save", copy, "--json", "eval.routing=causal", "eval.final_tokens=1Ki")
                found[label] = copy
        return found

    def kind(self, run):
        with open(os.path.join(run, "latest", "config.yaml")) as file:
            text = file.read()
        return text.split("\ndepth:", 1)[1].split("kind:", 1)[1].split()[0].strip(",{}") if "\ndepth:" in text else "dense"

    def texts(self, label, folder):
        found = {}
        for text in filter(None, self.arguments.texts.split(",")):
            name = os.path.basename(text).split(".")[0]
            found[name] = self.kept("%s %s" % (label, name), lambda: json.loads(
                self.isobath("eval", folder, "--json", "data.valid_sources=[%s]" % os.path.abspath(text), "eval.routing=causal",
                             "eval.final_tokens=" + self.arguments.tokens, "eval.calibration_tokens=off")))
        return found

    def tasks(self, label, folder, first):
        names = [name for name in self.arguments.tasks.split(",") if name]
        if not names:
            return {}
        answers = lambda of: self.path(of + " answers.jsonl")
        against = [] if label == first else ["--against", answers(first)]
        files = ", ".join(os.path.join(ROOT, "configs", "tasks", name + ".yaml") for name in names)
        return self.kept(label + " tasks", lambda: json.loads(
            self.isobath("eval", folder, "--json", "eval.tasks=[%s]" % files, "eval.tasks_folder=" + os.path.abspath(self.arguments.tasks_folder),
                         "eval.final_task_items=%d" % self.arguments.items, "eval.routing=causal",
                         "--predictions", answers(label), *against)))

    def decoding(self, models):
        """label -> batch -> one result of `bench decode` a round; the models take turns in each round."""
        found = {label: {} for label in models}
        for batch in filter(None, self.arguments.decode.split(",")):
            for number in range(self.arguments.rounds):
                for label, folder in models.items():
                    result = self.kept("%s decode %s round %d" % (label, batch, number), lambda: json.loads(
                        self.isobath("bench", "decode", folder, "--batch", batch, "--prompt", "128", "--steps", "32", "--repeats", "2", "--json")))
                    found[label].setdefault(batch, []).append(result)
        return found


def decode_facts(rounds, of_first):
    arms = [result["arms"][0] for result in rounds]
    step = [statistics.median(arm["step_time_s"]) for arm in arms]
    base = [statistics.median(result["arms"][0]["step_time_s"]) for result in of_first]
    return {"tokens_per_s": statistics.median(arm["tokens_per_s"] for arm in arms),
            "speedup": statistics.median(b / s for b, s in zip(base, step)),
            "prompt_tokens_per_s": statistics.median(arm["prompt_tokens_per_s"] for arm in arms),
            "kv_bytes_per_token": arms[0]["kv_bytes_per_token"], "flops_per_token": arms[0]["flops_per_token"],
            "resident_bytes": max(max(result["resident_bytes"]) for result in rounds)}


def table(results):
    texts = list(next(iter(results.values()))["texts"])
    batches = list(next(iter(results.values()))["decode"])
    rows = [["model"] + ["bits per byte, " + name for name in texts] + ["batch %s, tokens/s (speedup)" % batch for batch in batches] + ["KV bytes a token"]]
    for label, found in results.items():
        decode = ["%.1f (%.2fx)" % (found["decode"][batch]["tokens_per_s"], found["decode"][batch]["speedup"]) for batch in batches]
        kv = ["%.0f" % found["decode"][batches[0]]["kv_bytes_per_token"]] if batches else [""]
        rows.append([label] + ["%.4f" % found["texts"][name]["bits_per_byte_causal"] for name in texts] + decode + kv)
    return "\n".join(["| " + " | ".join(row) + " |" for row in rows[:1]] + ["|" + "---|" * len(rows[0])] + ["| " + " | ".join(row) + " |" for row in rows[1:]])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("runs", nargs="+", metavar="NAME=RUN")
    parser.add_argument("--capacities", default="75%,50%,25%")
    parser.add_argument("--texts", default="")
    parser.add_argument("--tokens", default="64Ki")
    parser.add_argument("--tasks", default="")
    parser.add_argument("--tasks-folder", default="~/.cache/isobath/tasks")
    parser.add_argument("--items", type=int, default=100)
    parser.add_argument("--decode", default="1,16")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--program", default=os.path.join(ROOT, "build", "isobath"))
    arguments = parser.parse_args()
    arguments.out, arguments.program = os.path.abspath(arguments.out), os.path.abspath(arguments.program)
    arguments.tasks_folder = os.path.expanduser(arguments.tasks_folder)
    os.makedirs(os.path.join(arguments.out, "models"), exist_ok=True)
    measure = Measure(arguments)
    models = measure.models()
    first = next(iter(models))
    results = {label: {"texts": measure.texts(label, folder)} for label, folder in models.items()}
    decoding = measure.decoding(models)
    for label in models:
        results[label]["decode"] = {batch: decode_facts(rounds, decoding[first][batch]) for batch, rounds in decoding[label].items()}
    for label, folder in models.items():
        results[label]["tasks"] = measure.tasks(label, folder, first)
    with open(os.path.join(arguments.out, "results.json"), "w") as file:
        json.dump(results, file, indent=1)
    print(table(results))


if __name__ == "__main__":
    main()
