"""Exported GGUF files in llama.cpp against Isobath:  check_llama_cpp.py FOLDER   (FOLDER: of prepare.py)

The package `gguf` reads the files and must find the same tensors; `xllamacpp`, which is llama.cpp itself, must give the same ids, greedy text
and log-probabilities, with keys and values cached in F32."""

import json
import os
import sys

try:
    import gguf
    import numpy
    from llama_server import TIE, Llama, worst_of_top
except ImportError as error:
    print("SKIPPED: this Python has no gguf, numpy and xllamacpp (%s)" % error)
    sys.exit(77)

TOLERANCE, TOP_TOLERANCE = 1e-5, 1e-4  # of log-probabilities: of the likeliest token, of the ten likeliest


def check(condition, message):
    if not condition:
        print("FAILED:", message)
        sys.exit(1)


def check_types(folder, name):
    """The package `gguf` reads what the reference implementation of each number type makes of the fp32 values."""
    wide = {tensor.name: gguf.dequantize(tensor.data, tensor.tensor_type) for tensor in gguf.GGUFReader(os.path.join(folder, "f32.gguf")).tensors}
    for dtype in ("F16", "BF16", "Q8_0"):
        for tensor in gguf.GGUFReader(os.path.join(folder, dtype.lower() + ".gguf")).tensors:
            values = wide[tensor.name]
            kind = "F32" if values.ndim == 1 else "F16" if dtype == "Q8_0" and values.shape[1] % 32 else dtype
            check(tensor.tensor_type.name == kind, "%s %s: %s is %s" % (name, dtype, tensor.name, tensor.tensor_type.name))
            wanted = gguf.quantize(values, tensor.tensor_type)
            check(numpy.array_equal(wanted.view(numpy.uint8), tensor.data.view(numpy.uint8)), "%s %s: %s has other bytes" % (name, dtype, tensor.name))
    return len(wide)


def check_text(llama, name, wanted):
    """Greedy texts. Returns the largest difference of a log-probability, of those of the ten likeliest tokens, the number of their places, and
    of ties."""
    worst, worst_top, places, ties = 0.0, 0.0, 0, 0
    for prompt, text, ours, likeliest in zip(wanted["prompts"], wanted["continuations"], wanted["log_probabilities"], wanted["likeliest"]):
        answer = llama.go_on(prompt, 64)
        steps = answer["completion_probabilities"]
        of_top, compared = worst_of_top(llama, likeliest["records"], likeliest["first"])
        check(of_top < TOP_TOLERANCE, "%s: behind %r log-probabilities of the ten likeliest differ by %.1e" % (name, prompt, of_top))
        worst_top, places = max(worst_top, of_top), places + compared
        for step, mine in zip(steps, ours):
            tokens = [candidate["logprob"] for candidate in step["top_logprobs"]]
            if abs(step["logprob"] - mine) > TOLERANCE:  # another token: allowed only where two are as good as equal
                check(tokens[0] - tokens[1] < TIE, "%s: %r goes on as\n  %r, Isobath has\n  %r" % (name, prompt, answer["content"], text))
                ties += 1
                break
            worst = max(worst, abs(step["logprob"] - mine))
        else:
            check(answer["content"] == text, "%s: %r goes on as\n  %r, Isobath has\n  %r" % (name, prompt, answer["content"], text))
    return worst, worst_top, places, ties


def check_model(folder, name):
    with open(os.path.join(folder, "isobath.json")) as file:
        wanted = json.load(file)
    tensors = check_types(folder, name)
    llama = Llama(os.path.join(folder, "f32.gguf"))
    for text, ids in zip(wanted["strings"], wanted["ids"]):
        found = llama.ids(text)
        check(found == ids, "%s: ids of %r are\n  %s, Isobath has\n  %s" % (name, text, found, ids))
    worst, worst_top, places, ties = check_text(llama, name, wanted)
    check(places > 100, "%s: the ten likeliest tokens were compared at %d places only" % (name, places))
    for dtype in ("f16", "bf16", "q8_0"):  # runs at all
        check(Llama(os.path.join(folder, dtype + ".gguf")).go_on("The ", 8)["tokens"], "%s as %s writes nothing" % (name, dtype))
    print("%s: %d tensors, %d texts with the same ids, greedy text of %d prompts equal (%d ties), log-probabilities within %.1e, those of the "
          "ten likeliest at %d places within %.1e" % (name, tensors, len(wanted["ids"]), len(wanted["prompts"]), ties, worst, places, worst_top),
          flush=True)


if __name__ == "__main__":
    from importlib.metadata import version
    print("gguf %s, xllamacpp %s" % (version("gguf"), version("xllamacpp")))
    for model_name in sorted(os.listdir(sys.argv[1])):
        if os.path.exists(os.path.join(sys.argv[1], model_name, "isobath.json")):
            check_model(os.path.join(sys.argv[1], model_name), model_name)
