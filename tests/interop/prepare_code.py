"""Trains small models that transformers has no class for, exports them as folders with code, and writes down what Isobath itself makes of texts:

    prepare_code.py PROGRAM FOLDER [NAME...]

check_code.py FOLDER compares with that. Standard library only."""

import json
import os
import sys

from prepare import FOLDER, PROMPTS, ROOT, run  # beside this file; it reads the same two arguments

CONFIG = """\
run_dir: {folder}/runs
data: {{sources: ["{root}/docs", "{root}/src"], cache_dir: "{folder}/cache", valid_fraction: 0.1}}
tokenizer: {{kind: bpe, vocab_size: 700}}
model: {{layers: 4, width: 64, heads: 4, context: 128}}
train: {{budget: 80step, batch_tokens: 1Ki, lr: 6e-3, threads: 1}}
eval: {{every: 40step, tokens: 2Ki, final_tokens: 4Ki, calibration_tokens: 4Ki}}
checkpoint: {{every: 40step, keep: 2}}
"""
MOD = ("depth.kind=mod", "depth.capacity=0.25")
BALANCED = ("depth.balance=bias", "depth.balance_weight=0.1")  # so that the branches are used after so few steps
TOKEN = ("depth.kind=nested", "depth.exits=[1,2]")
EXPERT = ("depth.kind=nested", "depth.exits=[1,2]", "depth.mean_depth=2.5", "depth.choice=expert")
SCALED = ("depth.kind=scaled", "depth.mean_depth=2")
MODELS = {
    "dense_gelu": ("model.mlp=gelu",),
    "dense": ("model.kv_heads=2", "model.qk_norm=true"),
    "mod_predictor": (*MOD, "depth.gate=sigmoid"),
    "mod_bce": (*MOD, "depth.causal=bce", "depth.gate=sigmoid2", "depth.router_input=normalised"),
    "mod_threshold": (*MOD, "depth.causal=threshold", "depth.gate=tanh", "model.kv_heads=2", "model.rope_theta=500"),
    "mod_threshold_training": (*MOD, "depth.causal=threshold", "depth.threshold_training=true"),
    "mod_none": (*MOD, "depth.causal=none", "depth.gate=sigmoid", "depth.gate_alpha=1.5", "depth.capacity=[0.5,0.1]"),
    "mod_gate_none": (*MOD, "depth.causal=bce", "depth.gate=none"),
    "mod_mlp": (*MOD, "depth.router=mlp", "depth.skip_path=low_rank"),
    "mod_mlp_normalised": (*MOD, "depth.router=mlp", "depth.router_input=normalised", "depth.skip_path=linear", "depth.router_width=24"),
    "mod_keep": (*MOD, "depth.skipped_kv=keep", "depth.offset=0", "depth.stride=1", "model.mlp=gelu", "model.tie_embeddings=false"),
    "mod_attention": (*MOD, "depth.target=attention", "depth.offset=0", "model.qk_norm=true"),
    "mod_attention_keep": (*MOD, "depth.target=attention", "depth.skipped_kv=keep", "depth.skip_path=low_rank"),
    "mod_of_mlp": (*MOD, "depth.target=mlp", "depth.causal=threshold"),
    "mod_cosine": (*MOD, "depth.router=cosine"),
    "mod_norm": (*MOD, "depth.router=norm", "depth.causal=threshold", "depth.gate=tanh"),
    "mod_position": (*MOD, "depth.router=position"),
    "mod_token": (*MOD, "depth.router=token", "depth.causal=threshold"),
    "mod_everything": ("depth.kind=mod", "depth.capacity=[1,0.25]"),  # the first routed layer runs every token
    "nested_token": (*TOKEN, *BALANCED),
    "nested_token_keep": (*TOKEN, "depth.skipped_kv=keep", "depth.router=mlp", "depth.gate_training=hindsight", "depth.exit_norms=true",
                          "depth.mean_depth=2.5", "train.budget=200step"),
    "nested_recursion": ("depth.kind=nested", "depth.exits=[1,2,3]", "depth.recursion=true", "depth.gate_training=gumbel", *BALANCED),
    "nested_sequence": (*TOKEN, *BALANCED, "depth.choice=sequence", "depth.prefix=5", "depth.router=mlp"),
    "nested_sequence_keep": ("depth.kind=nested", "depth.exits=[2,3]", *BALANCED, "depth.choice=sequence", "depth.prefix=9", "depth.skipped_kv=keep",
                             "depth.decide_after=1", "depth.exit_norms=true"),
    "nested_expert": EXPERT,
    "nested_expert_keep": ("depth.kind=nested", "depth.exits=[1,2,3]", "depth.choice=expert", "depth.causal=threshold", "depth.skipped_kv=keep",
                           "depth.recursion=true", "depth.exit_norms=true", "depth.gate=sigmoid"),
    "scaled_layer": SCALED,
    "scaled_channel": (*SCALED, "depth.scale=channel"),
    "scaled_token": (*SCALED, "depth.scale=token"),
    "scaled_token_keep": ("depth.kind=scaled", "depth.skip_below=0.88", "depth.scale=token", "depth.skipped_kv=keep"),
    "scaled_soft": (*SCALED, "depth.scale=channel", "depth.harden_after=90%"),  # its checkpoint from before that
}


def outcomes(checkpoint):
    """What Isobath says of a long text, token by token, and how it goes on from prompts."""
    text, prompts, tokens = (os.path.join(FOLDER, name) for name in ("long.txt", "prompts.jsonl", "tokens.jsonl"))
    with open(os.path.join(ROOT, "docs", "data.md"), encoding="utf-8") as source, open(text, "w", encoding="utf-8") as file:
        file.write(source.read())
    with open(prompts, "w", encoding="utf-8") as file:
        file.writelines(json.dumps({"prompt": prompt}) + "\n" for prompt in PROMPTS)
    run("eval", checkpoint, "--text", text, "--per-token", tokens, "train.threads=1")
    with open(tokens, encoding="utf-8") as file:
        records = [json.loads(line) for line in file]
    lines = run("generate", checkpoint, "-f", prompts, "-n", "64", "-t", "0", "--threads", "1").splitlines()
    return {"records": records, "prompts": PROMPTS, "continuations": [json.loads(line)["text"] for line in lines]}


def main():
    os.makedirs(FOLDER, exist_ok=True)
    config = os.path.join(FOLDER, "config.yaml")
    with open(config, "w") as file:
        file.write(CONFIG.format(folder=FOLDER, root=ROOT))
    for name in sys.argv[3:] or MODELS:
        here, checkpoint = os.path.join(FOLDER, name), os.path.join(FOLDER, "runs", name)
        os.makedirs(here)
        run("train", config, "name=" + name, *MODELS[name])
        if name == "scaled_soft":
            checkpoint = os.path.join(checkpoint, "checkpoints", "step-00000040")
        run("export", checkpoint, "-o", os.path.join(here, "hf.v1.0"), "--format", "hf", "--code")
        run("export", checkpoint, "-o", os.path.join(here, "hf-bf16"), "--format", "hf", "--code", "--dtype", "bf16")
        with open(os.path.join(here, "isobath.json"), "w") as file:
            json.dump(outcomes(checkpoint), file)
        print("%s: trained, exported" % name, flush=True)


if __name__ == "__main__":
    main()
