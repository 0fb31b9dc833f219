"""llama.cpp with one model, asked over HTTP: the package xllamacpp is llama.cpp itself with its server."""

import json
import urllib.request

import xllamacpp

TIE = 1e-3  # two tokens whose log-probabilities differ by less count as equal


class Llama:
    """Keys and values are cached in F32, and flash attention, which computes in fp16, is off: so numbers can be compared."""

    def __init__(self, path, threads=2):
        params = xllamacpp.CommonParams()
        params.model.path = path
        params.n_ctx, params.n_parallel, params.warmup, params.verbosity = 4096, 1, False, -1
        params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
        self.server = xllamacpp.Server(params)

    def post(self, name, data):
        request = urllib.request.Request(self.server.listening_address + name, json.dumps(data).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def ids(self, text, special=False):
        """special: control tokens in the text are these tokens, not text."""
        return self.post("/tokenize", {"content": text, "add_special": True, "parse_special": special})["tokens"]

    def go_on(self, prompt, count, likeliest=10, special=False):
        return self.post("/completion", {"prompt": self.ids(prompt, special), "n_predict": count, "temperature": 0, "n_probs": likeliest,
                                         "cache_prompt": False, "samplers": ["temperature"], "return_tokens": True})

    def likeliest(self, ids, count=10):
        """The likeliest next tokens behind these ids, with their log-probabilities."""
        answer = self.post("/completion", {"prompt": ids, "n_predict": 1, "temperature": 0, "n_probs": count, "cache_prompt": True, "samplers": ["temperature"]})
        return answer["completion_probabilities"][0]["top_logprobs"]


def worst_of_top(llama, records, first):
    """The largest difference of a log-probability among the likeliest tokens, place by place, and the number of places. records: those of
    `isobath eval --per-token --top` for a whole text, which begin with the token that is put before it; first: the place to begin with."""
    worst, ids = 0.0, [record["id"] for record in records]
    for place in range(first, len(ids)):
        ours = dict(zip(records[place]["top_ids"], records[place]["top_log_probabilities"]))
        least = min(ours.values())
        for candidate in llama.likeliest(ids[:place]):  # one that is not among ours is at most as likely as our last one
            worst = max(worst, abs(candidate["logprob"] - ours.get(candidate["id"], least)))
    return worst, len(ids) - first
