#!/usr/bin/env python3
"""An independent implementation of the dense and the routed model: PyTorch, fp64, written from docs/mixture_of_depths.md.

    model.py FILE...                   compare; exit 1 when a relative difference is above 1e-9
    model.py --reference OUT FILE...   write this script's losses and gradients to OUT, as `<stem of FILE>.loss`, `.grad.<name>`

A FILE is a safetensors file written by the C++ tests: the weights under their export names, `tokens` and `targets` [B, T], what is
to be checked (`loss`, and `grad.<name>` of every weight that has one), and the metadata `config`, a JSON object
{"model": {...}, "depth": {...}} with the keys of an experiment file.
"""

import json
import math
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file

TOLERANCE = 1e-9


def rms_norm(x, weight, eps):
    return x / torch.sqrt((x * x).mean(-1, keepdim=True) + eps) * weight


def rotate(x, position, theta):
    """Turns the pair (i, i + E/2) of every head [.., T, E] by position * theta^(-2i/E)."""
    half = x.shape[-1] // 2
    angle = position.double()[:, None] * theta ** (-torch.arange(half, dtype=torch.float64) / half)
    cos, sin = angle.cos(), angle.sin()
    return torch.cat([x[..., :half] * cos - x[..., half:] * sin, x[..., half:] * cos + x[..., :half] * sin], -1)


def block(x, position, weights, config):
    """One sequence x [T, D] whose tokens stand at `position` [T], ascending."""
    T, D = x.shape
    H, G, eps = config["heads"], config["kv_heads"], config["norm_eps"]
    E = D // H
    h = rms_norm(x, weights["input_layernorm.weight"], eps)

    def heads(name, count):
        return (h @ weights[f"self_attn.{name}_proj.weight"].T).view(T, count, E).transpose(0, 1)

    q, k, v = heads("q", H), heads("k", G), heads("v", G)
    if config["qk_norm"]:
        q, k = rms_norm(q, weights["self_attn.q_norm.weight"], eps), rms_norm(k, weights["self_attn.k_norm.weight"], eps)
    q, k = rotate(q, position, config["rope_theta"]), rotate(k, position, config["rope_theta"])
    k, v = k.repeat_interleave(H // G, 0), v.repeat_interleave(H // G, 0)
    scores = (q @ k.transpose(1, 2) / math.sqrt(E)).masked_fill(torch.ones(T, T).triu(1).bool(), -math.inf)
    x = x + (scores.softmax(-1) @ v).transpose(0, 1).reshape(T, D) @ weights["self_attn.o_proj.weight"].T

    h = rms_norm(x, weights["post_attention_layernorm.weight"], eps)
    up = h @ weights["mlp.up_proj.weight"].T
    up = F.silu(h @ weights["mlp.gate_proj.weight"].T) * up if config["mlp"] == "swiglu" else F.gelu(up, approximate="tanh")
    return x + up @ weights["mlp.down_proj.weight"].T


GATES = {
    "raw": lambda r: r,
    "sigmoid": torch.sigmoid,
    "sigmoid2": lambda r: 2 * torch.sigmoid(r),
    "tanh": lambda r: 1 + 0.2 * torch.tanh(r),
    "none": torch.ones_like,
}


def routed_block(x, weights, config, depth):
    """One sequence. Returns x' and the sum over its tokens of the losses of the causal decision (None where there is none)."""
    T = x.shape[0]
    K = max(1, math.floor(depth["capacity"] * T))
    r = x @ weights["router.weight"]
    index = torch.tensor(sorted(sorted(range(T), key=lambda t: (-r[t].item(), t))[:K]))  # the K best, ties to the lower position
    delta = block(x[index], index, weights, config) - x[index]
    output = x.index_add(0, index, GATES[depth["gate"]](r[index])[:, None] * delta)

    chosen = torch.zeros_like(r)
    chosen[index] = 1
    if depth["causal"] == "bce":
        logit = r
    elif depth["causal"] == "predictor":
        seen = rms_norm(x.detach(), 1.0, 1e-6)
        hidden = F.silu(seen @ weights["predictor.up.weight"].T + weights["predictor.up.bias"])
        logit = (hidden @ weights["predictor.down.weight"].T + weights["predictor.down.bias"])[:, 0]
    else:
        return output, None
    return output, -(chosen * F.logsigmoid(logit) + (1 - chosen) * F.logsigmoid(-logit)).sum()


def total_loss(weights, tokens, targets, model, depth):
    """Mean cross-entropy over the targets that are not -100, plus the weighted loss of the causal decision."""
    B, T = tokens.shape
    embedding = weights["model.embed_tokens.weight"]
    routed = [i for i in range(model["layers"])
              if depth["kind"] == "mod" and i >= depth["offset"] and (i - depth["offset"]) % depth["stride"] == 0]
    cross_entropy, decision = 0.0, 0.0
    for b in range(B):
        x = embedding[tokens[b]]
        for i in range(model["layers"]):
            prefix = f"model.layers.{i}."
            layer = {name[len(prefix):]: weight for name, weight in weights.items() if name.startswith(prefix)}
            if i in routed:
                x, loss = routed_block(x, layer, model, depth)
                decision = decision + (0.0 if loss is None else loss)
            else:
                x = block(x, torch.arange(T), layer, model)
        x = rms_norm(x, weights["model.norm.weight"], model["norm_eps"])
        logits = x @ weights.get("lm_head.weight", embedding).T
        kept = targets[b] >= 0
        cross_entropy = cross_entropy - logits.log_softmax(-1)[kept, targets[b][kept]].sum()
    loss = cross_entropy / (targets >= 0).sum()
    if routed:
        scale = depth["bce_weight"] if depth["causal"] == "bce" else 1.0
        loss = loss + scale * decision / (B * T * len(routed))
    return loss


def evaluate(path):
    """Loss and gradients by this script, and what the file says they are."""
    with safe_open(path, framework="pt") as file:
        config = json.loads(file.metadata()["config"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    tokens, targets = tensors.pop("tokens"), tensors.pop("targets")
    claimed = {name: tensors.pop(name) for name in list(tensors) if name == "loss" or name.startswith("grad.")}
    weights = {name: tensor.double().requires_grad_() for name, tensor in tensors.items() if tensor.is_floating_point()}
    loss = total_loss(weights, tokens, targets, config["model"], config["depth"])
    gradients = torch.autograd.grad(loss, list(weights.values()), allow_unused=True)  # unused: the running threshold
    computed = {"loss": loss.detach()} | {f"grad.{name}": g for name, g in zip(weights, gradients) if g is not None}
    return computed, claimed


def main():
    arguments = sys.argv[1:]
    out = None
    if arguments[:1] == ["--reference"]:
        out, arguments = arguments[1], arguments[2:]
    if not arguments:
        sys.exit(__doc__)
    reference, failed = {}, False
    for path in arguments:
        computed, claimed = evaluate(path)
        reference |= {f"{Path(path).stem}.{name}": tensor.contiguous() for name, tensor in computed.items()}
        if out:
            continue
        if computed.keys() != claimed.keys():
            sys.exit(f"{path}: not in both: {sorted(computed.keys() ^ claimed.keys())}")
        differences = {}
        for name, expected in computed.items():
            error = (claimed[name].double() - expected).abs().max()
            differences[name] = (error / expected.abs().max().clamp_min(1e-300)).item()
        worst = max(differences, key=lambda name: math.inf if math.isnan(differences[name]) else differences[name])
        failed |= not differences[worst] <= TOLERANCE
        print(f"{path}: loss {computed['loss'].item():.12f}, {len(differences) - 1} gradients, "
              f"largest relative difference {differences[worst]:.2e} ({worst}), allowed {TOLERANCE:.0e}")
    if out:
        save_file(reference, out)
        print(f"{out}: {len(reference)} tensors")
    sys.exit(failed)


if __name__ == "__main__":
    main()
