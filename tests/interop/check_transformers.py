"""Exported folders in Hugging Face's transformers against Isobath:  check_transformers.py FOLDER   (FOLDER: of prepare.py)

Loads every folder with AutoModelForCausalLM and AutoTokenizer; compares ids, losses token by token, greedy text and number types."""

import json
import os
import sys

try:
    import torch
    import transformers
    from transformers import AutoModelForCausalLM, AutoTokenizer
except ImportError as error:
    print("SKIPPED: this Python has no torch and transformers (%s)" % error)
    sys.exit(77)

CONTEXT, NEW_TOKENS = 128, 64
TOLERANCE, TIE = 1e-5, 1e-3  # of a loss against the largest logit; of two logits


def check(condition, message):
    if not condition:
        print("FAILED:", message)
        sys.exit(1)


def check_ids(name, tokenizer, wanted):
    """Returns how many texts there were."""
    for text, ids in zip(wanted["strings"], wanted["ids"]):
        found = tokenizer(text)["input_ids"]
        check(found == ids, "%s: ids of %r are\n  %s, Isobath has\n  %s" % (name, text, found, ids))
        check(tokenizer.decode(found) == text, "%s: %r comes back as %r" % (name, text, tokenizer.decode(found)))
    return len(wanted["ids"])


def largest_difference(model, wanted):
    """Largest difference of a token's loss, as a share of the largest logit. Rolling windows as in docs/formats.md."""
    ids, losses, worst = wanted["long_ids"], wanted["long_losses"], 0.0
    for begin in range(0, len(ids) - 1, CONTEXT):
        first = max(0, min(begin, len(ids) - 1 - CONTEXT))  # the last window is filled up with earlier tokens
        window = torch.tensor(ids[first:first + CONTEXT + 1])
        logits = model(window[None, :-1]).logits[0].double()
        theirs = -logits.log_softmax(-1).gather(1, window[1:, None])[begin - first:, 0]
        ours = torch.tensor(losses[begin + 1:begin + 1 + len(theirs)], dtype=torch.float64)
        worst = max(worst, ((theirs - ours).abs().max() / logits.abs().max()).item())
    return worst


def check_greedy(name, model, tokenizer, wanted):
    """Texts are equal up to a step where the two likeliest tokens are as good as equal. Returns the number of such ties."""
    ties = 0
    for prompt, continuation in zip(wanted["prompts"], wanted["continuations"]):
        inputs = tokenizer(prompt, return_tensors="pt")
        result = model.generate(**inputs, max_new_tokens=NEW_TOKENS, output_logits=True, return_dict_in_generate=True)
        new = result.sequences[0, inputs["input_ids"].shape[1]:].tolist()
        if new and new[-1] == wanted["document_end"]:
            new.pop()
        if tokenizer.decode(new) == continuation:
            continue
        equal = next(n for n in range(len(new), -1, -1) if continuation.startswith(tokenizer.decode(new[:n]).rstrip("\ufffd")))
        best = result.logits[equal][0].topk(2).values
        check(best[0] - best[1] < TIE, "%s: %r goes on as\n  %r, Isobath has\n  %r" % (name, prompt, tokenizer.decode(new), continuation))
        ties += 1
    return ties


def check_model(folder, name):
    with open(os.path.join(folder, "isobath.json")) as file:
        wanted = json.load(file)
    path = os.path.join(folder, "hf.v1.0")
    tokenizer, model = AutoTokenizer.from_pretrained(path), AutoModelForCausalLM.from_pretrained(path).eval()
    check(type(model).__name__ == ("Qwen3ForCausalLM" if name == "qk_norm" else "LlamaForCausalLM"), type(model).__name__)
    check(next(model.parameters()).dtype == torch.float32, "%s: %s" % (name, next(model.parameters()).dtype))
    check(tokenizer.eos_token_id == wanted["document_end"] and tokenizer.bos_token is None, "%s: %s" % (name, tokenizer))
    count = check_ids(name, tokenizer, wanted)
    difference = largest_difference(model, wanted)
    check(difference < TOLERANCE, "%s: losses differ by %s of the largest logit" % (name, difference))
    ties = check_greedy(name, model, tokenizer, wanted)
    for dtype, torch_dtype in (("bf16", torch.bfloat16), ("f16", torch.float16)):
        narrow = AutoModelForCausalLM.from_pretrained(os.path.join(folder, "hf-" + dtype), **{DTYPE: "auto"})
        for (key, value), (_, wide) in zip(narrow.state_dict().items(), model.state_dict().items()):
            check(value.dtype == torch_dtype and torch.equal(value, wide.to(torch_dtype)), "%s as %s: %s" % (name, dtype, key))
    before = os.getcwd()
    os.chdir(path)  # "." is a name, too
    here = AutoModelForCausalLM.from_pretrained(".")
    check(torch.equal(here.lm_head.weight, model.lm_head.weight), "%s: loaded as '.' it is another" % name)
    check(AutoTokenizer.from_pretrained(".")("a b")["input_ids"] == tokenizer("a b")["input_ids"], "%s: loaded as '.'" % name)
    os.chdir(before)
    print("%s: %s, %d texts with the same ids, losses within %.1e of the largest logit on %d tokens, greedy text of %d prompts equal (%d ties)"
          % (name, type(model).__name__, count, difference, len(wanted["long_ids"]) - 1, len(wanted["prompts"]), ties), flush=True)


DTYPE = "torch_dtype" if transformers.__version__.startswith("4") else "dtype"
if __name__ == "__main__":
    print("transformers %s, torch %s" % (transformers.__version__, torch.__version__))
    torch.set_num_threads(2)
    torch.set_grad_enabled(False)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    for model_name in sorted(os.listdir(sys.argv[1])):
        if os.path.exists(os.path.join(sys.argv[1], model_name, "isobath.json")):
            check_model(os.path.join(sys.argv[1], model_name), model_name)
