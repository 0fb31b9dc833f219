#!/usr/bin/env python3
"""A peer of `isobath bench decode`: a GGUF file in llama.cpp, by the package xllamacpp (an AVX2 build of llama.cpp).

`run N` (protocol.py) is answered with seconds_per_step, one token of one text, N in a row behind a prompt of random tokens; with load_s, the
seconds until a first token could be asked for; and with peak_memory_bytes of this process. Greedy; llama.cpp's own defaults for the cache (fp16)
and attention.
"""

import argparse
import json
import random
import time
import urllib.request

import xllamacpp
from protocol import serve


def peak_memory_bytes():
    """VmHWM: the most memory that the process has had resident, mapped files included."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model")
    for name, default in [("prompt", 128), ("vocab", 49152), ("threads", 2), ("context", 1024)]:
        parser.add_argument(f"--{name}", type=int, default=default)
    arguments = parser.parse_args()

    start = time.perf_counter()
    params = xllamacpp.CommonParams()
    params.model.path = arguments.model
    params.n_ctx, params.n_parallel, params.warmup, params.verbosity = arguments.context, 1, False, -1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = arguments.threads
    server = xllamacpp.Server(params)
    load_s = time.perf_counter() - start
    chance = random.Random(1)

    def run(steps):
        prompt = [chance.randrange(100, arguments.vocab) for _ in range(arguments.prompt)]
        data = {"prompt": prompt, "n_predict": steps + 1, "temperature": 0, "cache_prompt": False, "ignore_eos": True, "samplers": ["temperature"]}
        request = urllib.request.Request(server.listening_address + "/completion", json.dumps(data).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request) as answer:
            timings = json.load(answer)["timings"]
        if timings["predicted_n"] != steps + 1:
            raise SystemExit(f"llama.cpp made {timings['predicted_n']} tokens, not {steps + 1}")
        # The first of the new tokens comes from reading the prompt.
        return {"seconds_per_step": timings["predicted_ms"] / 1e3 / steps, "prompt_s": timings["prompt_ms"] / 1e3, "load_s": load_s,
                "peak_memory_bytes": peak_memory_bytes()}

    run(4)
    serve({"system": xllamacpp.get_system_info() if hasattr(xllamacpp, "get_system_info") else ""}, run)


if __name__ == "__main__":
    main()
