"""Exported folders in lm-evaluation-harness against `isobath eval --text`:  check_lm_eval.py PROGRAM FOLDER [TEXT [MODEL...]]

FOLDER: of prepare.py, with that of prepare_code.py below it as FOLDER/code. Compares bits per byte of a text, cut into rolling windows, of folders for
stock classes, folders with code and folders that transformers has written; a task of several choices must run through. Nothing is fetched from the network."""

import contextlib
import glob
import io
import json
import math
import os
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
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager
except ImportError as error:
    print("SKIPPED: this Python has no lm-eval, torch and transformers (%s)" % error)
    sys.exit(77)

import check_foreign_folders  # beside this file

PROGRAM, FOLDER = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
MODELS = {"dense": False, "grouped": False, "bytes": False, "code/mod_predictor": True, "code/mod_threshold": True, "code/nested_token": True}
FOREIGN = ("grouped, tied", "grouped, untied")  # of check_foreign_folders.py
TOLERANCE = 1e-5  # in bits per byte
QUESTIONS = [("The file includes the header <", ["vector>", "colour of rain>"], 0), ("namespace at {", [" purple", "\n"], 1), ("int64_t i =", [" 0;", " rain;"], 0)]
ROLLING = """\
task: isobath_rolling
dataset_path: json
dataset_kwargs: {{data_files: {{test: {file}}}}}
test_split: test
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{{{text}}}}"
metric_list: [{{metric: word_perplexity}}, {{metric: byte_perplexity}}, {{metric: bits_per_byte}}]
"""
CHOICE = """\
task: isobath_choice
dataset_path: json
dataset_kwargs: {{data_files: {{test: {file}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: answer
metric_list: [{{metric: acc}}, {{metric: acc_norm}}]
"""


def check(condition, message):
    if not condition:
        print("FAILED:", message)
        sys.exit(1)


def default_text():
    """Headers that every installation of PyTorch has, one document."""
    headers = sorted(glob.glob(os.path.join(os.path.dirname(torch.__file__), "include", "ATen", "*.h")))
    text = "".join(open(header, encoding="utf-8").read() for header in headers[:60])
    check(len(text) > 20000, "PyTorch has only %d characters of headers" % len(text))
    return text[:40001]


def write_tasks(folder, text):
    """The text for Isobath, and the same text and some questions as tasks."""
    with open(os.path.join(folder, "text.txt"), "w", encoding="utf-8", newline="") as file:
        file.write(text)
    documents = {"text": [{"text": text}], "choice": [dict(zip(("question", "choices", "answer"), each)) for each in QUESTIONS]}
    for (name, rows), task in zip(documents.items(), (ROLLING, CHOICE)):
        data = os.path.join(folder, name + ".jsonl")
        with open(data, "w", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
        with open(os.path.join(folder, name + ".yaml"), "w") as file:
            file.write(task.format(file=data))


def in_isobath(model, text):
    command = [PROGRAM, "eval", model, "--text", text, "--json", "eval.routing=causal"]
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    check(result.returncode == 0, "%s:\n%s" % (" ".join(command), result.stderr))
    return json.loads(result.stdout)


def in_lm_eval(model, folder, with_code):
    lm = HFLM(pretrained=model, dtype="float32", device="cpu", batch_size=16, trust_remote_code=with_code)
    tasks = TaskManager(include_path=folder, include_defaults=False)
    with contextlib.redirect_stderr(io.StringIO()):  # a bar of progress for every batch
        results = lm_eval.simple_evaluate(model=lm, tasks=["isobath_rolling", "isobath_choice"], task_manager=tasks, bootstrap_iters=0)["results"]
    return results["isobath_rolling"], results["isobath_choice"]


def compare_export(name, with_code, folder):
    exported = os.path.join(FOLDER, name, "hf.v1.0")
    checkpoint = os.path.join(FOLDER, os.path.dirname(name), "runs", os.path.basename(name))
    ours = in_isobath(checkpoint, os.path.join(folder, "text.txt"))
    if not with_code:  # Isobath reads these folders, too
        again = in_isobath(exported, os.path.join(folder, "text.txt"))
        check(abs(again["bits_per_byte_causal"] - ours["bits_per_byte_causal"]) < 1e-9, "%s: the exported folder has other losses" % name)
    compare(name, ours, exported, with_code, folder)


def compare_foreign(name, folder):
    """A folder that transformers has written, with a bos that its tokenizer puts before a text, or only names."""
    path = os.path.join(folder, name)
    with torch.no_grad():
        check_foreign_folders.write_folder(path, *check_foreign_folders.FOLDERS[name])
    compare(name, in_isobath(path, os.path.join(folder, "text.txt")), path, False, folder)


def compare(name, ours, path, with_code, folder):
    rolling, choice = in_lm_eval(path, folder, with_code)
    mine, theirs = ours["bits_per_byte_causal"], rolling["bits_per_byte,none"]
    check(math.isfinite(theirs) and abs(mine - theirs) < TOLERANCE, "%s: %.9f bits per byte, lm-evaluation-harness says %.9f" % (name, mine, theirs))
    check(0 <= choice["acc,none"] <= 1 and 0 <= choice["acc_norm,none"] <= 1, "%s: %s" % (name, choice))
    print("%s: %.7f bits per byte on %d bytes, %d tokens; lm-evaluation-harness %.7f, difference %.1e; %d questions ran"
          % (name, mine, ours["eval_bytes"], ours["eval_tokens"], theirs, abs(mine - theirs), len(QUESTIONS)), flush=True)


def main():
    print("lm-eval %s, transformers %s, torch %s" % (lm_eval.__version__, transformers.__version__, torch.__version__))
    torch.set_num_threads(2)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    text = open(sys.argv[3], encoding="utf-8", newline="").read() if len(sys.argv) > 3 else default_text()
    write_tasks(SCRATCH.name, text)
    for name in sys.argv[4:] or (*MODELS, *FOREIGN):
        compare_foreign(name, SCRATCH.name) if name in FOREIGN else compare_export(name, MODELS[name], SCRATCH.name)


if __name__ == "__main__":
    main()
