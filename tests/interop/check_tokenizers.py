"""Tokenizers from elsewhere in Isobath against the package `tokenizers`:  check_tokenizers.py PROGRAM FOLDER [MODEL.gguf ...]

Trains tokenizers with the package, has `isobath tokenizer encode` read them, and compares the ids of more than 10,000 strings. With a GGUF file
of a byte-level BPE whose pre-tokenizer is smollm, that too. FOLDER is made; of a FOLDER that prepare.py has filled, the exports are read as well."""

import json
import os
import random
import subprocess
import sys

try:
    import tokenizers
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
except ImportError as error:
    print("SKIPPED: this Python has no package tokenizers (%s)" % error)
    sys.exit(77)

PROGRAM, FOLDER = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, os.pardir))
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
# Patterns of its own, as newer files have them one after another.
OTHERS = (r"\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+",
          r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
MARK = "\u2581"
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<s>", "</s>"]
TORTURE = SPECIAL + [
    "a<|endoftext|>b", " <|im_start|> user\n", "<|im_start|><|im_end|>", "<|endoftext|", "|endoftext|>", "<|ENDOFTEXT|>", "<<s>>", "<s> a </s> b", "[extra]",
    "x[extra]y", " [left] ", "  [left]a", "[right]  a", "\u3000[left]\u2003[right]\u00a0\n", "[left][right]", "caf\u00e9", "cafe\u0301", "\u00e9[nfc\u00e9]",
    " ", "  ", "   a", "a ", " a", "\n", "\n\n\n", " \n ", "\n \n", "\t", "\r\n", "a\tb", "\0", "a\0b", "\x7f", "\u0085", "a\u0085b", "\u00a0", "\u180e",
    "a\u180eb", "\u200b", "\u200d", "\ufeff", "\u2028", "\u3000", "e\u0301", "\u1e9b\u0323", "\u0344", "\u2126", "\uac00\u11a8", "ﬁ", "Ａ", "ß", "İ", "it's", "IT'S",
    "we'LL", "'\u017f", "x'\u017f y'\u212a", "don't 'tis 'RE'VE'M'D", "1234567890", "1 22 333 4444", "٣٤٥", "½Ⅷ²", "１２３", "한국어", "日本語テキスト", "مرحبا",
    "हिन्दी", "👩\u200d👩\u200d👧\u200d👦", "🏳️\u200d🌈", "\U0010ffff", "\ufffd", MARK, "a" + MARK + "b", MARK * 3 + " a", "a" * 3000, " " * 500 + "x", " " * 500, "=" * 777,
    "\n" * 301, "ab" * 700, "the " * 300, "x_1->y[2]", "\"'`", "<0x41>", "<0x0A>", "<unk>", "e\u0301" * 50]


def strings():
    chance, texts = random.Random(5), list(TORTURE)
    for folder in ("docs", "src"):
        for at, _, names in sorted(os.walk(os.path.join(ROOT, folder))):
            for name in sorted(names):
                if name.endswith((".md", ".cpp")):
                    with open(os.path.join(at, name), encoding="utf-8") as file:
                        texts += file.read().split("\n")[:60]
    ranges = [(0x20, 0x7E), (0x00, 0x7F), (0xA0, 0x24F), (0x300, 0x52F), (0x900, 0xDFF), (0x2000, 0x206F), (0x2150, 0x2BFF), (0x3040, 0x30FF), (0x4E00, 0x9FFF),
              (0xAC00, 0xD7A3), (0x1F300, 0x1F6FF), (0xE000, 0xFFFD), (0x10000, 0x10FFFF)]
    for _ in range(5000):
        low, high = chance.choice(ranges)
        texts.append("".join(chr(chance.randint(low, high)) for _ in range(chance.randint(1, 40))))
    fragments = SPECIAL + [" ", "  ", "\n", "\t", "\u00a0", "a", "the", " The", "'s", "'LL", "e\u0301", "é", "日", "🙂", "0", "12", "٣", "_", "-", "[left]", "[right]", "[extra]", MARK]
    for _ in range(5000):
        texts.append("".join(chance.choice(fragments) for _ in range(chance.randint(1, 30))))
    # Every character between two letters, so that a class of characters that the two see differently is found.
    texts += ["".join("a%s1 " % chr(c) for c in range(begin, begin + 64)) for begin in range(0, 0x30000, 64) if not 0xD800 <= begin < 0xE000]
    return list(dict.fromkeys(text for text in texts if text))


def corpus():
    with open(os.path.join(FOLDER, "corpus.txt"), "w", encoding="utf-8") as out:
        for at, _, names in sorted(os.walk(os.path.join(ROOT, "docs"))):
            for name in sorted(names):
                if name.endswith(".md"):
                    with open(os.path.join(at, name), encoding="utf-8") as file:
                        out.write(file.read())
        out.write("it's we'll IT'S 12 345 6789 café naïve 日本語 한국어 привет мир مرحبا\n" * 30)
    return os.path.join(FOLDER, "corpus.txt")


def isolated(pattern):
    return pre_tokenizers.Split(Regex(pattern), "isolated")


def byte_level(steps, normalizer=None, ignore_merges=False, alphabet=True):
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    tokenizer.pre_tokenizer = steps[0] if len(steps) == 1 else pre_tokenizers.Sequence(steps)
    tokenizer.decoder = decoders.ByteLevel()
    if normalizer:
        tokenizer.normalizer = normalizer
    trainer = trainers.BpeTrainer(vocab_size=900, special_tokens=SPECIAL, show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet() if alphabet else [])
    tokenizer.train([corpus()], trainer)
    tokenizer.add_tokens([AddedToken("[extra]", normalized=True), AddedToken("[left]", lstrip=True, normalized=False), AddedToken("[right]", rstrip=True, normalized=False),
                          AddedToken("[nfc\u00e9]", normalized=True)])
    return tokenizer


def marked(normalizer, pre_tokenizer):
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    if normalizer:
        tokenizer.normalizer = normalizer
    if pre_tokenizer:
        tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.Sequence([decoders.Replace(MARK, " "), decoders.ByteFallback(), decoders.Fuse()])
    special = ["<unk>", "<s>", "</s>"] + ["<0x%02X>" % byte for byte in range(256)]
    # Pieces end where words do, as sentencepiece's do; the training's way to cut is then replaced by the real one.
    trained = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    trained.pre_tokenizer = pre_tokenizers.Metaspace()
    trained.train([corpus()], trainers.BpeTrainer(vocab_size=900, special_tokens=special, show_progress=False, limit_alphabet=150, initial_alphabet=[MARK]))
    model = json.loads(trained.to_str())["model"]
    made = json.loads(tokenizer.to_str())
    made["model"].update(vocab=model["vocab"], merges=model["merges"])
    made["added_tokens"] = [{"id": i, "content": name, "single_word": False, "lstrip": False, "rstrip": False, "normalized": name == "</s>", "special": True}
                            for i, name in enumerate(special[:3])]
    return Tokenizer.from_str(json.dumps(made))


def own_tokenizers():
    plain = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    gpt2 = pre_tokenizers.ByteLevel(add_prefix_space=False)
    prepend = normalizers.Sequence([normalizers.Prepend(MARK), normalizers.Replace(" ", MARK)])
    yield "GPT-2", byte_level([gpt2])
    yield "GPT-2, prefix space", byte_level([pre_tokenizers.ByteLevel(add_prefix_space=True)])
    yield "Llama 3", byte_level([isolated(LLAMA3), plain], ignore_merges=True)
    yield "Qwen 2", byte_level([isolated(QWEN2), plain], normalizers.NFC())
    yield "SmolLM", byte_level([pre_tokenizers.Digits(individual_digits=True), gpt2], alphabet=False)
    yield "runs of digits", byte_level([pre_tokenizers.Digits(individual_digits=False), gpt2])
    yield "three patterns", byte_level([isolated(pattern) for pattern in OTHERS] + [plain])
    yield "Llama 2", marked(prepend, None)
    for scheme in ("first", "always", "never"):
        yield "Metaspace, " + scheme, marked(None, pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False))
    yield "Metaspace, split", marked(None, pre_tokenizers.Metaspace(split=True))


def of_gguf(path):
    """The tokenizer of a GGUF file as the package has it: every digit alone, then GPT-2's pattern."""
    try:
        import gguf
    except ImportError as error:
        print("SKIPPED: %s: this Python has no package gguf (%s)" % (path, error))
        return None
    fields = gguf.GGUFReader(path).fields
    tokens, merges, types, pre = (fields["tokenizer.ggml." + key].contents() for key in ("tokens", "merges", "token_type", "pre"))
    if pre != "smollm":
        sys.exit("%s: its pre-tokenizer is %s, smollm is checked" % (path, pre))
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, [tuple(merge.split(" ")) for merge in merges]))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.add_special_tokens([token for token, kind in zip(tokens, types) if kind == 3])
    return tokenizer


def compare(name, path, tokenizer, texts):
    lines = "".join(json.dumps(text) + "\n" for text in texts)
    result = subprocess.run([PROGRAM, "tokenizer", "encode", path], input=lines, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if result.returncode != 0:
        sys.exit("FAILED: %s: %s" % (name, result.stderr))
    ids, wrong = [json.loads(line) for line in result.stdout.splitlines()], 0
    wanted = [encoding.ids for encoding in tokenizer.encode_batch(texts, add_special_tokens=False)]
    for text, found, right in zip(texts, ids, wanted):
        if found != right:
            wrong += 1
            if wrong <= 3:
                print("%s: ids of %r are\n  %s, the package has\n  %s" % (name, text[:200], found[:60], right[:60]))
    if wrong or len(ids) != len(texts):
        sys.exit("FAILED: %s: %d of %d texts have other ids" % (name, wrong, len(texts)))
    print("%s: %d texts with the same %d ids" % (name, len(texts), sum(map(len, ids))), flush=True)


def main():
    os.makedirs(FOLDER, exist_ok=True)
    texts = strings()
    print("tokenizers %s" % tokenizers.__version__)
    for name, tokenizer in own_tokenizers():
        here = os.path.join(FOLDER, "tokenizer-" + "".join(c for c in name if c.isalnum()))
        os.makedirs(here, exist_ok=True)
        tokenizer.save(os.path.join(here, "tokenizer.json"))
        with open(os.path.join(here, "tokenizer_config.json"), "w", encoding="utf-8") as file:
            json.dump({"eos_token": "</s>"}, file)
        compare(name, here, tokenizer, texts)
    for name in sorted(os.listdir(FOLDER)):
        exported = os.path.join(FOLDER, name, "hf.v1.0")
        if os.path.exists(os.path.join(exported, "tokenizer.json")):
            tokenizer = Tokenizer.from_file(os.path.join(exported, "tokenizer.json"))
            tokenizer.encode_special_tokens = True  # as tokenizer_config.json says: split_special_tokens
            compare("our export " + name, exported, tokenizer, texts)
    for path in filter(os.path.exists, sys.argv[3:]):
        tokenizer = of_gguf(path)
        if tokenizer:
            compare(os.path.basename(path), path, tokenizer, texts)


if __name__ == "__main__":
    main()
