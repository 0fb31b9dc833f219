"""Using what was trained - eval, generate, export, inspect - and the exit codes of what goes wrong."""

import json
import os
import shutil
import struct
import subprocess

from common import Workspace, check


def read_safetensors(path):
    """Names, types, shapes and metadata, by the format's own description."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    metadata = header.pop("__metadata__", {})
    end = 8 + length + max(tensor["data_offsets"][1] for tensor in header.values())
    check(os.path.getsize(path) == end, "%s has %d bytes, its header describes %d" % (path, os.path.getsize(path), end))
    return header, metadata


with Workspace() as space:
    space.train()
    run = space.path("runs/tiny")
    final = space.metrics("tiny")[-3]
    check(final["kind"] == "validation" and final["final"], "records: %s" % final)

    # eval repeats the final validation exactly, on another path through the code.
    out, _ = space.run("eval", "--json", run)
    result = json.loads(out)
    for key in ("loss_topk", "loss_causal", "bits_per_byte_causal", "capacity_causal", "router_precision", "eval_tokens"):
        check(result[key] == final[key], "eval %s = %s, training said %s" % (key, result[key], final[key]))
    out, _ = space.run("eval", "--json", run, "eval.routing=topk", "data.valid_sources=[%s]" % space.path("text", "1.txt"))
    check("loss_causal" not in out and json.loads(out)["loss_topk"] != final["loss_topk"], out)
    _, err = space.run("eval", run, "model.layers=2", expect=2)
    check("model.layers" in err, err)
    _, err = space.run("eval", run, "data.sources=[%s]" % space.path("text", "1.txt"), expect=2)
    check("--text" in err, err)

    # Any text whole, from a copy that knows nothing of the training text; what happened to each token adds up to that.
    copied, texts = space.path("elsewhere", "copy"), [space.path("%d.txt" % i) for i in (1, 2)]
    for number, text in enumerate(texts, 1):  # of whole windows: no token is read twice
        with open(text, "wb") as file:
            file.write(space.content("text", "%d.txt" % number)[:(number + 20) * 64])
    shutil.copytree(os.path.join(run, "latest"), copied)
    os.rename(space.path("text"), space.path("gone"))
    tokens_file = space.path("tokens.jsonl")
    out, _ = space.run("eval", copied, "--json", "--text", texts[0], "--text", texts[1], "--per-token", tokens_file)
    named = json.loads(out)
    out, _ = space.run("eval", copied, "--text", texts[0])
    check("perplexity" in out and "causal" in out and "{" not in out, out)
    _, err = space.run("eval", copied, expect=3)
    check("--text" in err, err)
    os.rename(space.path("gone"), space.path("text"))
    size = sum(os.path.getsize(text) for text in texts)
    check((named["eval_bytes"], named["eval_tokens"]) == (size, size), "%s" % named)
    with open(tokens_file) as file:
        tokens = [json.loads(line) for line in file]
    read, predicted = ([token for token in tokens if key in token and token[key] is not None] for key in ("depth", "loss_causal"))
    check(len(tokens) == size + 2 and len(read) == len(predicted) == size, "%d, %d, %d" % (len(tokens), len(read), len(predicted)))
    check(tokens[0]["loss_causal"] is None and tokens[0]["id"] == 256 and "depth" not in tokens[-1], "%s %s" % (tokens[0], tokens[-1]))
    mean = {key: sum(token[key] for token in predicted) / len(predicted) for key in ("loss_topk", "loss_causal")}
    check(all(abs(mean[key] - named[key]) < 1e-6 for key in mean), "%s is not %s" % (mean, named))
    for layer, share in enumerate(named["capacity_causal"]):
        check(sum(token["selected"][layer] for token in read) == round(share * len(read)), "layer %d runs others" % layer)
    check(abs(sum(token["depth"] for token in read) / len(read) - named["mean_depth_causal"]) < 1e-9, "mean depth")
    with open(texts[1], "rb") as file:
        content = file.read()
    second = [token for token in tokens if token["document"] == 1][1:]
    check(all(content[token["offset"]] == token["id"] for token in second) and len(second) == len(content), "offsets of the second document")
    # Which words get the compute: the same tokens, summed up otherwise.
    out, _ = space.run("analyze", run, "--json", "--text", texts[0], "--text", texts[1], "--at-least", "3")
    analysis = json.loads(out)
    check(analysis["tokens_read"] == len(read) and abs(analysis["mean_depth"] - named["mean_depth_causal"]) < 1e-9, out)
    check({one["class"] for one in analysis["classes"]} >= {"word start", "inside a word", "white space", "document end"}, out)
    words = analysis["words"]["deepest"] + analysis["words"]["shallowest"]
    check(words and all(2 <= one["depth"] <= 4 and one["word"].strip(".").isalpha() for one in words), "%s" % words)
    out, _ = space.run("analyze", run)
    check("depth against surprisal" in out and "shallowest words" in out, out)

    _, err = space.run("eval", run, "--txt", texts[0], expect=2)
    check("no option '--txt' (did you mean '--text'?)" in err, err)
    _, err = space.train("train.budget=30step", expect=2)
    check("train.budget (30step) is less than" in err and "60 steps" in err, err)

    # Keys without dashes, keys that eval does not read, and shares.
    _, err = space.run("train", space.config, "--lr", "3e-3", expect=2)
    check("train.lr=3e-3" in err and "without dashes" in err, err)
    _, err = space.run("train", space.config, "--train.lr=3e-3", expect=2)
    check("train.lr=3e-3" in err, err)
    _, err = space.run("eval", run, "eval.tokens=2Ki", expect=2)
    check("eval.final_tokens=2Ki" in err, err)
    _, err = space.run("eval", run, "--capacity", "25", expect=2)
    check("25 % is written 25% or 0.25" in err and "depth.capacity" not in err, err)

    # Token by token, what was trained gives what it gives in one pass.
    out, _ = space.run("eval", "--json", run, "--decode", "4", "eval.final_tokens=1Ki")
    decoding = json.loads(out)["decoding"]
    check(decoding["tokens"] > 64 and decoding["decisions"] > 2 * 64 and decoding["flips"] <= 1, "%s" % decoding)
    check(0 < decoding["largest_difference"] < 1e-4, "%s" % decoding)
    for wrong, code in ((("--decode", "1000"), 3), (("--decode", "1", "precision=bf16"), 2)):
        space.run("eval", run, *wrong, expect=code)

    # Capacity against loss, after training: causal decisions are calibrated to each share, and can be kept.
    out, _ = space.run("eval", "--json", run, "--leak", "--capacity", "10%", "--capacity", "0.5", "eval.final_tokens=4Ki")
    low, high = json.loads(out)["capacities"]
    check((low["capacity"], high["capacity"]) == ([0.1], [0.5]), out)
    for result, share in ((low, 6 / 64), (high, 0.5)):
        check(result["capacity_topk"] == [share] * 2 and result["calibration_tokens"] > 8000, "%s" % result)
        check(all(abs(realised / share - 1) < 0.2 for realised in result["capacity_causal"]), "%s" % result["capacity_causal"])
        check(all(f1 <= best for f1, best in zip(result["router_f1"], result["router_f1_ceiling"])), "%s" % result)
        check(result["leak_topk"]["changed_choices"] > 0 and result["leak_causal"]["changed_choices"] == 0, "%s" % result)
    saved = space.path("half")
    space.run("eval", run, "--capacity", "50%", "--save", saved, "eval.final_tokens=4Ki")
    out, _ = space.run("eval", "--json", saved, "eval.final_tokens=4Ki")
    check(json.loads(out)["loss_causal"] == high["loss_causal"], "saved as %s, was %s" % (json.loads(out)["loss_causal"], high["loss_causal"]))
    space.run("generate", saved, "-p", "the", "-n", "4")
    _, err = space.run("eval", run, "--save", saved, expect=4)
    check("exists" in err, err)

    # Where a person says to write: a bare name, below the folder the program is started in, and a folder's name with a slash behind it.
    for name in ("bare", "below/slashes//"):
        space.run("eval", run, "--save", name, "eval.final_tokens=1Ki", cwd=space.folder)
        check(os.path.exists(space.path(name.rstrip("/"), "model.safetensors")), name)
    check(os.listdir(space.path("below")) == ["slashes"], "%s" % os.listdir(space.path("below")))
    space.run("inspect", space.path("below/slashes"))
    _, err = space.run("eval", run, "--save", "below/slashes/", "eval.final_tokens=1Ki", cwd=space.folder, expect=4)
    check("exists" in err, err)
    for name in ("bare", "slash/"):
        space.run("report", run, "--output", "report-" + name, cwd=space.folder)
        check(os.path.exists(space.path("report-" + name, "report.html")), name)
        space.run("data", "prepare", space.config, "data.cache_dir=cache-" + name, cwd=space.folder)
        check(os.listdir(space.path("cache-" + name)), name)
    check(not [name for name in os.listdir(space.folder) if name.startswith(".")], "left behind: %s" % os.listdir(space.folder))
    space.run("export", run, "-o", "bare.safetensors", cwd=space.folder)
    space.run("tokenizer", "train", space.config, "-o", "bare.model", cwd=space.folder)
    before = sorted(os.listdir(space.folder))
    export, train_tokenizer = ("export", run), ("tokenizer", "train", space.config)
    for command, name in ((export, "file/"), (export, "text"), (export, ""), (train_tokenizer, "text/"), (train_tokenizer, ".")):
        _, err = space.run(*command, "-o", name, cwd=space.folder, expect=2)  # no names of files
        check("-o '%s'" % name in err and "file" in err, err)
    check(sorted(os.listdir(space.folder)) == before, "left behind: %s" % os.listdir(space.folder))

    for wrong in (["--capacity", "0"], ["--capacity", "10%", "--capacity", "20%", "--save", space.path("both")]):
        space.run("eval", run, *wrong, expect=2)

    # Branches of different depth go the same ways.
    nested = ("depth.kind=nested", "depth.exits=[1,2]", "depth.mean_depth=2.5", "depth.choice=sequence", "depth.gate_training=hindsight",
              "train.budget=40step")
    space.train("name=nested", *nested)
    final = [r for r in space.metrics("nested") if r["kind"] == "validation" and r["final"]][0]
    check(final["loss_topk"] == final["loss_causal"] and len(final["branch_losses"]) == 3, "%s" % final)
    check(final["oracle_loss"] <= min(final["branch_losses"]) and final["oracle_loss"] <= final["oracle_loss_same_depth"], "%s" % final)
    check(1 < final["mean_depth_causal"] < 4, "%s" % final)
    low, high = final["difficulty_correlation_ci95"]
    check(final["difficulty_correlation"] is None or -1 <= low <= final["difficulty_correlation"] <= high <= 1, "%s" % final)
    out, _ = space.run("eval", "--json", space.path("runs/nested"))
    check(json.loads(out)["loss_causal"] == final["loss_causal"], out)
    _, err = space.run("eval", space.path("runs/nested"), "--capacity", "10%", expect=2)
    check("no capacity" in err, err)

    # Equal seeds, equal text (with the samples below); greedy needs none.
    once, _ = space.run("generate", run, "--prompt", "the cat", "-n", "20", "--seed", "3", "--threads", "1")
    other, _ = space.run("generate", run, "--prompt", "the cat", "-n", "20", "--seed", "4", "--threads", "1")
    check(once != other and once.startswith("the cat"), "%r %r" % (once, other))
    greedy = {space.run("generate", run, "-p", "the", "-n", "8", "-t", "0", "--seed", seed, "--threads", "1")[0] for seed in "12"}
    check(len(greedy) == 1, "%s" % greedy)

    # Several continuations of a prompt; the first of them is what one alone gives.
    out, _ = space.run("generate", run, "--prompt", "the cat", "-n", "20", "--seed", "3", "--threads", "1", "--samples", "3")
    check(out.startswith(once) and out.count("the cat") >= 3 and out != 3 * once, "%r %r" % (once, out))

    # Prompts from a file: a line each, in order, the same whatever the batch; stop strings and cuts.
    with open(space.path("prompts.jsonl"), "w") as file:
        file.write('{"prompt": "the cat", "id": "a"}\n{"prompt": "t"}\n{"prompt": "the cat"}\n')
    many = {}
    for batch in "13":
        out, err = space.run("generate", run, "-f", space.path("prompts.jsonl"), "-n", "12", "--batch", batch, "--threads", "1", "--top-p", "0.9",
                             "--stop", " ")
        check("blocks per token" in err, err)
        many[batch] = [json.loads(line) for line in out.splitlines()]
    check([line["id"] for line in many["3"]] == ["a", "2", "3"], "%s" % many["3"])
    check(many["1"] == many["3"], "%s" % many)  # to the last bit of the log-probabilities
    check(not any(" " in line["text"] for line in many["3"]), "%s" % many)
    check(all(len(line["log_probabilities"]) == line["tokens"] and max(line["log_probabilities"]) <= 0 for line in many["3"]), "%s" % many)
    sampled = {}
    for batch, samples in (("1", "1"), ("2", "3"), ("16", "3")):
        out, _ = space.run("generate", run, "-f", space.path("prompts.jsonl"), "-n", "20", "--batch", batch, "--threads", "1", "--samples", samples)
        sampled[batch] = [json.loads(line) for line in out.splitlines()]
    check(sampled["2"] == sampled["16"], "%s" % sampled)
    check([(line["id"], line["sample"]) for line in sampled["2"]] == [(id, sample) for id in ("a", "2", "3") for sample in (1, 2, 3)], "%s" % sampled)
    check(sampled["2"][::3] == sampled["1"], "%s" % sampled)  # the first samples are what one sample gives
    check(len({line["text"] for line in sampled["2"] if line["prompt"] == "the cat"}) == 6, "%s" % sampled)  # also of the same prompt twice
    space.run("generate", run, "-p", "the", "--samples", "0", expect=2)
    piped = {"stdin": subprocess.PIPE}
    process = space.start("generate", run, "-p", "-", "-n", "8", "-t", "0", "--threads", "1", **piped)
    out, _ = process.communicate("the\n", timeout=60)
    check({out} == greedy, "a prompt from standard input: %r, not %r" % (out, greedy))
    read, write = os.pipe()
    os.write(write, b"the king\n")
    os.close(write)
    _, err = space.run("generate", run, "-n", "2", stdin=read)
    os.close(read)
    check("standard input is not read: -p -" in err, err)
    out, _ = space.run("generate", run, "-p", "the", "-n", "5", "--show-depth")
    check("\033[38;5;" in out, out)
    for wrong, code in ((("--max-cache", "1Ki"), 6), (("--stop", ""), 2), (("-f", space.path("nothing")), 3),
                        (("-p", "the " * 300), 3)):
        space.run("generate", run, *wrong, expect=code)
    space.run("generate", run, "-p", "the " * 300, "-n", "100", "--window")

    # Learned factors on layers: what is left is a dense model.
    space.train("name=scaled", "depth.kind=scaled", "depth.mean_depth=2", "train.budget=30step")
    _, err = space.run("export", space.path("runs/scaled"), "-o", space.path("scaled.safetensors"), "--fold")
    out, _ = space.run("inspect", space.path("scaled.safetensors"))
    check("model.layers.1." in out and "model.layers.2." not in out and ".scale." not in out, out)
    space.run("export", run, "-o", space.path("folded.safetensors"), "--fold", expect=2)

    # export, as above in fp32
    space.run("export", run, "-o", space.path("f64.safetensors"), "--dtype", "f64")
    for file, name in (("bare", "F32"), ("f64", "F64")):
        path = space.path(file + ".safetensors")
        tensors, metadata = read_safetensors(path)
        check(tensors["model.embed_tokens.weight"] == dict(tensors["model.embed_tokens.weight"], dtype=name, shape=[257, 32]), "%s" % tensors)
        check(tensors["model.layers.3.self_attn.q_proj.weight"]["shape"] == [32, 32], "%s" % tensors)
        check("model.layers.1.router.weight" in tensors and "model.layers.0.router.weight" not in tensors, "%s" % list(tensors))
        check(metadata["model.layers"] == "4" and metadata["depth.capacity"] == "0.25" and metadata["vocab_size"] == "257", "%s" % metadata)
        try:
            from safetensors import safe_open
        except ImportError:
            print("the safetensors package is not installed: its own reader was not tried")
        else:
            with safe_open(path, "np") as file:
                check(set(file.keys()) == set(tensors), "safetensors reads other names")
                check(abs(file.get_tensor("model.norm.weight")).sum() > 0, "safetensors reads no values")
    out, _ = space.run("inspect", path)
    check("whole" in out and "model.norm.weight" in out, out)
    os.truncate(path, 1000)
    space.run("inspect", path, expect=4)

    # inspect, of everything the run made
    for path, word in ((run, "finished"), (run + "/best", "best loss"), (run + "/latest/tokenizer.model", "byte")):
        out, _ = space.run("inspect", path)
        check(word in out, out)
    shards = [os.path.join(folder, name) for folder, _, names in os.walk(space.path("cache")) for name in names if name.endswith(".shard")]
    out, _ = space.run("inspect", shards[0])
    check("tokens" in out and "whole" in out, out)
    with open(shards[0], "r+b") as file:
        file.seek(-3, os.SEEK_END)
        file.write(b"\xff\xff\xff")
    space.run("inspect", shards[0], expect=3)

    # exit codes
    space.run("inspect", space.path("nothing"), expect=2)
    space.run("generate", space.path("nothing"), expect=4)
    space.run("generate", space.path("text"), expect=4)
    space.train("name=x", "train.lr=fast", expect=2)
    space.train("name=x", "data.sources=[%s]" % space.path("nowhere"), expect=3)
    space.run("train", space.path("nowhere.yaml"), expect=2)
    # One document leaves none for validation: plan refuses it as train does, before and after it prepares the text.
    single = ("name=x", "data.split=document", "data.sources=[%s]" % space.path("text", "1.txt"))
    _, refused = space.train(*single, expect=3)
    for options in ((), ("--data",)):
        _, err = space.run("plan", space.config, *options, *single, expect=3)
        check("data.split" in err and err.splitlines()[-1] == refused.splitlines()[-1], "plan %s says\n%s\nand train\n%s" % (options, err, refused))
    space.run("nonsense", expect=2)

    # Divergence ends the run, says where, and keeps what was good.
    _, err = space.train("name=wild", "train.lr=100", "train.clip_norm=off", "train.warmup=0step", "depth.kind=dense", "model.init_std=9",
                         "train.budget=300step", expect=5)
    check("diverged" in err and "step" in err, err)
    check(space.metrics("wild")[-1]["status"] == "diverged", "%s" % space.metrics("wild")[-1])
print("ok")
