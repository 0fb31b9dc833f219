#!/usr/bin/env python3
"""The peer of `isobath bench decode`: a dense Llama of the same shapes, generated from by Hugging Face transformers.

`run N` (protocol.py) is answered with seconds_per_step: one token of every text, N in a row behind the prompts.

The model has random weights in fp32 and generates greedily with its key-value cache. What a step takes is the time of N + 1 new tokens
less that of one, so that reading the prompts does not count. Needs torch and transformers.
"""

import argparse
import resource
import time

import torch
import transformers
from protocol import serve


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name, default in [("layers", 8), ("width", 512), ("heads", 8), ("vocab", 8192), ("batch", 1), ("prompt", 64), ("threads", 2)]:
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--mlp-width", type=int, default=0, help="default: 8/3 of the width, rounded up to a multiple of 8")
    arguments = parser.parse_args()

    torch.set_num_threads(arguments.threads)
    torch.manual_seed(1)
    config = transformers.LlamaConfig(
        vocab_size=arguments.vocab, hidden_size=arguments.width, num_hidden_layers=arguments.layers,
        intermediate_size=arguments.mlp_width or -(-8 * arguments.width // 3 // 8) * 8, num_attention_heads=arguments.heads,
        num_key_value_heads=arguments.heads, max_position_embeddings=1 << 14, tie_word_embeddings=True,
        bos_token_id=None, eos_token_id=None, pad_token_id=0)
    model = transformers.LlamaForCausalLM(config).eval()
    prompts = torch.randint(1, arguments.vocab, (arguments.batch, arguments.prompt))
    mask = torch.ones_like(prompts)

    def seconds(new_tokens):
        start = time.perf_counter()
        model.generate(prompts, attention_mask=mask, do_sample=False, use_cache=True, max_new_tokens=new_tokens, min_new_tokens=new_tokens)
        return time.perf_counter() - start

    def run(steps):
        with_prompts = seconds(1)
        return {"seconds_per_step": (seconds(steps + 1) - with_prompts) / steps,
                "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}

    with torch.inference_mode():
        seconds(4)
        serve({"transformers": transformers.__version__, "torch": torch.__version__}, run)


if __name__ == "__main__":
    main()
