"""`eval --text` cuts its windows as lm-evaluation-harness does: compared with validation windows at the same places."""

import json
import math

from common import Workspace, check

CONTEXT = 64


def records(space, *arguments):
    """Ids and losses of the tokens that are predicted, and the results."""
    path = space.path("tokens.jsonl")
    out, _ = space.run("eval", "--json", *arguments, "--per-token", path, "train.threads=1")
    with open(path) as file:
        tokens = [json.loads(line) for line in file]
    return [token for token in tokens if token["loss_causal"] is not None], json.loads(out)


def window(space, run, content):
    """Losses of the last 64 of these 65 bytes, as a validation window."""
    check(len(content) == CONTEXT + 1, "%d bytes" % len(content))
    with open(space.path("window.txt"), "wb") as file:
        file.write(content)
    tokens, _ = records(space, run, "data.valid_sources=[%s]" % space.path("window.txt"), "eval.final_tokens=64", "eval.calibration_tokens=off")
    check([token["id"] for token in tokens] == list(content[1:]), "ids of a validation window")
    return tokens


def same(tokens, others, what):
    check(len(tokens) == len(others) > 0, "%s: %d and %d tokens" % (what, len(tokens), len(others)))
    for key in ("id", "loss_topk", "loss_causal"):
        far = max(abs(a[key] - b[key]) for a, b in zip(tokens, others))
        check(far < 1e-5, "%s: %s differs by %g" % (what, key, far))


def check_windows(space, run):
    content = "Größe: ".encode() + space.content("text", "3.txt")
    files = []
    for name, size in (("short.txt", 30), ("long.txt", 150)):
        files.append(space.path(name))
        with open(files[-1], "wb") as file:
            file.write(content[:size])
    tokens, result = records(space, run, "--text", files[0], "--text", files[1])
    check((result["eval_tokens"], result["eval_bytes"]) == (180, 180), "%s" % result)
    check([token["id"] for token in tokens] == list(content[:30] + content[:150]), "every byte of both files, once, in order")
    check([token["offset"] for token in tokens] == list(range(30)) + list(range(150)), "offsets")
    long = tokens[30:]
    # Causal decisions do not depend on what follows: the short text and the start of the long one are the same.
    check(all(abs(a["loss_causal"] - b["loss_causal"]) < 1e-5 for a, b in zip(tokens, long[:30])), "a text depends on the one before it")
    same(long[64:128], window(space, run, content[63:128]), "the second window")
    same(long[128:], window(space, run, content[85:150])[-22:], "the last window, filled up with context")
    for routing in ("topk", "causal"):
        nats = sum(token["loss_" + routing] for token in tokens)
        check(abs(result["loss_" + routing] - nats / 180) < 1e-6, "loss_" + routing)
        check(abs(result["bits_per_byte_" + routing] - nats / math.log(2) / 180) < 1e-6, "bits_per_byte_" + routing)


def check_likeliest(space, run):
    """--top: the likeliest tokens of each place, whose log-probabilities belong to one distribution with the loss."""
    tokens, _ = records(space, run, "--text", space.path("short.txt"), "--text", space.path("long.txt"), "--top", "257")
    for token in tokens:
        ids, values = token["top_ids"], token["top_log_probabilities"]
        check(sorted(ids) == list(range(257)) and values == sorted(values, reverse=True), "%s" % token)
        check(abs(sum(map(math.exp, values)) - 1) < 1e-5, "probabilities add up to %g" % sum(map(math.exp, values)))
        check(abs(values[ids.index(token["id"])] + token["loss_causal"]) < 1e-5, "another distribution than the loss's: %s" % token)
    few, _ = records(space, run, "--text", space.path("short.txt"), "--top", "3")
    check([token["top_ids"] for token in few] == [token["top_ids"][:3] for token in tokens[:30]], "other tokens with a smaller --top")
    with open(space.path("tokens.jsonl")) as file:
        first = json.loads(file.readline())
    check(first["loss_causal"] is None and not first.get("top_ids"), "nothing predicts the token before a text: %s" % first)


def check_options(space, run):
    one, two = space.path("text", "1.txt"), space.path("text", "2.txt")
    out, _ = space.run("eval", run, "--text", one)
    check("each once" in out and "windows of 64" in out, out)
    for command in ("eval", "analyze"):
        _, err = space.run(command, run, "--text", one, two, expect=2)
        check("--text %s --text %s" % (one, two) in err, err)
    with open(space.path("empty.txt"), "w"):
        pass
    _, err = space.run("eval", run, "--text", space.path("empty.txt"), expect=3)
    check("no text" in err and "empty.txt" in err, err)


with Workspace() as space:
    space.train()
    run = space.path("runs/tiny")
    check_windows(space, run)
    check_likeliest(space, run)
    check_options(space, run)

print("ok")
