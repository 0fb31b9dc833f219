#!/usr/bin/env python3
"""The peer of `isobath bench train` for updates of low rank (train.lora): a dense Llama of SmolLM2-135M's shapes in Hugging Face transformers with peft.

`run N` (protocol.py) is answered with seconds_per_step, loss (the last one) and peak_memory_bytes.

A step is what configs/convert-one.yaml's is, without routing: forward, mean cross-entropy, backward, clipping by global norm, AdamW; trained are the
updates beside all matrices of the blocks, and the norms. Weights and tokens are random. Needs torch, transformers and peft.
"""

import argparse
import resource
import time

import peft
import torch
import transformers
from protocol import serve


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name, default in [("layers", 30), ("width", 576), ("heads", 9), ("kv-heads", 3), ("mlp-width", 1536), ("vocab", 49152), ("rank", 16),
                          ("context", 512), ("batch", 1), ("threads", 2)]:
        parser.add_argument(f"--{name}", type=int, default=default)
    arguments = parser.parse_args()

    torch.set_num_threads(arguments.threads)
    torch.manual_seed(1)
    dense = transformers.LlamaForCausalLM(transformers.LlamaConfig(
        vocab_size=arguments.vocab, hidden_size=arguments.width, num_hidden_layers=arguments.layers, intermediate_size=arguments.mlp_width,
        num_attention_heads=arguments.heads, num_key_value_heads=arguments.kv_heads, max_position_embeddings=8192, tie_word_embeddings=True))
    model = peft.get_peft_model(dense, peft.LoraConfig(r=arguments.rank, lora_alpha=arguments.rank, lora_dropout=0.0, target_modules="all-linear"))
    for name, parameter in model.named_parameters():
        if "norm" in name:
            parameter.requires_grad_(True)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-3, weight_decay=0.0, fused=True)
    tokens = torch.randint(arguments.vocab, (arguments.batch, arguments.context))

    def step():
        loss = model(input_ids=tokens, labels=tokens).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    def run(steps):
        start = time.perf_counter()
        for _ in range(steps):
            loss = step()
        return {"seconds_per_step": (time.perf_counter() - start) / steps, "loss": loss,
                "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}

    step()
    serve({"transformers": transformers.__version__, "peft": peft.__version__, "torch": torch.__version__,
           "trained": sum(parameter.numel() for parameter in trained)}, run)


if __name__ == "__main__":
    main()
