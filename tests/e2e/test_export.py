"""Exports for other programs: what a Hugging Face folder and a GGUF file hold, and what is refused with which words. Whether transformers and
llama.cpp compute the same from them is scripts/interop.sh's part."""

import json
import os
import shutil
import struct

from common import Workspace, check


def refused(space, run, *options, words, code=2):
    before = sorted(os.listdir(space.folder))
    _, err = space.run("export", run, "-o", space.path("refused"), *options, expect=code)
    for word in words:
        check(word in err, "%s: '%s' is not in %s" % (options, word, err))
    check(sorted(os.listdir(space.folder)) == before, "left behind: %s" % os.listdir(space.folder))


def load(space, *parts):
    return json.loads(space.content(*parts))


def check_folder(space, run):
    out, _ = space.run("export", run, "-o", space.path("hf/"), "--format", "hf")
    check("LlamaForCausalLM" in out and "read back" in out, out)
    check(sorted(os.listdir(space.path("hf"))) == ["README.md", "config.json", "generation_config.json", "model.safetensors", "tokenizer.json",
                                                   "tokenizer_config.json"], "%s" % os.listdir(space.path("hf")))
    config = load(space, "hf", "config.json")
    for key, value in {"model_type": "llama", "hidden_size": 32, "num_hidden_layers": 4, "num_key_value_heads": 2, "head_dim": 16, "vocab_size": 257,
                       "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
                       "bos_token_id": None, "eos_token_id": 256, "tie_word_embeddings": True, "torch_dtype": "float32", "dtype": "float32"}.items():
        check(config[key] == value, "%s: %s" % (key, config[key]))
    check(b'"rope_theta": 10000.0' in space.content("hf", "config.json"), "floats look like floats")
    check(load(space, "hf", "generation_config.json")["eos_token_id"] == 256, "generation_config.json")
    card = space.content("hf", "README.md").decode()
    final = [r for r in space.metrics("dense") if r["kind"] == "validation" and r["final"]][0]
    for words in ("4 layers of width 32", "%.4f nats" % final["loss_topk"], "name=dense", "--format hf", space.path("text"), "**Routing.**", "Licence",
                  load(space, "runs", "dense", "latest", "state.json")["data_key"]):
        check(words in card, "'%s' is not in the card:\n%s" % (words, card))
    out, _ = space.run("inspect", space.path("hf"))
    check("model_type" in out and "model.norm.weight  F32 [32]" in out and "in 1 file" in out, out)
    refused(space, run, "--format", "hf", "--dtype", "f64", words=["f64", "f32, bf16, f16"])
    refused(space, run, "--format", "hf", "--shard-size", "much", words=["--shard-size 'much'", "5G"])
    _, err = space.run("export", run, "-o", space.path("hf"), "--format", "hf", expect=2)
    check("exists" in err and "-o '" in err, err)

    # A checkpoint away from its run: the card says that it does not know the losses.
    os.rename(os.path.realpath(space.path("runs/dense/latest")), space.path("alone"))
    space.run("export", space.path("alone"), "-o", space.path("parts"), "--format", "hf", "--dtype", "bf16", "--shard-size", "20K")
    check("not beside the checkpoint" in space.content("parts", "README.md").decode(), "card of a lone checkpoint")
    index = load(space, "parts", "model.safetensors.index.json")
    files = sorted(set(index["weight_map"].values()))
    check(len(files) > 1 and all(os.path.exists(space.path("parts", file)) for file in files), "%s" % files)
    out, _ = space.run("inspect", space.path("parts"))
    check("in %d files" % len(files) in out and "model.norm.weight  BF16 [32]" in out, out)
    os.remove(space.path("parts", files[0]))
    space.run("inspect", space.path("parts"), expect=4)


def check_gguf(space, run):
    for dtype, number in (("f32", 0), ("f16", 1), ("bf16", 32), ("q8_0", 7)):
        path = space.path(dtype + ".gguf")
        out, _ = space.run("export", run, "-o", path, "--format", "gguf", "--dtype", dtype)
        check("architecture llama" in out and "read back" in out, out)
        out, _ = space.run("inspect", path)
        for words in ("general.architecture = llama", "general.file_type = %d" % number, "llama.rope.freq_base = 10000.0", "= [257 values]",
                      "tokenizer.ggml.add_space_prefix = false", "tokenizer.ggml.add_bos_token = false", "blk.3.ffn_norm.weight  F32 [32]",
                      "token_embd.weight  %s [257, 32]" % dtype.upper(), "blk.0.attn_q.weight  %s [32, 32]" % dtype.upper()):
            check(words in out, "'%s' is not in %s" % (words, out))
    content = space.content("f32.gguf")
    check(content[:4] == b"GGUF" and struct.unpack("<I", content[4:8]) == (3,) and len(content) % 32 == 0, "%s" % content[:8])
    with open(space.path("cut.gguf"), "wb") as file:
        file.write(content[:-100])
    _, err = space.run("inspect", space.path("cut.gguf"), expect=4)
    check("cut short" in err, err)


def check_imported_tokenizer(space, folder):
    """The exported folder's tokenizer in a run of its own."""
    strings = ["the cat", "\u00e9 </s>\n", ""]
    out, _ = space.run("tokenizer", "encode", folder, stdin=space.lines(json.dumps(text) for text in strings))
    check([json.loads(line) for line in out.splitlines()] == [list(text.encode()) for text in strings], out)
    _, err = space.run("tokenizer", "encode", folder, stdin=space.lines(["no JSON"]), expect=3)
    check("line 1" in err, err)
    space.train("name=imported", "train.budget=5step", "eval.every=5step", "depth.kind=dense", "tokenizer.kind=" + folder)
    run = space.path("runs/imported")
    out, _ = space.run("inspect", run + "/latest/tokenizer.model")
    check("hf-bpe" in out and "257 (document end: 256)" in out, out)
    shutil.rmtree(folder)  # the checkpoint carries it
    space.run("generate", run, "--prompt", "the cat", "-n", "4", "--threads", "1")
    space.run("eval", run, "--text", space.path("text", "1.txt"), "train.threads=1")
    space.run("export", run, "-o", space.path("again"), "--format", "hf")
    check(load(space, "again", "tokenizer_config.json")["split_special_tokens"] is True, "tokenizer_config.json")
    check(load(space, "again", "tokenizer.json")["model"]["vocab"]["A"] == ord("A"), "tokenizer.json")
    refused(space, run, "--format", "gguf", words=["no pattern", "llama-bpe", "--format hf"])  # the byte tokenizer cuts no words
    check_named_tokenizer(space)


def byte_level_folder(space, name):
    """A tokenizer.json as GPT-2's: bytes have the ids 0 to 255, "th" 256, <|end|> 257; a chat template."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = iter(range(0x100, 0x200))
    vocab = {chr(byte if byte in printable else next(others)): byte for byte in range(256)}
    vocab["th"] = 256
    end = {"id": 257, "content": "<|end|>", "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    os.makedirs(space.path(name))
    with open(space.path(name, "tokenizer.json"), "w", encoding="utf-8") as file:
        json.dump({"added_tokens": [end], "normalizer": None, "pre_tokenizer": byte_level, "decoder": byte_level,
                   "model": {"type": "BPE", "vocab": vocab, "merges": ["t h"]}}, file)
    with open(space.path(name, "tokenizer_config.json"), "w", encoding="utf-8") as file:
        json.dump({"eos_token": "<|end|>", "bos_token": "<|end|>", "chat_template": "{{ messages }}"}, file)
    return space.path(name)


def check_named_tokenizer(space):
    """A byte-level tokenizer whose patterns llama.cpp has a name for goes into the GGUF file, and comes back with the same ids."""
    folder = byte_level_folder(space, "named")
    space.train("name=named", "train.budget=5step", "eval.every=5step", "depth.kind=dense", "tokenizer.kind=" + folder)
    run, path = space.path("runs/named"), space.path("named.gguf")
    space.run("export", run, "-o", path, "--format", "gguf")
    out, _ = space.run("inspect", path)
    for words in ("tokenizer.ggml.model = gpt2", "tokenizer.ggml.pre = gpt-2", "tokenizer.ggml.eos_token_id = 257", "tokenizer.ggml.add_bos_token = false",
                  "tokenizer.chat_template = {{ messages }}", "its tokenizer: read, 258 ids"):
        check(words in out, "'%s' is not in %s" % (words, out))
    texts = [json.dumps(text) for text in ("the <|end|> cat", "a\tb 12\u00e9", "  th\n")]
    ids = [space.run("tokenizer", "encode", at, stdin=space.lines(texts))[0] for at in (folder, path)]
    check(ids[0] == ids[1] and "256" in ids[0] and "257" in ids[0], "%s" % ids)
    again = space.path("named-again.gguf")
    space.run("export", path, "-o", again, "--format", "gguf")
    # Apart from the name of the model the second file is the first.
    check(space.content("named.gguf")[-1000:] == space.content("named-again.gguf")[-1000:], "a GGUF file out of a GGUF file has other weights")
    check(space.run("tokenizer", "encode", again, stdin=space.lines(texts))[0] == ids[0], "a GGUF file out of a GGUF file gives other ids")


def main():
    with Workspace() as space:
        short = ("train.budget=5step", "eval.every=5step", "depth.kind=dense")
        run = space.path("runs/dense")
        space.train("name=dense", *short)
        check_gguf(space, run)
        check_folder(space, run)
        check_imported_tokenizer(space, space.path("hf"))

        space.train("name=norm", *short, "model.qk_norm=true", "model.tie_embeddings=false")
        out, _ = space.run("export", space.path("runs/norm"), "-o", space.path("norm"), "--format", "hf")
        check("Qwen3ForCausalLM" in out and load(space, "norm", "config.json")["model_type"] == "qwen3", out)
        out, _ = space.run("export", space.path("runs/norm"), "-o", space.path("norm.gguf"), "--format", "gguf")
        check("architecture qwen3" in out, out)

        space.train("name=gelu", *short, "model.mlp=gelu")
        space.train("name=routed", "train.budget=5step")
        space.train("name=token", "train.budget=30step", "depth.kind=scaled", "depth.scale=token", "depth.mean_depth=2")
        refused(space, space.path("runs/gelu"), "--format", "gguf", words=["model.mlp is gelu", "--format hf"])
        refused(space, space.path("runs/routed"), "--format", "gguf", words=["depth.kind is mod", "gguf", "--format hf", "safetensors"])
        refused(space, space.path("runs/token"), "--format", "gguf", words=["token to token"])
        refused(space, space.path("runs/routed"), "--format", "onnx", words=["onnx"])

        # Learned factors are folded into the weights.
        space.train("name=scaled", "depth.kind=scaled", "depth.mean_depth=2", "train.budget=30step")
        space.run("export", space.path("runs/scaled"), "-o", space.path("scaled"), "--format", "hf")
        check(load(space, "scaled", "config.json")["num_hidden_layers"] == 2, "layers that are left")
        check("trained as 4 layers" in space.content("scaled", "README.md").decode(), "card of a folded model")
    print("exports hold what they should")


if __name__ == "__main__":
    main()
