"""Models that exist already: every format that is written is read back as the same model; runs start from them, also into another kind of depth."""

import json
import math
import os
import re
import resource
import shutil
import signal
import struct

from common import Workspace, check, tensors

DENSE = ("depth.kind=dense", "model.kv_heads=1")  # which the runs that start from it take over


def scores(space, path, name="scores.jsonl"):
    """What a model says of each token of a text: bit-identical models say the same."""
    space.run("eval", path, "--text", space.path("text", "1.txt"), "--per-token", space.path(name), "train.threads=1", "model.context=64")
    with open(space.path(name)) as file:
        return [(record["id"], record["loss_causal"]) for record in map(json.loads, file)]


def check_formats(space):
    run = space.path("runs/dense")
    reference = scores(space, run)
    for format, name in (("hf", "folder"), ("gguf", "model.gguf")):
        out = space.path(name)
        space.run("export", run, "-o", out, "--format", format)
        check(scores(space, out) == reference, "%s is read back as another model" % format)
        text, _ = space.run("generate", out, "-p", "the cat", "-n", "8", "--temperature", "0")
        check(text == space.run("generate", run, "-p", "the cat", "-n", "8", "--temperature", "0")[0], "%s writes other text" % format)
        again = space.path("again-" + name)
        space.run("export", out, "-o", again, "--format", "hf")
        check(scores(space, again) == reference, "a folder out of %s is another model" % format)
        check(space.content("folder", "model.safetensors") == space.content(again, "model.safetensors"), "%s: other weights come out than went in" % format)
    _, err = space.run("export", space.path("folder"), "-o", space.path("again.gguf"), "--format", "gguf", expect=2)
    check("tokenizer" in err and "no pattern" in err, err)
    check_own_weights(space, run)
    _, err = space.run("eval", space.path("folder"), expect=2)
    check("--text" in err, err)
    space.run("export", run, "-o", space.path("plain.safetensors"))
    space.run("export", run, "-o", space.path("plain.st"))
    out, _ = space.run("inspect", space.path("plain.st"))
    check("model.norm.weight" in out, "a safetensors file of another name is not known: " + out)
    out, _ = space.run("inspect", space.path("model.gguf"))
    check("computed here: yes, as 4 layers of width 32" in out and "its tokenizer: read, 257 ids" in out, out)
    _, err = space.run("generate", space.path("plain.safetensors"), "-p", "x", expect=3)
    check("no tokenizer" in err, err)


def check_own_weights(space, run):
    """bench decode measures the weights of a model that has some; --top says what was likely."""
    quick = ("--prompt", "8", "--steps", "4", "--repeats", "1", "--json")
    for path, word in ((run, "dense"), (space.path("model.gguf"), "model"), (space.path("folder"), "folder")):
        found = json.loads(space.run("bench", "decode", path, *quick)[0])
        check(path in found["weights"] and 0 < found["load_s"] < 60 and found["peak_memory_bytes_warm"] > 1 << 20, "%s" % found)
        check([arm["name"] for arm in found["arms"]] == [word], "%s" % found["arms"])
    found = json.loads(space.run("bench", "decode", space.path("model.gguf"), *quick, "depth.kind=mod")[0])
    check(found["weights"] == "random" and "load_s" not in found and len(found["arms"]) == 2, "%s" % found)
    _, err = space.run("bench", "decode", run, *quick, "model.width=64", expect=2)
    check("model.width = 64" in err and "need 32" in err, err)

    space.run("eval", run, "--text", space.path("text", "1.txt"), "--per-token", space.path("top.jsonl"), "--top", "257", "train.threads=1")
    with open(space.path("top.jsonl")) as file:
        records = [json.loads(line) for line in file]
    check("top_ids" not in records[0], "nothing predicts the first token: %s" % records[0])
    for record in records[1:50]:
        of = dict(zip(record["top_ids"], record["top_log_probabilities"]))
        check(len(of) == 257 and abs(of[record["id"]] + record["loss_causal"]) < 1e-5, "%s" % record)
        check(record["top_log_probabilities"] == sorted(of.values(), reverse=True), "%s" % record)
        check(abs(sum(math.exp(value) for value in of.values()) - 1) < 1e-6, "%s" % record)
    _, err = space.run("eval", run, "--top", "3", expect=2)
    check("--per-token" in err, err)


def check_refusals(space):
    config = json.loads(space.content("folder", "config.json"))
    def with_config(**changes):
        with open(space.path("folder", "config.json"), "w") as file:
            json.dump({**config, **changes}, file)
    with_config(hidden_act="gelu", sliding_window=8, model_type="mistral", rope_parameters={"rope_type": "llama3", "rope_theta": 1.0})
    _, err = space.run("eval", space.path("folder"), "--text", space.path("text", "1.txt"), expect=4)
    for words in ("hidden_act 'gelu'", "sliding_window 8", "type llama3"):
        check(words in err, "'%s' is not in %s" % (words, err))
    with_config(hidden_size=64)
    _, err = space.run("generate", space.path("folder"), "-p", "x", expect=4)
    check("has shape [257, 32], the model needs [257, 64]" in err or "head_dim" in err, err)
    with_config()


def write_tensors(path, weights):
    """name -> (shape, bytes of 32-bit numbers), as a safetensors file."""
    header, offset = {}, 0
    for name, (shape, value) in weights.items():
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [offset, offset + len(value)]}
        offset += len(value)
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(value for _, value in weights.values()))


def check_spellings(space):
    """A folder as transformers 5 spells it, whose embedding has more rows than the tokenizer has ids, with a token before each text."""
    folder, out = space.path("foreign"), space.path("foreign-out")
    shutil.copytree(space.path("folder"), folder)
    config = json.loads(space.content(folder, "config.json"))
    for old in ("rope_theta", "torch_dtype"):
        del config[old]
    with open(space.path(folder, "config.json"), "w") as file:
        json.dump({**config, "vocab_size": 264}, file)
    content = space.content(folder, "model.safetensors")
    header = json.loads(content[8:8 + struct.unpack("<Q", content[:8])[0]])
    weights = {name: (header[name]["shape"], value) for name, value in tensors(content).items()}
    rows, width = weights["model.embed_tokens.weight"][0]
    weights["model.embed_tokens.weight"] = ([264, width], weights["model.embed_tokens.weight"][1] + bytes(4 * width * (264 - rows)))
    write_tensors(space.path(folder, "model.safetensors"), weights)
    tokenizer = json.loads(space.content(folder, "tokenizer.json"))
    tokenizer["added_tokens"].append({"id": 257, "content": "<s>", "special": True, "normalized": False})
    tokenizer["post_processor"] = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]}
    with open(space.path(folder, "tokenizer.json"), "w") as file:
        json.dump(tokenizer, file)
    space.run("eval", folder, "--text", space.path("text", "1.txt"), "--per-token", space.path("foreign.jsonl"), "train.threads=1", "model.context=64")
    with open(space.path("foreign.jsonl")) as file:
        tokens = [json.loads(line) for line in file]
    check([token["id"] for token in tokens[:2]] == [257, 257] and tokens[2]["offset"] == 0, "bos, from which the bos and then the text is predicted: %s" % tokens[:3])
    check(tokens[0]["loss_causal"] is None and tokens[1]["loss_causal"] > 0, "the bos before a text is a token of it: %s" % tokens[:2])
    check(bytes(token["id"] for token in tokens[2:]) == space.content("text", "1.txt"), "ids of the text")
    space.run("generate", folder, "-p", "the cat", "-n", "4", "--temperature", "0")
    space.run("export", folder, "-o", out, "--format", "hf")
    check(tensors(space.content(out, "model.safetensors")) == {name: value for name, (_, value) in weights.items()}, "other weights come out than went in")
    written = json.loads(space.content(out, "tokenizer_config.json"))
    check((written["bos_token"], written["add_bos_token"]) == ("<s>", True), "%s" % written)
    check(json.loads(space.content(out, "config.json"))["vocab_size"] == 264, "vocab_size")


def final_loss(space, name):
    return [record for record in space.metrics(name) if record["kind"] == "validation" and record["final"]][0]["loss_causal"]


def first_loss(space, name):
    return [record for record in space.metrics(name) if record["kind"] == "validation"][0]["loss_causal"]


def check_starts(space):
    """A run that learns nothing (a rate near 0) has the loss of the model that it starts from."""
    still = ("train.lr=1e-12", "train.weight_decay=0", "train.budget=20step")
    for source in ("runs/dense", "folder", "model.gguf", "plain.safetensors"):
        name = "from-" + os.path.basename(source)
        tokenizer = ["tokenizer.kind=" + space.path(source)] if source in ("folder", "model.gguf") else []  # the same ids, another file
        _, err = space.train("name=" + name, "train.init_from=" + space.path(source), *DENSE, *still, *tokenizer)
        check("starts from " + space.path(source).split("/runs/")[0] in err, err)
        check(abs(final_loss(space, name) - final_loss(space, "dense")) < 1e-6, "%s: %s, not %s" % (source, final_loss(space, name), final_loss(space, "dense")))
    _, err = space.train("name=wider", "train.init_from=" + space.path("folder"), "model.width=64", *DENSE, expect=2)
    check("model.width is 64 (command line), the weights need 32" in err, err)
    _, err = space.train("name=lost", "train.init_from=" + space.path("nowhere"), *DENSE, expect=4)
    check("nowhere" in err, err)


def check_identity(space):
    """With factors of 1 and every token selected, a converted model is the dense one."""
    for gate in ("tanh", "sigmoid2"):
        keys = ("depth.gate=" + gate, "depth.capacity=100%", "depth.causal=none", "model.kv_heads=1", "train.lr=1e-12", "train.weight_decay=0", "train.budget=5step")
        space.train("name=same-" + gate, "train.init_from=" + space.path("runs/dense"), "depth.router_init=zero", *keys)
        check(abs(final_loss(space, "same-" + gate) - final_loss(space, "dense")) < 1e-5, "%s is no identity" % gate)
    space.train("name=other", "train.init_from=" + space.path("runs/dense"), *keys)
    check(abs(final_loss(space, "other") - final_loss(space, "dense")) > 1e-4, "random router weights change nothing either")
    _, err = space.train("name=norm", "depth.router=norm", "depth.router_init=zero", expect=2)
    check("depth.router_init: zero needs scores" in err, err)


def check_conversion(space):
    """Dense weights become the blocks of a mod model; frozen ones stay, bit for bit; a run stopped on the way goes on bit for bit."""
    keys = ("train.init_from=" + space.path("runs/dense"), "train.freeze=[blocks, embeddings, norms]", "depth.gate=tanh", "model.kv_heads=1")
    _, err = space.train("name=routers", *keys)
    check("start fresh (model.layers.1.router.weight" in err, err)
    before, after = tensors(space.content("runs/dense/latest/model.safetensors")), tensors(space.content("runs/routers/latest/model.safetensors"))
    check(all(after[name] == value for name, value in before.items()), "a frozen weight has moved")
    moved = [name for name in after if name not in before]
    check("model.layers.1.router.weight" in moved, "%s" % moved)
    flops = [record["train_flops_total"] for record in space.metrics("routers") if record["kind"] == "end"][0]
    space.train("name=all", *keys[:1], *keys[2:])
    check(flops < [record["train_flops_total"] for record in space.metrics("all") if record["kind"] == "end"][0], "frozen weights cost a gradient")
    space.train_until("stopped", 21, 2, *keys)
    space.train("name=stopped", *keys)
    check(space.content("runs/stopped/latest/model.safetensors") == space.content("runs/routers/latest/model.safetensors"), "resumed otherwise")
    _, err = space.train("name=nothing", *keys[:2], "depth.kind=dense", "model.kv_heads=1", expect=2)
    check("nothing to train" in err, err)
    _, err = space.train("name=back", "train.init_from=" + space.path("runs/all"), "depth.kind=dense", "model.kv_heads=1", expect=4)
    check("unknown: model.layers.1.router.weight" in err, err)


def check_distillation(space):
    """A dense model teaches: its distribution is learned besides the text, and its forward pass is paid for."""
    teacher = "train.distill.from=" + space.path("runs/dense")
    start = ("train.init_from=" + space.path("runs/dense"), "depth.gate=tanh", "model.kv_heads=1")
    space.train("name=taught", *start, teacher, "train.distill.weight=0.5", "train.distill.temperature=2")
    divergences = [record["divergence"] for record in space.metrics("taught") if record["kind"] == "train"]
    check(all(value > 0 for value in divergences), "%s" % divergences)
    plan = {name: json.loads(space.run("plan", space.config, "--json", *start, *keys)[0])["arms"][0] for name, keys in (("taught", [teacher]), ("alone", []))}
    tokens = [record["batch_tokens"] for record in space.metrics("taught") if record["kind"] == "run"][0]
    dense = json.loads(space.run("plan", space.config, "--json", *DENSE)[0])["arms"][0]["forward_flops_per_token_topk"]
    check(plan["taught"]["train_flops_per_step"] - plan["alone"]["train_flops_per_step"] == round(tokens * dense), "the teacher is not paid for: %s" % plan)
    check(plan["taught"]["teacher_flops_per_token"] == dense, "%s, not %s" % (plan["taught"], dense))
    flops = {name: [record["train_flops_total"] for record in space.metrics(name) if record["kind"] == "end"][0] for name in ("taught", "all")}
    check(flops["taught"] > flops["all"], "%s" % flops)
    run = [record for record in space.metrics("taught") if record["kind"] == "run"][0]
    check(run["pretraining_flops"] == [record["train_flops_total"] for record in space.metrics("dense") if record["kind"] == "end"][0], "%s" % run)

    # A model that starts as its teacher and learns nothing does not diverge from it.
    still = ("train.lr=1e-12", "train.weight_decay=0", "train.budget=5step", "train.log_every=1step")
    space.train("name=itself", start[0], teacher, *DENSE, *still)
    check(all(abs(record["divergence"]) < 1e-6 for record in space.metrics("itself") if record["kind"] == "train"), "%s" % space.metrics("itself"))

    # Stopped and resumed, bit for bit; with another teacher not at all.
    keys = (*start, teacher, "train.distill.weight=0.5", "train.distill.temperature=2")
    space.train_until("halted", 21, 2, *keys)
    space.train("name=halted", *keys)
    check(space.content("runs/halted/latest/model.safetensors") == space.content("runs/taught/latest/model.safetensors"), "resumed otherwise")
    shutil.copytree(space.path("runs/dense"), space.path("other"), symlinks=True)
    swapped = (*start, "train.distill.from=" + space.path("other"))
    space.train_until("swapped", 21, 2, *swapped)
    shutil.rmtree(space.path("other"))
    shutil.copytree(space.path("runs/itself"), space.path("other"), symlinks=True)
    _, err = space.train("name=swapped", *swapped, expect=3)
    check("does not hold the weights that this run has learned from" in err, err)
    _, err = space.train("name=x", *start, "train.distill.from=" + space.path("runs/all"), expect=2)
    check("depth.kind: mod" in err, err)
    _, err = space.train("name=x", *start, teacher, "model.context=128", "train.batch_tokens=256", expect=2)
    check("reads at most" in err, err)


def small_files_only():
    """A disk on which no file grows beyond 300 kB."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))


def check_kept_teacher(space):
    """With train.distill.top the teacher runs once for each window, whoever reads it; what runs learn does not depend on who asked."""
    def use(name):
        """Windows that the teacher ran on and that were read, by the last line that a run's log has of them."""
        with open(space.path("runs", name, "train.log")) as log:
            return [tuple(map(int, found)) for found in re.findall(r"the teacher ran on (\d+) windows; what it says of (\d+) was read", log.read())][-1]

    keys = ("train.init_from=" + space.path("runs/dense"), "train.distill.from=" + space.path("runs/dense"), "depth.gate=tanh", "model.kv_heads=1",
            "train.distill.temperature=2", "train.distill.top=8", "train.budget=40step")
    elsewhere = "data.cache_dir=" + space.path("other-cache")
    final = "latest/model.safetensors"
    space.train("name=first", *keys)
    ran, read = use("first")
    check(ran + read == 40 * 8 and 0 < ran, "%d and %d windows" % (ran, read))
    kept = os.listdir(space.path("cache", "teachers"))
    check(len(kept) == 1, "%s" % kept)
    space.train("name=again", *keys)
    check(use("again") == (0, 320), "%s" % (use("again"),))
    code, _ = space.train_until("part", 14, signal.SIGTERM, *keys, elsewhere)
    check(code == 128 + signal.SIGTERM, "ended with %s" % code)
    space.train("name=part", *keys, elsewhere)
    for name in ("again", "part"):
        check(space.content("runs", name, final) == space.content("runs", "first", final), "%s learned otherwise" % name)
    flops = {name: [record["train_flops_total"] for record in space.metrics(name) if record["kind"] == "end"][-1] for name in ("first", "again")}
    check(flops["first"] == flops["again"], "the teacher's FLOPs are not counted where another run has spent them: %s" % flops)
    space.train("name=seed", *keys, "seed=2")
    check(use("seed")[1] > 0, "another seed found nothing: %s" % (use("seed"),))

    # What depends on another teacher, temperature or number of tokens is kept in a file of its own.
    for number, key in enumerate(("train.distill.top=9", "train.distill.temperature=1", "train.distill.from=" + space.path("runs/itself"))):
        space.train("name=differs%d" % number, *keys, "train.budget=1step", key)
        check(len(os.listdir(space.path("cache", "teachers"))) == 2 + number, "%s shares a file" % key)
    # Two runs at a time, one of them of two ranks, fill and read one file.
    third = "data.cache_dir=" + space.path("third-cache")
    both = {name: space.start("train", space.config, "name=" + name, *keys, third, *options) for name, options in (("ranks", ("--ranks", "2")), ("beside", ()))}
    for name, process in both.items():
        _, err = process.communicate(timeout=300)
        check(process.returncode == 0 and sum(use(name)) == 320, "%s: %s" % (name, err))
        check(space.content("runs", name, final) == space.content("runs", "first", final), "%s learned otherwise" % name)
    check(len(os.listdir(space.path("third-cache", "teachers"))) == 1, "two files")
    _, err = space.train("name=x", *keys, "train.distill.top=258", expect=2)
    check("train.distill.top = 258" in err and "257" in err, err)
    # A disk on which the file cannot grow.
    shutil.rmtree(space.path("third-cache", "teachers"))
    _, err = space.train("name=full", *keys, third, expect=7, preexec_fn=small_files_only, restore_signals=False)
    check(space.path("third-cache", "teachers") in err and "File too large" in err, err)


with Workspace() as space:
    space.train("name=dense", *DENSE)
    check_formats(space)
    check_refusals(space)
    check_spellings(space)
    check_starts(space)
    check_identity(space)
    check_conversion(space)
    check_distillation(space)
    check_kept_teacher(space)

print("ok")
