"""Tasks in lm-evaluation-harness against `isobath eval`:  check_tasks.py PROGRAM TASKS_FOLDER [--gguf FILE] [--items N] [MODEL...]

TASKS_FOLDER: rows of the shipped tasks (scripts/get_tasks.sh); a task without rows is left out, and said. Trains small models, exports them, and
compares of N items (200) of every task the log-likelihoods, the answers and the accuracies. Prompts are made here a second time, from the same task
files. With --gguf the model is SmolLM2 in that file, in transformers on the same dequantised weights."""

import argparse
import contextlib
import glob
import io
import json
import os
import re
import subprocess
import sys
import tempfile

SCRATCH = tempfile.TemporaryDirectory()
os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", HF_EVALUATE_OFFLINE="1", TOKENIZERS_PARALLELISM="false", HF_HOME=SCRATCH.name,
                  LMEVAL_LOG_LEVEL="ERROR")
try:
    import lm_eval
    import torch
    import transformers
    import yaml
    from lm_eval.models.huggingface import HFLM
except ImportError as error:
    print("SKIPPED: this Python has no lm-eval, torch, transformers and yaml (%s)" % error)
    sys.exit(77)

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CONFIG = """\
run_dir: {scratch}/runs
data: {{sources: ["{root}/docs", "{root}/src"], cache_dir: "{scratch}/cache", valid_fraction: 0.1}}
tokenizer: {{kind: bpe, vocab_size: 700}}
model: {{layers: 3, width: 64, heads: 4, context: 1024}}
train: {{budget: 30step, batch_tokens: 4Ki, lr: 6e-3}}
eval: {{every: 100%, tokens: 4Ki, final_tokens: 4Ki}}
"""
MODELS = {
    "dense": (),
    "bytes": ("tokenizer.kind=byte", "model.layers=2"),
    "mod": ("depth.kind=mod", "depth.capacity=0.25", "depth.stride=2", "depth.offset=1", "depth.causal=predictor"),
    "nested": ("depth.kind=nested", "depth.exits=[1, 2]", "depth.mean_depth=2"),
}
TOLERANCE = 1e-4  # nats, of the sum over a continuation. The harness adds it up in fp64 here: fp32 rounds one of 400 nats by 3e-5.


def check(condition, message):
    if not condition:
        print("FAILED:", message)
        sys.exit(1)


def load_task(path):
    with open(path, encoding="utf-8") as file:
        task = yaml.safe_load(file)
    return {**load_task(os.path.join(os.path.dirname(path), task.pop("include"))), **task} if "include" in task else task


def rows_of(folder, source):
    """The rows by their line, or None where there is no file."""
    for name, command in ((source, ["cat"]), (source + ".zst", ["zstdcat"]), (source + ".gz", ["zcat"])):
        path = os.path.join(folder, name)
        if os.path.isfile(path):
            text = subprocess.run([*command, path], stdout=subprocess.PIPE, check=True).stdout.decode("utf-8")
            return {number: json.loads(line) for number, line in enumerate(text.split("\n"), 1) if line.strip()}
    return None


def fill(template, row, choice):
    def value(match):
        field, *filters = match[1].split("|")
        text = choice if field == "choice" else str(row[field])
        for one in filters:
            name, _, argument = one.partition(" ")
            if name == "trim":
                text = text.strip(" \t\r\n")
            else:
                before, _, after = text.partition(argument)
                text = before if name == "before" else after
        return text
    return re.sub(r"\{([^{}]+)\}", value, template)


def question(task, row):
    """Contexts, continuations and the number of the right option."""
    kind, fields = task["kind"], task.get("choices")
    if kind == "cloze":
        choices, gold = [None], 0
    elif kind == "label":
        choices, gold = [str(word) for word in task["words"]], [str(label) for label in task["labels"]].index(str(row[task["answer"]]))
    else:
        choices = row[fields] if isinstance(fields, str) else [row[field] for field in fields]
        gold = 0 if kind == "pair" else row[task["answer"]]
    return {"contexts": [fill(task["prompt"], row, choice) for choice in choices],
            "continuations": [fill(task.get("continuation", " {choice}"), row, choice) for choice in choices], "gold": gold}


def harness_task(name, task, questions):
    path = os.path.join(SCRATCH.name, name + ".jsonl")
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(one) + "\n" for one in questions)
    config = {"task": name, "dataset_path": "json", "dataset_kwargs": {"data_files": {"test": path}, "cache_dir": os.path.join(SCRATCH.name, name)},
              "test_split": "test", "target_delimiter": "", "output_type": "multiple_choice", "metric_list": [{"metric": "acc"}]}
    first = questions[0]
    if task["kind"] == "cloze":
        config.update(output_type="loglikelihood", doc_to_text=lambda doc: doc["contexts"][0], doc_to_target=lambda doc: doc["continuations"][0])
    elif any(len(set(one["contexts"])) > 1 for one in questions):
        config.update(doc_to_text=lambda doc: doc["gold"], doc_to_choice=lambda doc: doc["contexts"], doc_to_target=lambda doc: doc["continuations"][0])
    else:
        # The harness measures its lengths without the space, where it puts the space itself.
        check(all(text.startswith(" ") for text in first["continuations"]), name + ": a continuation without its space")
        config.update(target_delimiter=" ", doc_to_text=lambda doc: doc["contexts"][0], doc_to_choice=lambda doc: [t[1:] for t in doc["continuations"]],
                      doc_to_target=lambda doc: doc["gold"], metric_list=[{"metric": "acc"}, {"metric": "acc_norm"}, {"metric": "acc_bytes"}])
    return config


def in_harness(lm, config):
    with contextlib.redirect_stderr(io.StringIO()):
        result = lm_eval.simple_evaluate(model=lm, tasks=[config], bootstrap_iters=0, log_samples=True)
    samples = sorted(result["samples"][config["task"]], key=lambda sample: sample["doc_id"])
    return result["results"][config["task"]], [[one[0] for one in sample["filtered_resps"]] if config["output_type"] == "multiple_choice"
                                               else [sample["filtered_resps"][0][0]] for sample in samples]


def in_isobath(program, model, path, folder, items):
    predictions = os.path.join(SCRATCH.name, "predictions.jsonl")
    command = [program, "eval", model, "eval.tasks=[%s]" % path, "eval.tasks_folder=" + folder, "eval.final_task_items=%d" % items,
               "eval.routing=causal", "--predictions", predictions, "--json"]
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    check(result.returncode == 0, "%s:\n%s" % (" ".join(command), result.stderr))
    with open(predictions, encoding="utf-8") as file:
        return json.loads(result.stdout)["tasks"][0], [json.loads(line) for line in file]


def compare(name, task, mine, records, theirs, sums):
    most = 0.0
    for record, other in zip(records, sums):
        ours = [option["log_probability"] for option in record["options"]]
        check(len(ours) == len(other), "%s line %d: %d options, %d there" % (name, record["line"], len(ours), len(other)))
        for a, b in zip(ours, other):
            most = max(most, abs(a - float(b)))
        answers = [option["answer"] for option in record["options"]]
        if task["kind"] in ("choice", "pair", "label") and task.get("metrics", ["acc"])[0] == "acc" and len(set(answers)) == len(answers):
            best = max(range(len(other)), key=lambda i: float(other[i]))
            margin = sorted(map(float, other))[-1] - sorted(map(float, other))[-2]
            check(record["given"] == answers[best] or margin < TOLERANCE, "%s line %d: answer %s, there %s" % (name, record["line"], record["given"], best))
    check(most < TOLERANCE, "%s: log-likelihoods differ by %.1e" % (name, most))
    answers = [option["answer"] for option in records[0]["options"]]
    rates = {}
    if len(set(answers)) == len(answers):  # no label with several words, which the harness does not know
        for metric in ("acc", "acc_norm", "acc_bytes"):
            if metric in mine and metric + ",none" in theirs:
                ours = mine["acc_first"] if metric == "acc" else mine[metric]
                check(abs(ours - theirs[metric + ",none"]) < 1e-9 + mine["ties"] / mine["items"], "%s: %s %s, there %s" % (name, metric, ours, theirs[metric + ",none"]))
                rates[metric] = ours
    return most, rates


def check_model(program, model, lm, folder, items):
    worst, done, left_out = 0.0, 0, []
    for path in sorted(glob.glob(os.path.join(ROOT, "configs", "tasks", "*.yaml"))):
        name, task = os.path.basename(path)[:-5], load_task(path)
        rows = rows_of(folder, task["source"])
        if rows is None:
            left_out.append(name)
            continue
        mine, records = in_isobath(program, model, path, folder, items)
        theirs, sums = in_harness(lm, harness_task(name, task, [question(task, rows[record["line"]]) for record in records]))
        most, rates = compare(name, task, mine, records, theirs, sums)
        worst, done = max(worst, most), done + 1
        print("  %s: %d items, log-likelihoods within %.1e%s" % (name, len(records), most, "".join(", %s %.3f" % rate for rate in rates.items())), flush=True)
    print("%s: %d tasks, log-likelihoods within %.1e, same answers and accuracies%s"
          % (model, done, worst, "; no rows for " + ", ".join(left_out) if left_out else ""), flush=True)
    check(done > 0, "no task has its rows in " + folder)


def trained(program, name):
    """A small model as a run, and its exported folder in lm-evaluation-harness."""
    config, folder = os.path.join(SCRATCH.name, "config.yaml"), os.path.join(SCRATCH.name, name)
    with open(config, "w") as file:
        file.write(CONFIG.format(scratch=SCRATCH.name, root=ROOT))
    run, with_code = os.path.join(SCRATCH.name, "runs", name), name not in ("dense", "bytes")
    for command in (["train", config, "name=" + name, *MODELS[name]], ["export", run, "-o", folder, "--format", "hf", *["--code"] * with_code]):
        result = subprocess.run([program, *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        check(result.returncode == 0, "%s:\n%s" % (command, result.stdout))
    return run, HFLM(pretrained=folder, dtype="float32", softmax_dtype="float64", device="cpu", batch_size=16, trust_remote_code=with_code)


def smollm2(program, file):
    """SmolLM2 with a tokenizer of the package tokenizers, from what Isobath exports of the GGUF."""
    import check_smollm2  # beside this file: runs nothing when imported
    exported = os.path.join(SCRATCH.name, "smollm2")
    subprocess.run([program, "export", file, "--format", "hf", "-o", exported], check=True, stderr=subprocess.DEVNULL)
    return HFLM(pretrained=check_smollm2.load(file), tokenizer=transformers.AutoTokenizer.from_pretrained(exported), dtype="float32",
                softmax_dtype="float64", device="cpu", batch_size=4, max_length=8192)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program"), parser.add_argument("tasks"), parser.add_argument("models", nargs="*")
    parser.add_argument("--gguf"), parser.add_argument("--items", type=int, default=200)
    options = parser.parse_intermixed_args()
    program = os.path.abspath(options.program)
    print("lm-eval %s, transformers %s, torch %s" % (lm_eval.__version__, transformers.__version__, torch.__version__))
    torch.set_num_threads(2)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    if options.gguf:
        check_model(program, options.gguf, smollm2(program, options.gguf), options.tasks, options.items)
        return
    for name in options.models or MODELS:
        checkpoint, lm = trained(program, name)
        check_model(program, checkpoint, lm, options.tasks, options.items)


if __name__ == "__main__":
    main()
