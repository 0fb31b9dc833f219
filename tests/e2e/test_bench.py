"""What `isobath bench` prints: a head that says what was measured, what the columns mean, and the dense twin of a routed model."""

import collections
import json
import sys

from common import Workspace, check

QUICK = ("--repeats", "2")
DENSE = "depth.kind=dense"
SIZE = "4 layers, width 32, context 64, vocabulary 257"


def lines_of(out):
    """The lines of the head by their first word, the table, and the meanings of its columns."""
    head, table, meanings = (out.split("\n\n") + ["", ""])[:3]
    found = collections.defaultdict(list)
    for line in head.splitlines():
        label, _, text = line.partition(" ")
        found[label].append(text.strip())
    return found, table, meanings


def check_head(out, build, models, batch):
    head, table, meanings = lines_of(out)
    check(len(head["model"]) == len(models), out)
    for said, (name, depth) in zip(head["model"], models):
        check(said.startswith(name + ": ") and "parameters; " + SIZE in said and said.endswith("; " + depth), out)
    check(head["batch"] == [batch] and head["precision"] == ["fp32"] and head["build"] == [build], out)
    with open("/proc/cpuinfo") as file:
        cpu = next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), "unknown")
    check(head["device"] == [cpu + ", 1 thread"], out)
    return table, meanings


with Workspace() as space:
    # A routed model without arms is held against its dense twin; JSON states the same facts.
    out, _ = space.run("bench", "train", space.config, "--json", *QUICK)
    result = json.loads(out)
    check([arm["name"] for arm in result["arms"]] == ["dense twin", "tiny"], out)
    twin, mod = result["arms"]
    check(twin["speedup"] == [1, 1], out)
    check(mod["ideal_speedup"] > 1 == twin["ideal_speedup"], out)
    environment = result["environment"]
    check(environment["threads"] == 1 and environment["cpu"] and environment["build"].count(", ") == 2, out)
    check(twin["tokens_per_step"] == 512 and result["precision"] == "fp32", out)
    models = result["models"]
    check(list(models) == ["dense twin", "tiny"] and models["tiny"]["params"] > models["dense twin"]["params"] > 0, out)
    check([models["tiny"][key] for key in ("layers", "width", "context", "vocab_size")] == [4, 32, 64, 257], out)
    both = [("dense twin", "dense"), ("tiny", "mod, 2 routed at 25 %")]
    out, _ = space.run("bench", "train", space.config, *QUICK)
    table, meanings = check_head(out, environment["build"], both, "512 tokens a step")
    check([line.strip().split("  ")[0] for line in table.splitlines()] == ["arm", "dense twin", "tiny"], out)
    for column in ("GFLOP", "MFU", "MFU 6N", "speedup", "ideal", "realised/ideal"):
        check(" " + column in table and any(line.startswith(column + " ") for line in meanings.splitlines()), "%s: %s" % (column, out))
    check("exceed 100 %" in meanings and "step time of dense twin" in meanings, out)

    # A dense model has nothing to be held against, and no ratios of 1.
    for command in ("train", "decode"):
        out, _ = space.run("bench", command, space.config, DENSE, *QUICK, *(("--prompt", "16") if command == "decode" else ()))
        check("tiny (dense) is measured alone" in out and "speedup" not in out and "1.000" not in out, out)

    # Batches that differ are told apart, in the order of the table.
    with open(space.path("arms.yaml"), "w") as file:
        file.write("include: tiny.yaml\ncompare: {baseline: small, arms: {large-of-a-long-name: {set: {train.batch_tokens: 1Ki}}, small: {}}}\n")
    out, _ = space.run("bench", "train", space.path("arms.yaml"), *QUICK)
    check(lines_of(out)[0]["batch"] == ["small 512, large-of-a-long-name 1024 tokens a step"], out)
    check(len({len(line) for line in lines_of(out)[1].splitlines()}) == 1, "columns are shifted:\n" + out)

    # A peer is named with its command.
    peer = "%s -c \"print('{}', flush=True); [print('{\\\"seconds_per_step\\\": 1}', flush=True) for _ in open(0)]\"" % sys.executable
    out, _ = space.run("bench", "train", space.config, DENSE, *QUICK, "--peer", "slow=" + peer)
    check(lines_of(out)[0]["peer"] == ["slow: " + peer] and "speedup" in out and "measured alone" not in out, out)

    # Decoding, too.
    decode = ("bench", "decode", space.config, "--batch", "2", "--prompt", "16,40", "--steps", "8", *QUICK)
    out, _ = space.run(*decode)
    table, meanings = check_head(out, environment["build"], both, "2 texts at a time, prompts of 16 or 40 tokens, then 8 tokens one by one")
    for column in ("speedup", "MF/token", "prompt tok/s", "KV/token", "predicted", "reserved", "blocks"):
        check(" " + column in table and any(line.startswith(column + " ") for line in meanings.splitlines()), "%s: %s" % (column, out))
    out, _ = space.run(*decode, "--json")
    result = json.loads(out)
    check(list(result["models"]) == ["dense twin", "tiny"] and result["batch"] == 2 and result["environment"]["build"] == environment["build"], out)

    # Several processes share the rounds: as many times, and the costs of the same texts.
    several = json.loads(space.run(*decode, "--json", "--ranks", "2")[0])
    alone = json.loads(space.run(*decode, "--json")[0])
    for mine, theirs in zip(several["arms"], alone["arms"]):
        for key in ("name", "prompt", "flops_per_token", "prompt_flops", "kv_bytes_per_token", "kv_reserved_per_token", "blocks_per_token"):
            check(mine[key] == theirs[key], "%s: %s, of one process %s" % (key, mine[key], theirs[key]))
        check(len(mine["step_time_s"]) == len(theirs["step_time_s"]) == 2, "%s" % mine)

    # And kernels.
    out, _ = space.run("bench", "ops", space.config, *QUICK)
    table, meanings = check_head(out, environment["build"], both[1:], "256 rows: a micro-batch of 4 sequences, each with 16 routed rows")
    check(len(table.splitlines()) == 17 and all(word in meanings for word in ("error ", "allowed ", "ATen's ", "us ", "speedup ")), out)
    out, _ = space.run("bench", "ops", space.config, "--json", *QUICK)
    result = json.loads(out)
    check(result["rows"] == 256 and len(result["kernels"]) == 16 and result["models"]["tiny"] == models["tiny"], out)
print("ok")
