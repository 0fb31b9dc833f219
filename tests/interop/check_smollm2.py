"""A real model that others trained, SmolLM2-135M-Instruct from its GGUF (4-bit blocks): losses per token against transformers' on the same
dequantised weights, and greedy text. Arguments: the program, the .gguf file."""

import json
import os
import subprocess
import sys
import tempfile

try:
    import numpy
    import torch
    from gguf import GGUFReader, quants
    from transformers import LlamaConfig, LlamaForCausalLM
except ImportError as missing:
    print("SKIPPED: this Python has no package %s" % missing.name)
    sys.exit(77)

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
NAMES = {"token_embd": "model.embed_tokens", "output_norm": "model.norm"}
LAYER = {"attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
         "attn_output": "self_attn.o_proj", "ffn_norm": "post_attention_layernorm", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
         "ffn_down": "mlp.down_proj"}
HEADS = {"attn_q": 9, "attn_k": 3}


def load(gguf):
    weights = {}
    for tensor in GGUFReader(gguf).tensors:
        values = quants.dequantize(tensor.data, tensor.tensor_type).astype(numpy.float32)
        values = values.reshape([int(size) for size in reversed(tensor.shape)])
        parts = tensor.name.split(".")
        if parts[0] == "blk":
            if parts[2] in HEADS:
                heads, width = HEADS[parts[2]], values.shape[1]
                values = values.reshape(heads, -1, 2, width).swapaxes(1, 2).reshape(-1, width)
            name = "model.layers.%s.%s.weight" % (parts[1], LAYER[parts[2]])
        else:
            name = NAMES[parts[0]] + ".weight"
        weights[name] = torch.from_numpy(values.copy())
    config = LlamaConfig(vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3,
                         max_position_embeddings=8192, rms_norm_eps=1e-5, rope_theta=100000.0, tie_word_embeddings=True, attn_implementation="eager")
    if hasattr(config, "rope_parameters"):
        config.rope_parameters = {"rope_type": "default", "rope_theta": 100000.0}
    model = LlamaForCausalLM(config)
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert set(missing) <= {"lm_head.weight"} and not unexpected, (missing, unexpected)
    model.tie_weights()
    return model.eval()


def isobath(*arguments):
    return subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, check=True).stdout


def main():
    model, context = load(FILE), 256
    with tempfile.TemporaryDirectory() as folder:
        text, records = os.path.join(folder, "text.txt"), os.path.join(folder, "records.jsonl")
        with open(os.path.join(ROOT, "docs", "experiments.md"), encoding="utf-8") as source, open(text, "w", encoding="utf-8") as file:
            file.write(source.read()[:6000])
        isobath("eval", FILE, "--text", text, "--per-token", records, "model.context=%d" % context)
        tokens = [json.loads(line) for line in open(records, encoding="utf-8")]
    ids = [token["id"] for token in tokens]
    largest, compared, most = 0.0, 0, 0.0
    with torch.no_grad():
        for begin in range(0, len(ids) - 1, context):
            first = max(0, min(begin, len(ids) - 1 - context))  # the last window is filled up with earlier tokens
            window = ids[first:first + context]
            logits = model(torch.tensor([window])).logits[0].double()
            losses = -logits.log_softmax(-1)
            largest = max(largest, logits.abs().max().item())
            for i, token in enumerate(tokens[first + 1:first + 1 + len(window)]):
                if i < begin - first:
                    continue
                most = max(most, abs(losses[i, token["id"]].item() - token["loss_causal"]))
                compared += 1
    print("%d losses, largest difference %.2e, %.2e of the largest logit (%.1f)" % (compared, most, most / largest, largest))
    assert compared > 500 and most / largest < 1e-4, "the losses differ"

    answer = json.loads(isobath("generate", FILE, "-f", write_prompt(), "-t", "0", "-n", "48"))
    prompt = encode(answer["prompt"])
    ids = encode(answer["prompt"] + answer["text"])
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0].double()
    for place in range(len(prompt), len(ids)):
        best = logits[place - 1].topk(2)
        if best.indices[0].item() != ids[place]:
            assert best.values[0] - best.values[1] < 1e-3, "another token at place %d" % place
            print("a tie at place %d" % place)
            break
    print("greedy text equal, %d tokens: %r" % (len(ids) - len(prompt), answer["text"][:80]))


def write_prompt():
    path = os.path.join(tempfile.gettempdir(), "isobath-prompt.jsonl")
    with open(path, "w") as file:
        file.write(json.dumps({"prompt": "The capital of France is"}) + "\n")
    return path


def encode(text):
    output = subprocess.run([PROGRAM, "tokenizer", "encode", FILE], input=json.dumps(text) + "\n", capture_output=True, text=True, check=True).stdout
    return json.loads(output.splitlines()[0])


if __name__ == "__main__":
    PROGRAM, FILE = sys.argv[1:3]
    main()
