#!/usr/bin/env python3
"""SmolLM2-135M in llama.cpp (F32 and Q8_0) beside Isobath (F32): decoding speed, memory and load time, as a table.

    scripts/bench_llama_cpp.py [--model FILE.gguf] [--repeats 15] [--json]

Fetches the model (scripts/get_smollm2.sh) unless one is named, exports it, and measures all three in turns in one run of `isobath bench decode`:
the same prompt length, the same number of new tokens, one text, the same number of threads. The package xllamacpp is installed once into
$ISOBATH_INTEROP, by default ~/.cache/isobath/interop, as scripts/interop.sh does.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import venv

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PACKAGE = "xllamacpp==2026.10.11549"


def output(*command):
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if result.returncode != 0:
        sys.exit("%s ended with %d" % (" ".join(command), result.returncode))
    return result.stdout


def python_with_llama_cpp():
    """The Python of scripts/interop.sh's environment, or of one with the package alone."""
    cache = os.environ.get("ISOBATH_INTEROP") or os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "isobath", "interop")
    for name in ("llama.cpp", "llama.cpp-alone"):
        python = os.path.join(cache, name, "bin", "python")
        if os.path.exists(python) and subprocess.run([python, "-c", "import xllamacpp"], stderr=subprocess.DEVNULL).returncode == 0:
            return python
    print("installing %s into %s" % (PACKAGE, os.path.dirname(os.path.dirname(python))), file=sys.stderr)
    venv.create(os.path.dirname(os.path.dirname(python)), with_pip=True)
    output(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", PACKAGE)
    return python


def rows(found):
    """(name, tokens a second, step in ms, ratio of speeds to the first, load in s, memory in MB), one a program."""
    steps = [arm["step_time_s"] for arm in found["arms"]]
    for arm, own in zip(found["arms"], steps):
        ratio = statistics.median(first / mine for first, mine in zip(steps[0], own))
        load, memory = arm.get("load_s", found.get("load_s")), arm.get("peak_memory_bytes", found["peak_memory_bytes_warm"])
        yield arm["name"], 1 / statistics.median(own), 1e3 * statistics.median(own), ratio, load, memory / 1e6


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=os.path.join(ROOT, "build", "isobath"))
    parser.add_argument("--model", help="a GGUF file of a byte-level Llama (default: SmolLM2-135M-Instruct, fetched)")
    parser.add_argument("--python", help="a Python that has xllamacpp (default: an environment of its own)")
    for name, default in [("prompt", 128), ("steps", 64), ("threads", 2), ("repeats", 15)]:
        parser.add_argument("--" + name, type=int, default=default)
    parser.add_argument("--json", action="store_true", help="print what `isobath bench decode --json` says")
    arguments = parser.parse_args()
    model = arguments.model or output(os.path.join(ROOT, "scripts", "get_smollm2.sh")).strip()
    python = arguments.python or python_with_llama_cpp()

    with tempfile.TemporaryDirectory() as folder:
        files = {dtype: os.path.join(folder, "smollm2-%s.gguf" % dtype) for dtype in ("f32", "q8_0")}
        for dtype, path in files.items():
            output(arguments.program, "export", model, "-o", path, "--format", "gguf", "--dtype", dtype)
        peers = []
        for dtype, path in files.items():
            peers += ["--peer", "llama.cpp-%s=%s %s %s --prompt %d --threads %d"
                      % (dtype.upper(), python, os.path.join(ROOT, "scripts", "peers", "llama_cpp.py"), path, arguments.prompt, arguments.threads)]
        found = json.loads(output(arguments.program, "bench", "decode", files["f32"], "--prompt", str(arguments.prompt), "--steps", str(arguments.steps),
                                  "--repeats", str(arguments.repeats), "--json", *peers, "model.context=1024", "train.threads=%d" % arguments.threads))
    found["arms"][0]["name"] = "Isobath F32"
    if arguments.json:
        print(json.dumps(found, indent=2))
        return
    print("%s; %d threads each; prompts of %d tokens, then %d one by one; one text; medians of %d rounds in turns"
          % (found["environment"]["cpu"], arguments.threads, arguments.prompt, arguments.steps, arguments.repeats))
    print("Isobath %s; llama.cpp by the package %s, which is built for AVX2 (no AVX-512, whatever the CPU has)\n" % (found["environment"]["build"], PACKAGE))
    print("%-16s %10s %11s %18s %8s %11s" % ("", "tokens/s", "ms/token", "speed/Isobath's", "load", "peak memory"))
    for name, speed, step, ratio, load, memory in rows(found):
        print("%-16s %10.1f %11.2f %17.2fx %6.2f s %8.0f MB" % (name, speed, step, ratio, load, memory))
    print("\nload: from opening the file until a first token can be asked for, tokenizer included, the file in the system's cache"
          "\npeak memory: the most that the process had resident until it had decoded, mapped files included"
          "\nllama.cpp has its own defaults: keys and values in fp16, flash attention where it thinks best. Isobath has them in fp32")


if __name__ == "__main__":
    main()
