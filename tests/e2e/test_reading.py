#!/usr/bin/env python3
"""What is read: text that moved or changed, bad rows, pipes, names that are not UTF-8, and numbers on the command line."""

import json
import os
import subprocess

from common import PROGRAM, Workspace, check


def test_moved_and_changed_text(space):
    space.train("train.budget=15step")
    before, _ = space.run("eval", "--json", space.path("runs/tiny"))
    moved = "data.sources=[%s]" % space.path("node2/text")
    os.mkdir(space.path("node2"))
    os.rename(space.path("text"), space.path("node2/text"))
    after, _ = space.run("eval", "--json", space.path("runs/tiny"), moved)
    check(json.loads(after)["loss_causal"] == json.loads(before)["loss_causal"], "moved text has another loss")
    _, err = space.train(moved, "train.budget=30step")
    check("resuming" in err, err)

    # One file less: other training text, other validation text.
    os.rename(space.path("node2/text/3.txt"), space.path("3.txt"))
    for arguments in (("train", space.config, moved, "train.budget=45step"), ("eval", space.path("runs/tiny")),
                      ("analyze", space.path("runs/tiny"))):
        _, err = space.run(*arguments, expect=3)
        check("the text is not what" in err, err)
    out, _ = space.run("eval", "--json", space.path("runs/tiny"), "data.valid_sources=[%s]" % space.path("3.txt"))
    check(json.loads(out)["eval_tokens"] > 0, out)
    os.rename(space.path("3.txt"), space.path("node2/text/3.txt"))
    os.rename(space.path("node2/text"), space.path("text"))


def test_compare_moved_text(space):
    keys = ("name=pair", "train.budget=4step", "eval.every=50%", "checkpoint.every=50%", "depth.kind=dense", "compare.arms.a={}", "compare.seeds=[1]")
    space.run("compare", space.config, *keys)
    os.rename(space.path("text"), space.path("text2"))
    moved = "data.sources=[%s]" % space.path("text2")
    _, err = space.run("compare", space.config, *keys, moved)
    check("finished before" in err, err)
    os.rename(space.path("text2/3.txt"), space.path("3.txt"))
    _, err = space.run("compare", space.config, *keys, moved, expect=2)
    check("holds another experiment's run" in err and "data.sources" in err, err)
    os.rename(space.path("3.txt"), space.path("text2/3.txt"))
    os.rename(space.path("text2"), space.path("text"))


def test_rows(space):
    rows = space.path("rows.jsonl")
    with open(rows, "w") as file:
        for number in range(100):
            file.write('{"text": null}\n' if number % 10 == 5 else '{"text": "row %d of the rows"}\n' % number)
    _, err = space.run("data", "prepare", space.config, "data.sources=[%s]" % rows, expect=3)
    check("rows.jsonl:6: field 'text' is null" in err, err)
    out, err = space.run("data", "prepare", space.config, "data.sources=[%s]" % rows, "data.bad_rows=skip")
    check("documents   90 " in out and "10 bad rows left out" in err and err.count("rows.jsonl:") == 5, out + err)


def test_pipe(space):
    command = 'use() { "$1" data prepare "$2" "data.sources=[$3]"; }; use "$0" "$1" <(cat "$2")'
    done = subprocess.run(["bash", "-c", command, PROGRAM, space.config, space.path("text/1.txt")], capture_output=True, text=True, timeout=20)
    check(done.returncode == 3 and "a pipe" in done.stderr, done.stderr)
    done = subprocess.run(["bash", "-c", '"$0" config check <(cat "$1")', PROGRAM, space.config], capture_output=True, text=True, timeout=20)
    check(done.returncode == 2 and "is a pipe" in done.stderr, done.stderr)


def test_names(space):
    odd = os.path.join(os.fsencode(space.folder), b"caf\xe9")
    os.rename(os.fsencode(space.path("text")), odd)
    runs = set(os.listdir(space.path("runs")))
    for key in (b"name=caf\xe9", b"data.sources=" + odd, b"eval.sample_prompt=caf\xe9"):
        _, err = space.run("train", space.config, key, expect=2)
        check("is not UTF-8" in err, err)
    check(set(os.listdir(space.path("runs"))) == runs, "something was trained")
    # Files of any name in a folder, by way of a link; prompts, and runs that were renamed, may be any bytes.
    os.rename(os.path.join(odd, b"3.txt"), os.path.join(odd, b"\xe9.txt"))
    os.symlink(odd, os.fsencode(space.path("text")))
    _, err = space.train("name=linked", "train.budget=4step")
    run = os.path.join(os.fsencode(space.folder), b"runs", b"caf\xe9")
    os.rename(space.path("runs/linked"), run)
    for arguments in (("eval", run), ("eval", "--json", run), ("generate", run, "-n", "2", "-p", b"caf\xe9"), ("inspect", run), ("runs", space.path("runs")),
                      ("export", run, "-o", space.path("model.safetensors")), ("report", run)):
        space.run(*arguments, cwd=space.folder)


def test_numbers(space):
    run = space.path("runs/tiny")
    for option, values in {"--seed": ("-1", "010", "0x10", "99999999999999999999", "18446744073709551615", "1.5", "nan", ""),
                           "--max-tokens": ("0", "-1", "010", "1e30"), "--temperature": ("nan", "inf", "-1", "0x1"), "--top-p": ("nan", "0", "1.5"),
                           "--max-cache": ("-1", "010"), "--threads": ("010", "-1")}.items():
        for value in values:
            _, err = space.run("generate", run, "-p", "the", "%s=%s" % (option, value), expect=2)
            check(option in err and "see 'isobath generate --help'" in err, err)
    out, _ = space.run("generate", run, "-p", "the", "-n", "4", "--seed", "8", "--max-cache", "64Ki")
    check(out.startswith("the"), out)
    for arguments in (("compare", space.config, "--minutes", "nan"), ("watch", "--interval", "inf"), ("train", space.config, "--ranks", "01"),
                      ("compare", space.config, "--shard", "01/4"), ("bench", "train", space.config, "--repeats", "0x3"),
                      ("config", "show", space.config, "--arm", "a", "--seed", "-1")):
        space.run(*arguments, expect=2)


with Workspace() as space:
    test_moved_and_changed_text(space)
    test_compare_moved_text(space)
    test_rows(space)
    test_pipe(space)
    test_numbers(space)
    test_names(space)
print("reading: fine")
