"""A dense model becomes another one: updates of low rank, fewer layers, and what says which layers matter."""

import json

from common import KILL, STOP, Workspace, check, tensors

DENSE = ("depth.kind=dense", "model.kv_heads=1")


def final_loss(space, name):
    return [record for record in space.metrics(name) if record["kind"] == "validation" and record["final"]][0]["loss_causal"]


def check_low_rank(space):
    """The matrices stay, the updates move; a killed and a stopped run go on bit for bit; everything else sees matrix and update as one."""
    keys = ("train.init_from=" + space.path("runs/dense"), "train.lora.rank=3", "train.freeze=[embeddings, norms]", "depth.gate=tanh", "model.kv_heads=1", "checkpoint.every=10step")
    space.train("name=updated", *keys)
    before, after = tensors(space.content("runs/dense/latest/model.safetensors")), tensors(space.content("runs/updated/latest/model.safetensors"))
    check(all(after[name] == value for name, value in before.items()), "a fixed matrix has moved")
    ups = [name for name in after if name.endswith("lora_up.weight")]
    check(len(ups) == 4 * 7 and all(any(after[name]) for name in ups), "updates: %s" % ups)
    optimizer = tensors(space.content("runs/updated/latest/optimizer.safetensors"))
    check(not any("exp_avg" in name and "lora" not in name and "router" not in name and "predictor" not in name for name in optimizer), "%s" % list(optimizer))
    for signal_number in (STOP, KILL, STOP):
        space.train_until("halted", 11 if signal_number == STOP else 21, signal_number, *keys)
    space.train("name=halted", *keys)
    for file in ("model.safetensors", "optimizer.safetensors"):
        check(space.content("runs/halted/latest", file) == space.content("runs/updated/latest", file), "%s: went on otherwise" % file)

    measured = json.loads(space.run("eval", space.path("runs/updated"), "--json", "eval.calibration_tokens=off")[0])
    space.run("eval", space.path("runs/updated"), "--json", "--save", space.path("saved"))
    saved = json.loads(space.run("eval", space.path("saved"), "--json", "eval.calibration_tokens=off")[0])
    check(abs(saved["loss_topk"] - measured["loss_topk"]) < 1e-6, "%s is not %s" % (saved, measured))
    space.run("export", space.path("runs/updated"), "-o", space.path("merged.safetensors"))
    merged = tensors(space.content("merged.safetensors"))
    check(not any("lora" in name for name in merged), "an export has updates apart: %s" % list(merged))
    moved = [name for name in before if merged[name] != before[name]]
    check(len(moved) == 4 * 7, "moved by the updates: %s" % moved)
    trained = [record["loss_topk"] for record in space.metrics("updated") if record["kind"] == "validation" and record["final"]][0]
    check(abs(trained - measured["loss_topk"]) < 1e-5, "with updates apart the loss was %s, merged it is %s" % (trained, measured["loss_topk"]))
    # And it is a start for others.
    still = ("train.lr=1e-12", "train.weight_decay=0", "train.budget=5step")
    space.train("name=from-updated", "train.init_from=" + space.path("runs/updated"), "depth.gate=tanh", "model.kv_heads=1", *still)
    check(abs(final_loss(space, "from-updated") - final_loss(space, "updated")) < 1e-3, "another model goes on")

    flops = {name: [record["train_flops_total"] for record in space.metrics(name) if record["kind"] == "end"][0] for name in ("updated", "dense")}
    _, err = space.train("name=x", *keys[:2], "train.freeze=[blocks]", expect=2)
    check("one of the two" in err, err)
    check(flops["updated"] > 0, "%s" % flops)


def check_fewer_layers(space):
    """The chosen layers are those of the model; a model of all of them in their order is the model."""
    start = ("train.init_from=" + space.path("runs/dense"), *DENSE, "train.lr=1e-12", "train.weight_decay=0", "train.budget=5step")
    _, err = space.train("name=fewer", *start, "train.init_layers=[0, 3]", "model.layers=2")
    check("2 of 4 layers" in err, err)
    before, after = tensors(space.content("runs/dense/latest/model.safetensors")), tensors(space.content("runs/fewer/latest/model.safetensors"))
    down = "model.layers.%d.mlp.down_proj.weight"
    check(len(after[down % 1]) == len(before[down % 3]) and down % 2 not in after, "layers: %s" % list(after))
    space.train("name=same", *start, "train.init_layers=[0, 1, 2, 3]")
    check(abs(final_loss(space, "same") - final_loss(space, "dense")) < 1e-6, "all layers are another model")
    _, err = space.train("name=x", *start, "train.init_layers=[0, 4]", "model.layers=2", expect=2)
    check("names layer 4" in err and "0 to 3" in err, err)
    _, err = space.train("name=x", *start, "train.init_layers=[0, 1]", "model.layers=3", expect=2)
    check("model.layers is 3" in err, err)


def check_worth(space):
    """What analyze says of a model without a layer is the loss of the model without it."""
    found = json.loads(space.run("analyze", space.path("runs/dense"), "--layers", "block,attention,mlp", "--json")[0])
    check(abs(found["loss"] - final_loss(space, "dense")) < 1e-6, "%s" % found["loss"])
    start = ("train.init_from=" + space.path("runs/dense"), *DENSE, "train.lr=1e-12", "train.weight_decay=0", "train.budget=5step")
    space.train("name=without", *start, "train.init_layers=[0, 1, 3]", "model.layers=3")
    check(abs(found["without"]["block"]["loss"][2] - final_loss(space, "without")) < 1e-6, "%s" % found)
    for part in ("block", "attention", "mlp"):
        losses = found["without"][part]["loss"]
        check(found["without"][part]["least_missed_first"] == sorted(range(4), key=lambda layer: losses[layer]), "%s" % found)
    removed = json.loads(space.run("analyze", space.path("runs/dense"), "--layers", "block", "--remove", "2", "--json")[0])["without"]["block"]["removed"]
    first, second = removed[0]["layers"][0], removed[1]["layers"][1]
    check(first == found["without"]["block"]["least_missed_first"][0] and removed[0]["loss"] == found["without"]["block"]["loss"][first], "%s" % removed)
    left = [layer for layer in range(4) if layer not in (first, second)]
    space.train("name=without-two", *start, "train.init_layers=%s" % left, "model.layers=2")
    check(abs(removed[1]["loss"] - final_loss(space, "without-two")) < 1e-6, "%s" % removed)
    table, _ = space.run("analyze", space.path("runs/dense"), "--layers", "attention", "eval.final_tokens=256")
    check("without attention" in table and "attention, least missed first: " in table, table)
    _, err = space.run("analyze", space.path("runs/dense"), "--layers", "block", "--remove", "4", expect=2)
    check("of 4 layers 4 cannot be removed" in err, err)
    _, err = space.run("analyze", space.path("runs/updated"), "--layers", "block", expect=2)
    check("depth.kind: mod" in err, err)


def check_layers(space):
    """depth.layers names the layers that are routed."""
    space.train("name=named", "depth.layers=[0, 2, 3]")
    names = [name for name in tensors(space.content("runs/named/latest/model.safetensors")) if name.endswith("router.weight")]
    check(sorted(names) == ["model.layers.%d.router.weight" % layer for layer in (0, 2, 3)], "%s" % names)
    text, _ = space.run("generate", space.path("runs/named"), "-p", "the", "-n", "8", "-t", "0")
    check(text, "no text")


with Workspace() as space:
    space.train("name=dense", *DENSE)
    check_low_rank(space)
    check_fewer_layers(space)
    check_worth(space)
    check_layers(space)

print("ok")
