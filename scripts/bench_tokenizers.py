#!/usr/bin/env python3
"""How fast Isobath encodes a text with several tokenizers, beside the package `tokenizers` where that is installed.

  scripts/bench_tokenizers.py TEXT TOKENIZER ...      each a tokenizer.model, a tokenizer.json or a .gguf file
  scripts/bench_tokenizers.py --train 1024 TEXT ...   a sentencepiece BPE of this many pieces, trained on the text, as well

Every tokenizer encodes the text in turn, three times; medians of MB/s over all cores of this process."""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def run_isobath(program, text, command, *more):
    config = os.path.join(ROOT, "configs", "tiny.yaml")
    said = subprocess.run([program, *command, config, "data.max_bytes=all", "data.sources=[%s]" % json.dumps(text), *more], capture_output=True, text=True)
    if said.returncode != 0:
        sys.exit(said.stderr.strip())
    return said.stderr


def isobath_speed(program, text, tokenizer, folder):
    """MB/s of `data prepare`, into a fresh cache."""
    with tempfile.TemporaryDirectory(dir=folder) as cache:
        said = run_isobath(program, text, ["data", "prepare"], "tokenizer.kind=" + tokenizer, "data.cache_dir=" + cache)
    found = re.search(r"encoded .* \(([\d.]+) MB/s\)", said)
    return float(found.group(1))


def package_speed(text, tokenizer):
    """MB/s of the package with its own threads, on pieces of 10,000 lines; None for files that it cannot read."""
    try:
        from tokenizers import Tokenizer
        loaded = Tokenizer.from_file(tokenizer)
    except Exception:  # the package raises a plain Exception for such files
        return None
    with open(text, encoding="utf-8", errors="replace") as file:
        lines = file.read().splitlines(keepends=True)
    pieces = ["".join(lines[at:at + 10000]) for at in range(0, len(lines), 10000)]
    began = time.monotonic()
    loaded.encode_batch(pieces, add_special_tokens=False)
    return os.path.getsize(text) / 1e6 / (time.monotonic() - began)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", help="a plain text file of at least some megabytes")
    parser.add_argument("tokenizers", nargs="*")
    parser.add_argument("--train", type=int, metavar="PIECES")
    parser.add_argument("--program", default=os.path.join(ROOT, "build", "isobath"))
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        chosen = list(arguments.tokenizers)
        if arguments.train:
            own = os.path.join(folder, "own.model")
            run_isobath(arguments.program, arguments.text, ["tokenizer", "train"], "tokenizer.kind=bpe", "tokenizer.vocab_size=%d" % arguments.train, "--output=" + own)
            chosen.insert(0, own)
        if not chosen:
            parser.error("name a tokenizer, or --train PIECES")
        speeds = {(program, tokenizer): [] for tokenizer in chosen for program in ("isobath", "tokenizers")}
        for _ in range(arguments.rounds):
            for tokenizer in chosen:
                speeds["isobath", tokenizer].append(isobath_speed(arguments.program, arguments.text, tokenizer, folder))
                speed = package_speed(arguments.text, tokenizer)
                if speed is not None:
                    speeds["tokenizers", tokenizer].append(speed)
        print("%-50s %10s %12s   MB/s, medians of %d" % ("", "isobath", "tokenizers", arguments.rounds))
        for tokenizer in chosen:
            own, package = speeds["isobath", tokenizer], speeds["tokenizers", tokenizer]
            print("%-50s %10.1f %12s" % (tokenizer[-50:], statistics.median(own), "%.1f" % statistics.median(package) if package else "-"))


if __name__ == "__main__":
    main()
