"""Hugging Face folders with code: what they hold, that their code is valid Python, and what is refused. Whether it computes the same as Isobath is
scripts/interop.sh's part. Standard library only."""

import json
import os
import subprocess
import sys

from common import Workspace, check

SHORT = ("train.budget=10step", "eval.every=10step")
MODELS = {
    "mod": ("depth.kind=mod",),
    "nested": ("depth.kind=nested", "depth.exits=[1,2]"),
    "expert": ("depth.kind=nested", "depth.exits=[1,2]", "depth.choice=expert"),
    "token": ("depth.kind=scaled", "depth.scale=token", "depth.mean_depth=2"),
    "gelu": ("depth.kind=dense", "model.mlp=gelu"),
}


def check_folder(space, name, *options):
    """Returns what is in config.json."""
    folder = space.path("hf-" + name)
    out, _ = space.run("export", space.path("runs", name), "-o", folder, "--format", "hf", *options)
    check("IsobathForCausalLM" in out and "read back" in out and "trust_remote_code=True" in out, out)
    config = json.loads(space.content(folder, "config.json"))
    check(config["model_type"] == "isobath" and config["architectures"] == ["IsobathForCausalLM"], "%s" % config)
    modules = {value.split(".")[0] + ".py" for value in config["auto_map"].values()}
    check(len(modules) == 2, "two modules: %s" % modules)
    check(set(os.listdir(folder)) == {"README.md", "config.json", "generation_config.json", "model.safetensors", "tokenizer.json",
                                      "tokenizer_config.json", *modules}, "%s" % os.listdir(folder))
    for module in modules:
        subprocess.run([sys.executable, "-m", "py_compile", os.path.join(folder, module)], check=True)
    for file in ("generation_config.json", "tokenizer.json", "tokenizer_config.json"):
        json.loads(space.content(folder, file))
    check("**Routing.**" in space.content(folder, "README.md").decode(), "the card says which routing")
    return config


def refused(space, run, *options, words):
    _, err = space.run("export", run, "-o", space.path("refused"), *options, expect=2)
    for word in words:
        check(word in err, "%s: '%s' is not in %s" % (options, word, err))
    check(not os.path.exists(space.path("refused")) and not os.path.exists(space.path("refused.tmp")), "left behind")


with Workspace() as space:
    configs = {}
    for model, keys in MODELS.items():
        space.train("name=" + model, *SHORT, *keys)
        configs[model] = check_folder(space, model)
    check(configs["mod"]["routed_layers"] == [1, 3] and configs["mod"]["capacities"] == [0.25, 0.25], "%s" % configs["mod"])
    check(configs["nested"]["exits"] == [1, 2] and configs["nested"]["decide_after"] == 1 and configs["nested"]["prefix_tokens"] == 8, "auto is a number")
    check(len(configs["expert"]["capacities"]) == 2 and configs["expert"]["causal"] == "predictor", "%s" % configs["expert"])
    check(configs["gelu"]["hidden_act"] == "gelu_pytorch_tanh" and configs["gelu"]["depth_kind"] == "dense", "%s" % configs["gelu"])
    check("causal" in space.content("hf-mod", "README.md").decode(), "the card of a routed model")
    out, _ = space.run("inspect", space.path("hf-mod"))
    check("model.layers.1.router.weight" in out, out)

    # Factors of layers: folded into a dense model, or with code as they are.
    space.train("name=scaled", *SHORT, "depth.kind=scaled", "depth.mean_depth=2")
    out, _ = space.run("export", space.path("runs/scaled"), "-o", space.path("folded"), "--format", "hf")
    check("LlamaForCausalLM" in out, out)
    check(check_folder(space, "scaled", "--code")["num_hidden_layers"] == 4, "not folded")

    space.train("name=random", *SHORT, "depth.kind=mod", "depth.router=random", "depth.causal=none")
    refused(space, space.path("runs/random"), "--format", "hf", words=["depth.router is random", "PyTorch cannot repeat"])
    refused(space, space.path("runs/mod"), "--format", "hf", "--fold", words=["not scaled"])
    refused(space, space.path("runs/mod"), "--code", words=["--format hf"])
print("ok")
