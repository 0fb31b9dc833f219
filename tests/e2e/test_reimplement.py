"""The code in docs/reimplement.md gives the causal loss of `isobath eval`, and docs/formats.md names every tensor of an export with its shape."""

import contextlib
import io
import json
import os
import re
import sys

from common import Workspace, check

try:
    import torch
    from safetensors import safe_open
except (ImportError, OSError) as error:  # OSError: torch lacks a library
    print("SKIPPED: this Python has no torch and safetensors (%s); the code in docs/reimplement.md was not run" % error)
    sys.exit(77)

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, os.pardir)
TOLERANCE = 1e-6  # relative; fp32 against fp64 differs by about 1e-7
WINDOWS, CONTEXT = 12, 64
MODELS = {
    "predictor-grouped": ("model.heads=4", "model.kv_heads=2", "model.qk_norm=true", "depth.gate=sigmoid", "depth.gate_alpha=1.5"),
    "predictor-gelu": ("depth.gate=raw", "model.mlp=gelu", "model.init_std=0.3", "model.tie_embeddings=false", "depth.capacity=[0.5, 0.25]"),
    "threshold": ("depth.causal=threshold", "depth.gate=tanh", "model.heads=4", "model.kv_heads=1", "model.rope_theta=500"),
    "bce": ("depth.causal=bce", "depth.gate=sigmoid2", "depth.router_input=normalised"),
}


def page(name):
    with open(os.path.join(ROOT, "docs", name), encoding="utf-8") as file:
        return file.read()


def write_texts(space):
    """Validation text that fills whole windows: three documents and their ends, every token but the first being a target."""
    with open(space.path("text", "0.txt"), "rb") as file:
        content = "Größe: ".encode() + file.read()
    size, cuts = WINDOWS * CONTEXT + 1 - 3, (0, 100, 333)
    paths = []
    for number, (begin, end) in enumerate(zip(cuts, cuts[1:] + (size,))):
        paths.append(space.path("valid-%d.txt" % number))
        with open(paths[-1], "wb") as file:
            file.write(content[begin:end])
    return paths


def reimplemented_loss(code, *arguments):
    """What the script prints, run as a reader would run it."""
    before, sys.argv = sys.argv, ["reimplement.py", *arguments]
    try:
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(code, {"__name__": "__main__"})
    finally:
        sys.argv = before
    return float(out.getvalue())


def documented_shapes():
    """Name pattern -> shape in letters, from the tables of docs/formats.md: a cell "[1]; with `channel` [D]" comes as two shapes."""
    shapes = {}
    for line in page("formats.md").splitlines():
        name = re.match(r"\| `(model\.[^`]+|lm_head[^`]+)` \| (\[[^]]*\]) \| ?(.*)\|$", line)
        if name:
            shapes[re.compile(re.escape(name[1]).replace("<i>", r"\d+") + "$")] = [name[2], *re.findall(r"(?<=` )\[[^]]*\]", name[3])]
    return shapes


def sizes(metadata):
    """What the letters of docs/formats.md stand for in this model."""
    def number(key, auto):
        return auto if metadata[key] in ("auto", "none") else int(metadata[key])

    D, H = int(metadata["model.width"]), int(metadata["model.heads"])
    return {"D": D, "H": H, "G": number("model.kv_heads", H), "E": D // H, "F": int(metadata["model.mlp_width"]), "T": int(metadata["model.context"]),
            "V": int(metadata["vocab_size"]), "W": number("depth.router_width", max(8, D // 4)), "P": int(metadata["depth.predictor_width"]),
            "S": number("depth.skip_rank", max(1, D // 16)), "n": 1 + len(re.findall(r"\d+", metadata["depth.exits"]))}


def check_names(path, shapes):
    """Every tensor of the export stands in a table of docs/formats.md, with that shape."""
    with safe_open(path, framework="pt") as file:
        letters = sizes(file.metadata())
        for name in file.keys():
            documented = [shape for pattern, several in shapes.items() if pattern.match(name) for shape in several]
            values = [[eval(size.replace("·", "*"), dict(letters)) for size in shape.strip("[]").split(",")] for shape in documented]
            check(list(file.get_slice(name).get_shape()) in values, "%s has shape %s, docs/formats.md says %s" % (
                name, file.get_slice(name).get_shape(), documented or "nothing"))


def check_model(space, name, keys, code, shapes):
    texts = write_texts(space)
    space.train("name=" + name, *keys, "train.budget=16step", "train.lr=0.01", "eval.every=100%", "checkpoint.every=100%", "eval.tokens=64",
                "eval.final_tokens=64", "eval.calibration_tokens=2Ki", "eval.sample_tokens=off")
    run, export = space.path("runs", name), space.path(name + ".safetensors")
    out, _ = space.run("eval", "--json", run, "data.valid_sources=[%s]" % ",".join(texts), "eval.final_tokens=all", "eval.calibration_tokens=off")
    result = json.loads(out)
    check(result["eval_tokens"] == WINDOWS * CONTEXT, "%s: %s targets" % (name, result["eval_tokens"]))
    check(all(0.1 < share < 0.9 for share in result["capacity_causal"]), "%s decides nothing: %s" % (name, result["capacity_causal"]))
    space.run("export", run, "-o", export)
    check_names(export, shapes)
    with safe_open(export, framework="pt") as file:
        cuts = [file.get_tensor(each).item() for each in file.keys() if each.endswith("router.cut")]
    check(len(cuts) == 2 and all(cuts), "%s is not calibrated: %s" % (name, cuts))
    loss = reimplemented_loss(code, export, *texts)
    far = abs(loss / result["loss_causal"] - 1)
    print("%-18s loss_causal %.9f, docs/reimplement.md %.9f, relative difference %.1e" % (name, result["loss_causal"], loss, far))
    check(far <= TOLERANCE, "%s: docs/reimplement.md gives %.9f, eval %.9f" % (name, loss, result["loss_causal"]))


torch.set_num_threads(1)
blocks = re.findall(r"^```python\n(.*?)^```$", page("reimplement.md"), re.MULTILINE | re.DOTALL)
check(len(blocks) == 1, "docs/reimplement.md has %d blocks of Python" % len(blocks))
with Workspace() as space:
    for name, keys in MODELS.items():
        check_model(space, name, keys, compile(blocks[0], "docs/reimplement.md", "exec"), documented_shapes())
print("ok")
