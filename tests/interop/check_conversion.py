"""A converted SmolLM2 as a Hugging Face folder, in transformers under its causal routing: losses and decisions token by token, and greedy text.
Arguments: the program, and a run of a conversion, or the dense .gguf file, which is then converted by configs/convert-one.yaml in a few steps."""

import json
import os
import subprocess
import sys
import tempfile

try:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
except ImportError as missing:
    print("SKIPPED: this Python has no package %s" % missing.name)
    sys.exit(77)

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CONTEXT = 256
PROMPT = "The capital of France is"


def isobath(*arguments):
    run = subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 0, run.stderr
    return run.stdout


def convert(gguf, folder):
    isobath("train", "configs/convert-one.yaml", "train.init_from=" + gguf, "data.sources=[docs]", "run_dir=" + folder, "train.budget=6step", "train.batch_tokens=512",
            "train.micro_batch_tokens=auto", "eval.every=100%", "eval.tokens=1Ki", "eval.final_tokens=1Ki", "eval.calibration_tokens=1Ki")
    return os.path.join(folder, "convert-one")


def write_text(path):
    with open(os.path.join(ROOT, "docs", "experiments.md"), encoding="utf-8") as source, open(path, "w", encoding="utf-8") as file:
        file.write(source.read()[:6000])


def compare_losses(model, tokens):
    """Windows as in docs/formats.md. Where a decision differs, whose score was at its threshold, what comes after it in its window may differ a little, too."""
    ids = torch.tensor([token["id"] for token in tokens])
    compared = decisions = otherwise = 0
    most = largest = after = 0.0
    with torch.no_grad():
        for begin in range(0, len(ids) - 1, CONTEXT):
            first = max(0, min(begin, len(ids) - 1 - CONTEXT))  # the last window is filled up with earlier tokens
            result = model(ids[None, first:first + CONTEXT], routing="causal")
            logits = result.logits[0].double()
            theirs = torch.stack([mask[0] for mask in result.selected], 1)[begin - first:]  # (tokens, routed layers)
            ours = torch.tensor([token["selected"] for token in tokens[begin:first + CONTEXT]])[:len(theirs)]
            differ = (theirs[:len(ours)] != ours).any(1)
            decisions, otherwise = decisions + ours.numel(), otherwise + (theirs[:len(ours)] != ours).sum().item()
            same = int(differ.nonzero()[0]) if differ.any() else len(ours)
            losses = -logits.log_softmax(-1).gather(1, ids[first + 1:first + 1 + len(logits), None])[begin - first:, 0]
            wanted = torch.tensor([token["loss_causal"] for token in tokens[begin + 1:begin + 1 + len(losses)]], dtype=torch.double)
            difference = (losses - wanted).abs()
            largest, compared = max(largest, logits.abs().max().item()), compared + len(losses)
            most = max(most, difference[:same].max().item() if same else 0.0)
            after = max(after, difference[same:].max().item() if same < len(difference) else 0.0)
    print("%d losses, largest difference %.1e of the largest logit (%.1f); %d of %d decisions differ, after them %.1e" %
          (compared, most / largest, largest, otherwise, decisions, after))
    assert compared > 500 and most / largest < 1e-4, "the losses differ"
    assert otherwise <= decisions / 1000, "the decisions differ"


def compare_greedy(model, tokenizer, run, prompts):
    with open(prompts, "w") as file:
        file.write(json.dumps({"prompt": PROMPT}) + "\n")
    ours = json.loads(isobath("generate", run, "-f", prompts, "-t", "0", "-n", "48"))["text"]
    given = tokenizer(PROMPT, return_tensors="pt")
    made = model.generate(**given, max_new_tokens=48, do_sample=False)[0, given["input_ids"].shape[1]:]
    theirs = tokenizer.decode(made, skip_special_tokens=True)
    print("greedy text %s: %r" % ("equal" if theirs == ours else "differs", ours))
    assert theirs == ours, theirs


def main(folder):
    run = convert(SOURCE, folder) if SOURCE.endswith(".gguf") else SOURCE
    text, records, prompts, exported = (os.path.join(folder, name) for name in ("text.txt", "records.jsonl", "prompts.jsonl", "exported"))
    write_text(text)
    isobath("export", run, "-o", exported, "--format", "hf")
    isobath("eval", run, "--text", text, "--per-token", records, "model.context=%d" % CONTEXT)
    tokens = [json.loads(line) for line in open(records, encoding="utf-8")]
    model = AutoModelForCausalLM.from_pretrained(exported, trust_remote_code=True).eval()
    compare_losses(model, tokens)
    compare_greedy(model, AutoTokenizer.from_pretrained(exported, trust_remote_code=True), run, prompts)


if __name__ == "__main__":
    PROGRAM, SOURCE = (os.path.abspath(path) for path in sys.argv[1:3])
    with tempfile.TemporaryDirectory() as name:
        main(name)
