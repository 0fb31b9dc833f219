"""Exported GGUF files in llama.cpp against Isobath:  check_llama_cpp.py FOLDER   (FOLDER: of prepare.py)

The package `gguf` reads the files and must find the same tensors; `xllamacpp`, which is llama.cpp itself, must give the same ids, greedy text
and log-probabilities, with keys and values cached in F32."""

import json
import os
import sys
import urllib.request

try:
    import gguf
    import numpy
    import xllamacpp
except ImportError as error:
    print("SKIPPED: this Python has no gguf, numpy and xllamacpp (%s)" % error)
    sys.exit(77)

TOLERANCE, TIE = 1e-5, 1e-3  # of log-probabilities: of the likeliest token; of two tokens that count as equal


def check(condition, message):
    if not condition:
        print("FAILED:", message)
        sys.exit(1)


class Llama:
    def __init__(self, path):
        params = xllamacpp.CommonParams()
        params.model.path = path
        params.n_ctx, params.n_parallel, params.warmup, params.verbosity = 4096, 1, False, -1
        params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED  # it computes in fp16
        params.cpuparams.n_threads = 2
        self.server = xllamacpp.Server(params)

    def post(self, name, data):
        request = urllib.request.Request(self.server.listening_address + name, json.dumps(data).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def ids(self, text):
        return self.post("/tokenize", {"content": text, "add_special": True, "parse_special": False})["tokens"]

    def go_on(self, prompt, count):
        return self.post("/completion", {"prompt": self.ids(prompt), "n_predict": count, "temperature": 0, "n_probs": 2, "cache_prompt": False,
                                         "samplers": ["temperature"], "return_tokens": True})


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
    """Greedy texts. Returns the largest difference of a log-probability, and the number of ties."""
    worst, ties = 0.0, 0
    for prompt, text, ours in zip(wanted["prompts"], wanted["continuations"], wanted["log_probabilities"]):
        answer = llama.go_on(prompt, 64)
        steps = answer["completion_probabilities"]
        for step, mine in zip(steps, ours):
            tokens = [candidate["logprob"] for candidate in step["top_logprobs"]]
            if abs(step["logprob"] - mine) > TOLERANCE:  # another token: allowed only where two are as good as equal
                check(tokens[0] - tokens[1] < TIE, "%s: %r goes on as\n  %r, Isobath has\n  %r" % (name, prompt, answer["content"], text))
                ties += 1
                break
            worst = max(worst, abs(step["logprob"] - mine))
        else:
            check(answer["content"] == text, "%s: %r goes on as\n  %r, Isobath has\n  %r" % (name, prompt, answer["content"], text))
    return worst, ties


def check_model(folder, name):
    with open(os.path.join(folder, "isobath.json")) as file:
        wanted = json.load(file)
    tensors = check_types(folder, name)
    llama = Llama(os.path.join(folder, "f32.gguf"))
    for text, ids in zip(wanted["strings"], wanted["ids"]):
        found = llama.ids(text)
        check(found == ids, "%s: ids of %r are\n  %s, Isobath has\n  %s" % (name, text, found, ids))
    worst, ties = check_text(llama, name, wanted)
    for dtype in ("f16", "bf16", "q8_0"):  # runs at all
        check(Llama(os.path.join(folder, dtype + ".gguf")).go_on("The ", 8)["tokens"], "%s as %s writes nothing" % (name, dtype))
    print("%s: %d tensors, %d texts with the same ids, greedy text of %d prompts equal (%d ties), log-probabilities within %.1e"
          % (name, tensors, len(wanted["ids"]), len(wanted["prompts"]), ties, worst), flush=True)


if __name__ == "__main__":
    from importlib.metadata import version
    print("gguf %s, xllamacpp %s" % (version("gguf"), version("xllamacpp")))
    for model_name in sorted(os.listdir(sys.argv[1])):
        if os.path.exists(os.path.join(sys.argv[1], model_name, "isobath.json")):
            check_model(os.path.join(sys.argv[1], model_name), model_name)
