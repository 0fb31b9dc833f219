"""A real model that others trained, SmolLM2-135M-Instruct, exported by Isobath, in llama.cpp:  check_smollm2_llama_cpp.py PROGRAM MODEL.gguf

The export must hold the dequantised weights bit for bit and the tokenizer of the file; llama.cpp must give the same ids, the same greedy text
and the same log-probabilities of the ten likeliest tokens, with keys and values cached in F32."""

import json
import os
import subprocess
import sys
import tempfile

try:
    import gguf
    import numpy
    from llama_server import TIE, Llama, worst_of_top
except ImportError as error:
    print("SKIPPED: this Python has no gguf, numpy and xllamacpp (%s)" % error)
    sys.exit(77)

PROGRAM, FILE = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
# SmolLM2's residual stream reaches 22,000, which magnifies what fp32 rounds: against the same arithmetic in fp64, llama.cpp's log-probabilities of
# one text were off by up to 1.7e-4, Isobath's by 2.1e-5.
TOLERANCE, NEW_TOKENS, CONTEXT = 5e-4, 200, 512
PROMPTS = ["The capital of France is", "Once upon a time, in a village by the sea,", "def fibonacci(n):\n", "Water boils at 100 degrees because",
           "<|im_start|>user\nWhy is the sky blue?<|im_end|>\n<|im_start|>assistant\n", "1, 2, 4, 8, 16,"]
# Of the metadata these say how a text becomes ids.
TOKENIZER_KEYS = ["tokenizer.ggml." + key for key in ("model", "pre", "tokens", "token_type", "merges", "bos_token_id", "eos_token_id", "add_bos_token",
                                                      "add_space_prefix")] + ["tokenizer.chat_template"]


def check(condition, message):
    if not condition:
        print("FAILED:", message)
        sys.exit(1)


def isobath(*arguments, stdin=""):
    result = subprocess.run([PROGRAM, *arguments], input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    check(result.returncode == 0, "%s ended with %d: %s" % (arguments, result.returncode, result.stderr))
    return result.stdout


def encode(path, texts):
    lines = isobath("tokenizer", "encode", path, stdin="".join(json.dumps(text) + "\n" for text in texts)).splitlines()
    return [json.loads(line) for line in lines]


def check_files(wide, blocks):
    """The exported files against the one they come from."""
    source, made = gguf.GGUFReader(FILE), gguf.GGUFReader(wide)
    for key in TOKENIZER_KEYS:
        check(source.fields[key].contents() == made.fields[key].contents(), "%s is another" % key)
    wanted = {tensor.name: gguf.dequantize(tensor.data, tensor.tensor_type) for tensor in source.tensors}
    check(sorted(wanted) == sorted(tensor.name for tensor in made.tensors), "other tensors")
    for tensor in made.tensors:
        values = wanted[tensor.name].astype(numpy.float32)
        check(tensor.tensor_type.name == "F32" and numpy.array_equal(values.view(numpy.uint32).ravel(), tensor.data.view(numpy.uint32).ravel()),
              "%s is not the dequantised one, bit for bit" % tensor.name)
    for tensor in gguf.GGUFReader(blocks).tensors:
        values = wanted[tensor.name]
        check(tensor.tensor_type.name == ("F32" if values.ndim == 1 else "Q8_0"), "%s is %s" % (tensor.name, tensor.tensor_type.name))
        check(numpy.array_equal(gguf.quantize(values.astype(numpy.float32), tensor.tensor_type).view(numpy.uint8).ravel(), tensor.data.view(numpy.uint8).ravel()),
              "%s as Q8_0 has other bytes" % tensor.name)
    print("%d tensors bit-identical to the dequantised ones, as Q8_0 the bytes of the package gguf; the same tokenizer" % len(wanted), flush=True)
    return source.fields["tokenizer.ggml.tokens"].contents()


def bytes_without_token(tokens):
    """Bytes that the vocabulary has no token for. GPT-2 writes printable Latin-1 as itself, other bytes as characters from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    names = {byte: chr(byte) for byte in printable}
    names.update({byte: chr(0x100 + i) for i, byte in enumerate(byte for byte in range(256) if byte not in names)})
    known = set(tokens)
    return {byte for byte in range(256) if names[byte] not in known}


def check_ids(llama, path, texts, missing):
    of_file, of_export = encode(FILE, texts), encode(path, texts)
    check(of_file == of_export and len(of_export) == len(texts), "the export read back gives other ids than the file it comes from")
    same = beside = 0
    for text, ours in zip(texts, of_export):
        found = llama.ids(text, special=True)
        if found == ours:
            same += 1
        else:
            check(missing & set(text.encode()), "ids of %r are\n  %s in llama.cpp, Isobath has\n  %s" % (text, found, ours))
            beside += 1
    print("%d texts with the same ids; %d with others, all of them beside a byte without a token" % (same, beside), flush=True)
    check(same > 10000, "too few texts")


def check_text(llama, path, folder):
    prompts, one, records = (os.path.join(folder, name) for name in ("prompts.jsonl", "one.jsonl", "records.jsonl"))
    with open(prompts, "w", encoding="utf-8") as file:
        file.writelines(json.dumps({"prompt": prompt}) + "\n" for prompt in PROMPTS)
    answers = [json.loads(line) for line in isobath("generate", path, "-f", prompts, "-n", str(NEW_TOKENS), "-t", "0").splitlines()]
    tokens = ties = places = 0
    worst = 0.0
    for prompt, answer in zip(PROMPTS, answers):
        with open(one, "w", encoding="utf-8") as file:
            file.write(json.dumps({"text": prompt + answer["text"]}) + "\n")
        isobath("eval", path, "--text", one, "--per-token", records, "--top", "10", "model.context=%d" % CONTEXT)
        with open(records, encoding="utf-8") as file:
            records_of_text = [json.loads(line) for line in file]
        first = 1 + len(encode(path, [prompt])[0])  # one token stands before the text
        ours = records_of_text[first:]
        steps = llama.go_on(prompt, NEW_TOKENS, special=True)["completion_probabilities"]
        of_top, compared = worst_of_top(llama, records_of_text, first)
        worst, places = max(worst, of_top), places + compared
        for place, (step, record) in enumerate(zip(steps, ours)):
            if step["id"] != record["id"]:  # allowed only where two tokens are as good as equal
                best = [candidate["logprob"] for candidate in step["top_logprobs"]]
                check(best[0] - best[1] < TIE, "behind %r the token at place %d is %d, Isobath has %d" % (prompt, place, step["id"], record["id"]))
                ties += 1
                break
            tokens += 1
        else:  # llama.cpp may have given the document's end as well
            check(len(ours) <= len(steps) <= len(ours) + 1, "behind %r are %d tokens, in Isobath %d" % (prompt, len(steps), len(ours)))
    check(worst < TOLERANCE, "log-probabilities of the ten likeliest tokens differ by %.1e" % worst)
    check(places > 300, "only %d places were compared" % places)
    print("greedy text of %d prompts equal, %d tokens, %d ties; log-probabilities of the ten likeliest at %d places within %.1e"
          % (len(PROMPTS), tokens, ties, places, worst), flush=True)


def main():
    sys.argv[1:] = [PROGRAM, tempfile.gettempdir()]  # prepare.py reads its arguments when it is imported
    from prepare import strings
    fragments = ["<|endoftext|>", "<|im_start|>user\nHi<|im_end|>\n", "a<|im_end|>b", "<repo_name>x", "<|im_start|", "<file_sep><file_sep>", "it's IT'S 12 345"]
    with tempfile.TemporaryDirectory() as folder:
        wide, blocks = (os.path.join(folder, name) for name in ("f32.gguf", "q8_0.gguf"))
        isobath("export", FILE, "-o", wide, "--format", "gguf")
        isobath("export", FILE, "-o", blocks, "--format", "gguf", "--dtype", "q8_0")
        tokens = check_files(wide, blocks)
        llama = Llama(wide)
        check_ids(llama, wide, fragments + strings(), bytes_without_token(tokens))
        check_text(llama, wide, folder)
        text = Llama(blocks).go_on(PROMPTS[0], 8)["content"]
        check("Paris" in text, "as Q8_0 %r goes on as %r" % (PROMPTS[0], text))


if __name__ == "__main__":
    main()
