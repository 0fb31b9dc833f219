"""Trains small models, exports them, and writes down what Isobath itself makes of texts:  prepare.py PROGRAM FOLDER

The checks of other programs (check_*.py FOLDER) compare with that. Standard library only; an own sentencepiece model is added where the
package `sentencepiece` is there to train it."""

import json
import os
import random
import subprocess
import sys

PROGRAM, FOLDER = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, os.pardir))
CONFIG = """\
run_dir: {folder}/runs
data: {{sources: ["{root}/docs", "{root}/src"], cache_dir: "{folder}/cache", valid_fraction: 0.1}}
tokenizer: {{kind: bpe, vocab_size: 700}}
model: {{layers: 3, width: 64, heads: 4, context: 128}}
train: {{budget: 80step, batch_tokens: 1Ki, lr: 6e-3, threads: 1}}
eval: {{every: 40step, tokens: 2Ki, final_tokens: 4Ki}}
"""
MODELS = {
    "dense": (),
    "grouped": ("model.kv_heads=2", "model.tie_embeddings=false", "model.rope_theta=500", "model.norm_eps=1e-6", "model.mlp_width=160"),
    "qk_norm": ("model.qk_norm=true", "model.kv_heads=2", "model.layers=2"),
    "bytes": ("tokenizer.kind=byte", "model.layers=2"),
    "folded": ("depth.kind=scaled", "depth.mean_depth=2", "model.layers=4"),
    "own": ("tokenizer.kind=" + FOLDER + "/own.model", "model.layers=2"),
}
PROMPTS = ["namespace ", "The ", "for (int64_t i = 0;", "| key | meaning |", "é", "# Data", "    return ", "0.5"]
TORTURE = ["</s>", "<s>", "<unk>", "<0x41>", "<0x00>", "a</s>b", " <unk> ", " ", "  ", "   a", "a ", " a", "\n", "\n\n\n", "\t", "\r\n", "a\tb",
           "\0", "a\0b", "\x7f", "\u0085", "\u00a0", "\u200b", "\u200d", "\ufeff", "\ufeffa", "\u2028", "\u3000", "e\u0301", "\u00e9", "ﬁ", "Ａ", "ß",
           "İ", "한국어", "日本語テキスト", "مرحبا", "हिन्दी", "👩‍👩‍👧‍👦", "🏳️‍🌈", "\U0010ffff", "\ufffd", "\u2585", "⁇", "a" * 3000, " " * 500, "=" * 777,
           "\n" * 301, "ab" * 700, "the " * 300, "1234567890" * 20, "x_1->y[2]", "&lt;&amp;", "\"'`", "\\n\\t", "[CLS] [SEP] <pad>", "<|endoftext|>"]


def run(*arguments):
    return run_with_input("", *arguments)


def run_with_input(text, *arguments):
    result = subprocess.run([PROGRAM, *arguments], input=text, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if result.returncode != 0:
        sys.exit("%s ended with %s:\n%s%s" % (arguments, result.returncode, result.stdout, result.stderr))
    return result.stdout


def strings():
    """Distinct texts that are not empty and have no U+2581, which other programs take for a space."""
    chance, texts = random.Random(7), list(TORTURE)
    for folder, _, names in sorted(os.walk(os.path.join(ROOT, "docs"))):
        for name in sorted(names):
            if name.endswith(".md"):
                with open(os.path.join(folder, name), encoding="utf-8") as file:
                    texts += file.read().split("\n")
    ranges = [(0x20, 0x7E), (0x00, 0x7F), (0xA0, 0x24F), (0x370, 0x4FF), (0x2010, 0x206F), (0x2580, 0x25FF), (0x3040, 0x30FF), (0x4E00, 0x9FFF),
              (0x1F300, 0x1F6FF), (0xE000, 0xFFFD), (0x10000, 0x10FFFF)]
    for _ in range(6000):
        low, high = chance.choice(ranges)
        texts.append("".join(chr(chance.randint(low, high)) for _ in range(chance.randint(1, 40))))
    fragments = ["</s>", "<s", "/s>", "<0x", "41>", " ", "  ", "\n", "a", "the", "int64_t", "::", "==", "é", "日", "🙂", "<unk>", "0", "00", "_"]
    for _ in range(4000):
        texts.append("".join(chance.choice(fragments) for _ in range(chance.randint(1, 30))))
    for _ in range(3000):  # runs of one character, which can be cut in many ways
        texts.append("".join(chance.choice("aest =-\n0_(./") * chance.randint(1, 12) for _ in range(chance.randint(1, 10))))
    return list(dict.fromkeys(text for text in texts if text and "\u2581" not in text))


def train_own_model():
    try:
        import sentencepiece
    except ImportError:
        print("SKIPPED: an own sentencepiece model: this Python has no package sentencepiece")
        return False
    with open(os.path.join(FOLDER, "own.txt"), "w", encoding="utf-8") as out:
        for folder, _, names in sorted(os.walk(os.path.join(ROOT, "docs"))):
            for name in sorted(names):
                if name.endswith(".md"):
                    with open(os.path.join(folder, name), encoding="utf-8") as file:
                        out.write(file.read() + "cats> dogs> hens> eels> cows> ants> </i> </ b\n" * 20)  # pieces "</" and "s>": "</s>" must stay two
    sentencepiece.SentencePieceTrainer.train(
        input=os.path.join(FOLDER, "own.txt"), model_prefix=os.path.join(FOLDER, "own"), model_type="bpe", vocab_size=900, byte_fallback=True,
        add_dummy_prefix=False, remove_extra_whitespaces=False, normalization_rule_name="identity", split_by_whitespace=False,
        split_by_unicode_script=False, allow_whitespace_only_pieces=True, minloglevel=2)
    return True


def records(run_folder, text_file, *more):
    path = os.path.join(FOLDER, "tokens.jsonl")
    run("eval", run_folder, "--text", text_file, "--per-token", path, "train.threads=1", *more)
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def likeliest(run_folder, prompt, continuation):
    """The ten likeliest tokens in the place of each token of a text that begins with the prompt, and the first place behind the prompt."""
    path = os.path.join(FOLDER, "one.jsonl")
    with open(path, "w", encoding="utf-8") as file:
        file.write(json.dumps({"text": prompt + continuation}) + "\n")
    length = len(json.loads(run_with_input(json.dumps(prompt) + "\n", "tokenizer", "encode", os.path.join(run_folder, "latest", "tokenizer.model"))))
    found = [{key: record.get(key) for key in ("id", "top_ids", "top_log_probabilities")} for record in records(run_folder, path, "--top", "10")]
    return {"records": found, "first": 1 + length}  # one token stands before the text


def outcomes(run_folder, texts):
    """What Isobath says: ids of each text, ids and losses of a long one, greedy continuations."""
    strings_file, long_file, prompts_file = (os.path.join(FOLDER, name) for name in ("strings.jsonl", "long.txt", "prompts.jsonl"))
    with open(strings_file, "w", encoding="utf-8") as file:
        file.writelines(json.dumps({"text": text}) + "\n" for text in texts)
    with open(os.path.join(ROOT, "docs", "data.md"), encoding="utf-8") as source, open(long_file, "w", encoding="utf-8") as file:
        file.write(source.read())
    with open(prompts_file, "w", encoding="utf-8") as file:
        file.writelines(json.dumps({"prompt": prompt}) + "\n" for prompt in PROMPTS)
    ids = {}
    for record in records(run_folder, strings_file):
        ids.setdefault(record["document"], []).append(record["id"])
    if sorted(ids) != list(range(len(texts))):
        sys.exit("eval scored %d documents of %d" % (len(ids), len(texts)))
    long = records(run_folder, long_file)
    lines = run("generate", run_folder, "-f", prompts_file, "-n", "64", "-t", "0", "--threads", "1").splitlines()
    answers = [json.loads(line) for line in lines]
    return {"strings": texts, "ids": [ids[i][1:] for i in range(len(texts))],  # the first one stands before the text
            "document_end": long[0]["id"], "long_ids": [record["id"] for record in long], "long_losses": [record["loss_causal"] for record in long],
            "prompts": PROMPTS, "continuations": [answer["text"] for answer in answers],
            "log_probabilities": [answer["log_probabilities"] for answer in answers],
            "likeliest": [likeliest(run_folder, prompt, answer["text"]) for prompt, answer in zip(PROMPTS, answers)]}


def main():
    os.makedirs(FOLDER, exist_ok=True)
    config = os.path.join(FOLDER, "config.yaml")
    with open(config, "w") as file:
        file.write(CONFIG.format(folder=FOLDER, root=ROOT))
    names = [name for name in MODELS if name != "own" or train_own_model()]
    texts = strings()
    for name in names:
        here, run_folder = os.path.join(FOLDER, name), os.path.join(FOLDER, "runs", name)
        os.makedirs(here)
        run("train", config, "name=" + name, *MODELS[name])
        run("export", run_folder, "-o", os.path.join(here, "hf.v1.0"), "--format", "hf", "--shard-size", "60K" if name == "grouped" else "5G")
        for dtype in ("bf16", "f16"):
            run("export", run_folder, "-o", os.path.join(here, "hf-" + dtype), "--format", "hf", "--dtype", dtype)
        for dtype in ("f32", "f16", "bf16", "q8_0"):
            run("export", run_folder, "-o", os.path.join(here, dtype + ".gguf"), "--format", "gguf", "--dtype", dtype)
        with open(os.path.join(here, "isobath.json"), "w") as file:
            json.dump(outcomes(run_folder, texts), file)
        print("%s: trained, exported, %d texts encoded" % (name, len(texts)), flush=True)


if __name__ == "__main__":
    main()
