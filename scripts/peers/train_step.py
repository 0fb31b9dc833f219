#!/usr/bin/env python3
"""The peer of `isobath bench`: the same dense language model, trained by PyTorch, eager or compiled.

`run N` (protocol.py) is answered with seconds_per_step, loss (the last one) and peak_memory_bytes (since the warm-up).

A step is what Isobath's is: forward, mean cross-entropy, backward (for every micro-batch), clipping by global norm, fused AdamW. The
model is written as an experienced user would for speed: fused qkv and gate-up projections, F.rms_norm, scaled_dot_product_attention.
--precision bf16 is torch.autocast over fp32 parameters; --compile is torch.compile of forward and loss. The device is waited for
before and after the N steps, not between them.
"""

import argparse
import json
import math
import resource
import sys
import time

import torch
import torch.nn.functional as F
from protocol import serve
from torch import nn


class Block(nn.Module):
    def __init__(self, width, heads, hidden):
        super().__init__()
        self.heads = heads
        self.norm1 = nn.Parameter(torch.ones(width))
        self.norm2 = nn.Parameter(torch.ones(width))
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.gate_up = nn.Linear(width, 2 * hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x, cos, sin):
        batch, time_, width = x.shape
        q, k, v = self.qkv(F.rms_norm(x, (width,), self.norm1, 1e-5)).view(batch, time_, 3 * self.heads, -1).transpose(1, 2).chunk(3, 1)
        attended = F.scaled_dot_product_attention(rotate(q, cos, sin), rotate(k, cos, sin), v, is_causal=True)
        x = x + self.out(attended.transpose(1, 2).reshape(batch, time_, width))
        gate, up = self.gate_up(F.rms_norm(x, (width,), self.norm2, 1e-5)).chunk(2, -1)
        return x + self.down(F.silu(gate) * up)


def rotate(x, cos, sin):
    a, b = x.chunk(2, -1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)


class Model(nn.Module):
    def __init__(self, layers, width, heads, hidden, vocab, context):
        super().__init__()
        self.embedding = nn.Embedding(vocab, width)
        self.blocks = nn.ModuleList(Block(width, heads, hidden) for _ in range(layers))
        self.norm = nn.Parameter(torch.ones(width))
        half = width // heads // 2
        angle = torch.outer(torch.arange(context), 10000.0 ** (-torch.arange(half) / half))
        self.register_buffer("cos", angle.cos())
        self.register_buffer("sin", angle.sin())
        for parameter in self.parameters():
            if parameter.dim() == 2:
                nn.init.normal_(parameter, std=0.5 / math.sqrt(width))

    def forward(self, tokens, targets):
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        logits = F.linear(F.rms_norm(x, (x.shape[-1],), self.norm, 1e-5), self.embedding.weight)  # tied
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def count_flops(model, tokens, targets):
    """FLOPs by PyTorch's own counter, per operator: of the forward pass, and of forward and backward together."""
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    def by_operator(counter):
        return {str(op): flops for op, flops in counter.get_flop_counts()["Global"].items()}

    # The math backend writes attention as matrix products, which the counter knows. It counts all pairs, not only the causal half.
    with sdpa_kernel(SDPBackend.MATH):
        with FlopCounterMode(display=False) as forward:
            model(tokens, targets)
        with FlopCounterMode(display=False) as both:
            model(tokens, targets).backward()
    return {"forward": by_operator(forward), "forward_backward": by_operator(both)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name, default in [("layers", 4), ("width", 128), ("heads", 4), ("vocab", 512), ("context", 256), ("batch", 16), ("threads", 2)]:
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--micro-batch", type=int, default=0, help="sequences computed at once; divides --batch (default: all of them)")
    parser.add_argument("--mlp-width", type=int, default=0, help="default: 8/3 of the width, rounded up to a multiple of 8")
    parser.add_argument("--clip", type=float, default=1.0, help="0: none")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--compile", action="store_true", help="torch.compile; takes a minute before the first step")
    parser.add_argument("--flops", action="store_true", help="print FLOPs by operator as JSON and end")
    arguments = parser.parse_args()
    micro_batch = arguments.micro_batch or arguments.batch
    if arguments.batch % micro_batch:
        sys.exit(f"--micro-batch {micro_batch} does not divide --batch {arguments.batch}")
    if arguments.device == "cuda" and not torch.cuda.is_available():
        sys.exit("--device cuda: this PyTorch sees no GPU")

    torch.set_num_threads(arguments.threads)
    torch.manual_seed(1)
    hidden = arguments.mlp_width or -(-8 * arguments.width // 3 // 8) * 8
    model = Model(arguments.layers, arguments.width, arguments.heads, hidden, arguments.vocab, arguments.context)
    stream = torch.randint(arguments.vocab, (arguments.batch, arguments.context + 1))
    tokens, targets = (part.contiguous().to(arguments.device) for part in (stream[:, :-1], stream[:, 1:]))
    model.to(arguments.device)
    if arguments.flops:
        print(json.dumps(count_flops(model, tokens, targets)), flush=True)
        return

    matrices = [p for p in model.parameters() if p.dim() == 2]
    vectors = [p for p in model.parameters() if p.dim() < 2]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}], lr=1e-3, betas=(0.9, 0.95), fused=True)

    bf16 = arguments.precision == "bf16"
    if bf16:  # otherwise the rotary embedding would convert queries and keys to fp32
        model.cos, model.sin = model.cos.bfloat16(), model.sin.bfloat16()
    mean_loss = torch.compile(model) if arguments.compile else model
    batches = list(zip(tokens.split(micro_batch), targets.split(micro_batch)))

    def step():
        total = 0
        for micro_tokens, micro_targets in batches:
            with torch.autocast(arguments.device, torch.bfloat16, enabled=bf16):
                loss = mean_loss(micro_tokens, micro_targets) / len(batches)
            loss.backward()
            total += loss.detach()
        if arguments.clip > 0:
            nn.utils.clip_grad_norm_(model.parameters(), arguments.clip)
        optimizer.step()
        optimizer.zero_grad()
        return total

    def synchronize():
        if arguments.device == "cuda":
            torch.cuda.synchronize()

    def peak_memory_bytes():
        if arguments.device == "cuda":
            return torch.cuda.max_memory_allocated()
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    # Warm-up: compilation, allocations and first-use set-up are not measured.
    for _ in range(3 if arguments.compile or arguments.device == "cuda" else 1):
        step()
    synchronize()
    if arguments.device == "cuda":
        torch.cuda.reset_peak_memory_stats()

    def run(steps):
        synchronize()
        start = time.perf_counter()
        for _ in range(steps):
            loss = step()
        synchronize()
        seconds = (time.perf_counter() - start) / steps
        return {"seconds_per_step": seconds, "loss": loss.item(), "peak_memory_bytes": peak_memory_bytes()}

    serve({"parameters": sum(p.numel() for p in model.parameters()), "mlp_width": hidden}, run)


if __name__ == "__main__":
    main()
