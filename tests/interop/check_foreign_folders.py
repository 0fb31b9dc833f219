"""Folders that transformers itself has written, read by Isobath:  check_foreign_folders.py PROGRAM

Makes small models of Llama's kind with random weights, saves them with save_pretrained, and compares: the ids of a text and the loss of each token in
`isobath eval FOLDER --text`, greedy text of `isobath generate FOLDER`, and what comes out of `isobath export FOLDER --format hf`, bit for bit."""

import json
import os
import subprocess
import sys
import tempfile

try:
    import torch
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import (AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM,
                              PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM)
except ImportError as error:
    print("SKIPPED: this Python has no torch, tokenizers and transformers (%s)" % error)
    sys.exit(77)

PROGRAM = os.path.abspath(sys.argv[1])
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CONTEXT, VOCABULARY, NEW_TOKENS = 128, 700, 32
TOLERANCE, TIE = 1e-5, 1e-3  # of a loss against the largest logit; of two logits
START, END = "<|start|>", "<|end|>"
IS_4 = transformers.__version__.startswith("4")
SIZES = dict(vocab_size=VOCABULARY, hidden_size=64, intermediate_size=160, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
             max_position_embeddings=CONTEXT)
TURNS = dict(rope_theta=700.0) if IS_4 else dict(rope_parameters={"rope_type": "default", "rope_theta": 700.0})
# Class, its configuration, options of save_pretrained, number type, whether the tokenizer puts a token before a text.
FOLDERS = {
    "grouped, tied": (LlamaForCausalLM, LlamaConfig(**SIZES, tie_word_embeddings=True), {}, torch.float32, False),
    "grouped, untied": (LlamaForCausalLM, LlamaConfig(**SIZES, **TURNS, tie_word_embeddings=False, rms_norm_eps=1e-5), {}, torch.float32, True),
    "in parts": (LlamaForCausalLM, LlamaConfig(**SIZES, tie_word_embeddings=False), {"max_shard_size": "100KB"}, torch.float32, True),
    "bfloat16": (LlamaForCausalLM, LlamaConfig(**SIZES, **TURNS, tie_word_embeddings=True), {}, torch.bfloat16, False),
    "Mistral": (MistralForCausalLM, MistralConfig(**SIZES, sliding_window=None), {}, torch.float32, True),
    "Qwen 3": (Qwen3ForCausalLM, Qwen3Config(**SIZES, **TURNS, head_dim=16, tie_word_embeddings=True), {}, torch.float32, False),
}


def check(condition, message):
    if not condition:
        print("FAILED:", message)
        sys.exit(1)


def isobath(*arguments):
    result = subprocess.run([PROGRAM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    check(result.returncode == 0, "%s ended with %s:\n%s%s" % (" ".join(arguments), result.returncode, result.stdout, result.stderr))
    return result.stdout


def text():
    with open(os.path.join(ROOT, "docs", "data.md"), encoding="utf-8") as file:
        return file.read()


def write_tokenizer(folder, puts_start):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer.train_from_iterator([text()], trainers.BpeTrainer(vocab_size=600, special_tokens=[START, END], show_progress=False,
                                                                initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    if puts_start:
        tokenizer.post_processor = processors.TemplateProcessing(single=START + " $A", special_tokens=[(START, tokenizer.token_to_id(START))])
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=START, eos_token=END).save_pretrained(folder)


def write_folder(folder, kind, config, options, dtype, puts_start):
    write_tokenizer(folder, puts_start)
    config.bos_token_id, config.eos_token_id, config.pad_token_id = 0, 1, None
    model = kind(config)
    chance = torch.Generator().manual_seed(3)
    for name, weight in model.named_parameters():  # norms, too, differ from 1
        weight.copy_(torch.randn(weight.shape, generator=chance) * (0.2 if "norm" in name else 0.15) + ("norm" in name))
    model.to(dtype).save_pretrained(folder, **options)


def check_losses(name, folder, model, tokenizer):
    """Losses of a page token by token in rolling windows; returns their number and the largest difference."""
    page, tokens = os.path.join(folder, os.pardir, "page.txt"), os.path.join(folder, os.pardir, "tokens.jsonl")
    with open(page, "w", encoding="utf-8") as file:
        file.write(text()[:4000])
    isobath("eval", folder, "--text", page, "--per-token", tokens, "train.threads=1")
    with open(tokens, encoding="utf-8") as file:
        records = [json.loads(line) for line in file]
    ids = [record["id"] for record in records]
    check(ids == [tokenizer.bos_token_id, *tokenizer(text()[:4000])["input_ids"]], "%s: other ids of a page" % name)
    worst = 0.0
    for begin in range(0, len(ids) - 1, CONTEXT):
        first = max(0, min(begin, len(ids) - 1 - CONTEXT))  # the last window is filled up with earlier tokens
        window = torch.tensor(ids[first:first + CONTEXT + 1])
        logits = model(window[None, :-1]).logits[0].double()
        theirs = -logits.log_softmax(-1).gather(1, window[1:, None])[begin - first:, 0]
        ours = torch.tensor([record["loss_causal"] for record in records[begin + 1:begin + 1 + len(theirs)]], dtype=torch.float64)
        worst = max(worst, ((theirs - ours).abs().max() / logits.abs().max()).item())
    check(worst < TOLERANCE, "%s: losses differ by %g of the largest logit" % (name, worst))
    return len(ids) - 1, worst


def check_greedy(name, folder, model, tokenizer):
    prompt = "Each shard has a header"
    prompts = os.path.join(folder, os.pardir, "prompts.jsonl")
    with open(prompts, "w") as file:
        file.write(json.dumps({"prompt": prompt}) + "\n")
    ours = json.loads(isobath("generate", folder, "-f", prompts, "-n", str(NEW_TOKENS), "-t", "0", "--threads", "1"))
    inputs = tokenizer(prompt, return_tensors="pt")
    result = model.generate(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], max_new_tokens=NEW_TOKENS, do_sample=False,
                            output_logits=True, return_dict_in_generate=True, pad_token_id=tokenizer.eos_token_id)
    new = result.sequences[0, inputs["input_ids"].shape[1]:].tolist()
    new = new[:-1] if new and new[-1] == tokenizer.eos_token_id else new
    if tokenizer.decode(new) == ours["text"]:
        return
    equal = next(n for n in range(len(new), -1, -1) if ours["text"].startswith(tokenizer.decode(new[:n]).rstrip("\ufffd")))
    best = result.logits[equal][0].topk(2).values
    check(best[0] - best[1] < TIE, "%s: %r goes on as\n  %r, in Isobath as\n  %r" % (name, prompt, tokenizer.decode(new), ours["text"]))


def check_export(name, folder, model, tokenizer):
    """What Isobath writes of a folder is the model and the tokenizer that it read."""
    out = folder + "-out"
    isobath("export", folder, "-o", out, "--format", "hf")
    again, its_tokenizer = AutoModelForCausalLM.from_pretrained(out).eval(), AutoTokenizer.from_pretrained(out)
    before, after = model.state_dict(), again.state_dict()
    check(before.keys() == after.keys(), "%s: other weights: %s" % (name, sorted(before.keys() ^ after.keys())))
    for key, value in before.items():
        check(after[key].dtype == torch.float32 and torch.equal(after[key], value), "%s: %s comes back otherwise" % (name, key))
    ids = torch.tensor([tokenizer(text()[:300])["input_ids"][:CONTEXT]])
    check(torch.equal(again(ids).logits, model(ids).logits), "%s: other logits" % name)
    for line in text().split("\n"):
        check(its_tokenizer(line)["input_ids"] == tokenizer(line)["input_ids"], "%s: other ids of %r" % (name, line))
    check((its_tokenizer.bos_token_id, its_tokenizer.eos_token_id) == (tokenizer.bos_token_id, tokenizer.eos_token_id), "%s: bos and eos" % name)
    return len(before)


def main():
    print("transformers %s, torch %s" % (transformers.__version__, torch.__version__))
    torch.set_num_threads(2)
    torch.set_grad_enabled(False)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as scratch:
        for number, (name, (kind, config, options, dtype, puts_start)) in enumerate(FOLDERS.items()):
            folder = os.path.join(scratch, str(number))
            write_folder(folder, kind, config, options, dtype, puts_start)
            model, tokenizer = AutoModelForCausalLM.from_pretrained(folder).float().eval(), AutoTokenizer.from_pretrained(folder)
            parts = len([file for file in os.listdir(folder) if file.endswith(".safetensors")])
            check((parts > 1) == ("max_shard_size" in options), "%s: %d files of weights" % (name, parts))
            count, worst = check_losses(name, folder, model, tokenizer)
            check_greedy(name, folder, model, tokenizer)
            weights = check_export(name, folder, model, tokenizer)
            print("%s: %s, %d tokens with losses within %.1e of the largest logit, greedy text equal, %d tensors back bit for bit"
                  % (name, type(model).__name__, count, worst, weights), flush=True)


if __name__ == "__main__":
    main()
