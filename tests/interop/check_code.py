"""Exported folders with code in Hugging Face's transformers against Isobath:  check_code.py FOLDER [NAME...]   (FOLDER: of prepare_code.py)

Compares losses token by token under both routings, decisions and scores layer by layer, greedy text (decoded with a cache, without one, and in a batch
with padding on the left), and what the cache holds."""

import json
import os
import sys
import tempfile

try:
    import torch
    import transformers
    from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer
except ImportError as error:
    print("SKIPPED: this Python has no torch and transformers (%s)" % error)
    sys.exit(77)

CONTEXT, NEW_TOKENS, BATCH = 128, 64, 4
TOLERANCE, TIE, ON_THE_EDGE = 1e-5, 1e-3, 1e-5  # of a loss against the largest logit; of two logits; of a score and its threshold
DTYPE = "torch_dtype" if transformers.__version__.startswith("4") else "dtype"


def check(condition, message):
    if not condition:
        print("FAILED:", message)
        sys.exit(1)


def load(path, **options):
    return AutoModelForCausalLM.from_pretrained(path, trust_remote_code=True, **options).eval()


class Margins:
    """How near each decision was to the other answer, by layer that decides. Wraps the functions of the exported code that decide."""

    def __init__(self, model):
        self.code = sys.modules[type(model).__module__]
        self.found = []
        self.replaced = {}
        for owner, name, wrapper in ((self.code, "causal_decision", self.router), (self.code, "top_k", self.top_k),
                                     (getattr(self.code, "NestedDepth", None), "pass_exit", self.gate)):
            if hasattr(owner, name):
                self.replaced[owner, name] = getattr(owner, name)
                setattr(owner, name, wrapper)

    def close(self):
        for (owner, name), original in self.replaced.items():
            setattr(owner, name, original)

    def router(self, layer, causal, x, r):
        logit = layer.predictor(x) if causal == "predictor" else r if causal == "bce" else r - layer.router.threshold[0]
        self.found.append((logit - layer.router.cut).abs())
        return self.replaced[self.code, "causal_decision"](layer, causal, x, r)

    def top_k(self, r, capacity, this, candidates):
        selected = self.replaced[self.code, "top_k"](r, capacity, this, candidates)
        last = r.masked_fill(~selected, torch.inf).amin(1, keepdim=True)
        first = r.masked_fill(selected | ~candidates, -torch.inf).amax(1, keepdim=True)
        self.found.append(torch.where(selected, r - first, last - r))
        return selected

    def gate(self, depth, exit):
        gate = depth.model.depth_gate
        depths = torch.tensor([*depth.config.exits, depth.config.num_hidden_layers]) / depth.config.num_hidden_layers
        value = depth.probability.log() + gate.balance + gate.cut * depths
        self.found.append((value[..., : exit + 1].amax(-1) - value[..., exit + 1:].amax(-1)).abs())
        return self.replaced[self.code.NestedDepth, "pass_exit"](depth, exit)


def smallest_margins(model, ids, routing, result):
    """By layer that decides. Of nested depth a layer's is that of the exit before it."""
    margins = Margins(model)
    model(ids, routing=routing)
    margins.close()
    config = model.config
    if config.depth_kind == "scaled":
        state = model.model.depth_scale
        return [(score - state.threshold[0] - state.cut).abs() for score in result.scores]
    if config.depth_kind == "mod" and routing == "causal":  # at capacity 1 nothing is asked
        found = iter(margins.found)
        return [next(found) if capacity < 1 else torch.full(ids.shape, torch.inf) for capacity in config.capacities]
    if config.depth_kind == "nested":
        return [margins.found[sum(exit <= layer for exit in config.exits) - 1] for layer in range(config.exits[0], config.num_hidden_layers)]
    return margins.found


def compare_window(name, model, records, context, routing, worst):
    """One window: losses, decisions, scores, but for its first `context` tokens, which an earlier window has read. Returns the number of decisions that
    differ; all of them must be on the edge."""
    ids = torch.tensor([[record["id"] for record in records]])
    result = model(ids[:, :-1], routing=routing)
    logits = result.logits[0].double()
    key = "selected" if routing == "causal" else "selected_topk"
    decides = range(len(records[0].get("selected", [])))
    ours = [torch.tensor([record[key][layer] for record in records[:-1]]) for layer in decides]
    if model.config.depth_kind != "dense":
        check(len(result.selected) == len(ours), "%s: %d layers decide, in Isobath %d" % (name, len(result.selected), len(ours)))
    # Isobath writes down what top-k selects in its causal pass, which up to the first layer that decides is that of a pass under top-k. Behind it
    # losses tell whether the selection was the same.
    compared = decides if routing == "causal" else decides[:1]
    flips = [(layer, place.item()) for layer in compared for place in (ours[layer] != result.selected[layer][0]).nonzero() if place >= context]
    if flips:
        layer, place = flips[0]
        margin = smallest_margins(model, ids[:, :-1], routing, result)[layer][0, place].item()
        check(margin < ON_THE_EDGE, "%s, %s: layer %d decides otherwise of token %d, %g from its threshold" % (name, routing, layer, place, margin))
        return len(flips)
    theirs = -logits.log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0]
    losses = torch.tensor([record["loss_" + routing] for record in records[1:]], dtype=torch.float64)
    far = ((theirs - losses)[context:].abs().max() / logits.abs().max()).item()
    if routing == "topk" and far > TOLERANCE and min(margin.min() for margin in smallest_margins(model, ids[:, :-1], routing, result)) < ON_THE_EDGE:
        return 1
    worst[routing] = max(worst[routing], far)
    if routing == "causal":
        for layer in decides:
            scores = torch.tensor([float("nan") if record["score"][layer] is None else record["score"][layer] for record in records[:-1]])
            known = ~scores.isnan()
            known[:context] = False
            if known.any():
                found = result.scores[layer][0]
                worst["score"] = max(worst["score"], ((found - scores)[known].abs().max() / scores[known].abs().max()).item())
    return 0


def check_choice(name, model, records):
    """The model must have something to decide on this text."""
    if model.config.depth_kind == "dense" or name == "scaled_soft":
        return
    layers = range(len(records[0]["selected"]))
    shares = [sum(record["selected"][layer] for record in records[:-1]) / (len(records) - 1) for layer in layers]
    whole_layers = model.config.depth_kind == "scaled" and model.config.scale != "token"
    check(0 in shares if whole_layers else any(0.02 < share < 0.98 for share in shares), "%s: its layers run shares of %s" % (name, shares))


def check_losses(name, model, wanted, routings):
    worst, flips = {"causal": 0.0, "topk": 0.0, "score": 0.0}, {"causal": 0, "topk": 0}
    records = wanted["records"]
    for begin in range(0, len(records) - 1, CONTEXT):
        first = max(0, min(begin, len(records) - 1 - CONTEXT))  # the last window is filled up with earlier tokens
        for routing in routings:
            flips[routing] += compare_window(name, model, records[first:first + CONTEXT + 1], begin - first, routing, worst)
    for what, difference in worst.items():
        check(difference < TOLERANCE, "%s: %s differs by %s" % (name, what, difference))
    ids = torch.tensor([[record["id"] for record in records[:CONTEXT + 1]]])
    ids = ids[:, :CONTEXT]
    losses = [record["loss_causal"] for record in records[1:CONTEXT]]
    check(flips["causal"] or abs(model(ids, labels=ids).loss.item() - sum(losses) / len(losses)) < 1e-4, "%s: the loss with labels" % name)
    return worst, flips


def continuation(result, row, length, end):
    new = result.sequences[row, length:].tolist()
    return new[:new.index(end)] if end in new else new


def tied(result, row, place):
    best = result.logits[place][row].topk(2).values
    return (best[0] - best[1]).item() < TIE


def generate(model, inputs, **options):
    return model.generate(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], max_new_tokens=NEW_TOKENS, output_logits=True,
                          return_dict_in_generate=True, **options)


def check_cache(name, model, cache, sequence):
    """A layer holds the keys of the tokens that ran in it, with skipped_kv keep those of all."""
    check(cache.tokens == sequence.shape[1] - 1, "%s: the cache has read %s tokens" % (name, cache.tokens))
    config, result = model.config, model(sequence[:, :-1])
    deciding = {"mod": config.routed_layers, "nested": list(range(config.exits[0], config.num_hidden_layers)) if config.exits else [],
                "scaled": list(range(config.num_hidden_layers))}.get(config.depth_kind, [])
    for layer, (keys, _, filled) in cache.layers.items():
        all_keys = layer not in deciding or config.skipped_kv == "keep" or config.target == "mlp"
        wanted = cache.tokens if all_keys else int(result.selected[deciding.index(layer)].sum())
        check(keys.shape[2] == wanted and filled.all(), "%s: layer %d has %d keys, not %d" % (name, layer, keys.shape[2], wanted))


def check_greedy(name, model, tokenizer, wanted):
    """Isobath's text; the same one without a cache; the same ones in batches. Equal up to a tie of the two likeliest tokens. Returns the ties."""
    end, ties, alone = tokenizer.eos_token_id, 0, []
    for prompt, text in zip(wanted["prompts"], wanted["continuations"]):
        inputs = tokenizer(prompt, return_tensors="pt")
        length = inputs["input_ids"].shape[1]
        result = generate(model, inputs)
        new = continuation(result, 0, length, end)
        alone.append(new)
        if tokenizer.decode(new) != text:
            equal = next(n for n in range(len(new), -1, -1) if text.startswith(tokenizer.decode(new[:n]).rstrip("\ufffd")))
            check(tied(result, 0, equal), "%s: %r goes on as\n  %r, Isobath has\n  %r" % (name, prompt, tokenizer.decode(new), text))
            ties += 1
        check_cache(name, model, result.cache if "cache" in result else result.past_key_values, result.sequences)
        if len(alone) > BATCH:
            continue
        slow = generate(model, inputs, use_cache=False)
        other = continuation(slow, 0, length, end)
        if other != new:
            place = next(i for i, (a, b) in enumerate(zip(other + [end], new + [end])) if a != b)
            check(tied(slow, 0, place), "%s: without a cache %r goes on otherwise" % (name, prompt))
            ties += 1
    for begin in range(0, len(alone), BATCH):
        inputs = tokenizer(wanted["prompts"][begin:begin + BATCH], return_tensors="pt", padding=True)
        check(inputs["attention_mask"][:, 0].min() == 0 and inputs["attention_mask"][:, -1].all(), "%s: no padding on the left" % name)
        result = generate(model, inputs)
        for row, new in enumerate(alone[begin:begin + BATCH]):
            found = continuation(result, row, inputs["input_ids"].shape[1], end)
            if found != new:
                place = next(i for i, (a, b) in enumerate(zip(found + [end], new + [end])) if a != b)
                check(tied(result, row, place), "%s: in a batch prompt %d goes on otherwise" % (name, begin + row))
                ties += 1
    return ties


def same(left, right):
    return ((left - right).abs().max() / right.abs().max()).item() < TOLERANCE


def refused(action):
    try:
        action()
    except ValueError:
        return True
    return False


def check_padding(name, model, wanted, routings):
    """Padding changes nothing, on either side, under either routing."""
    ids = torch.tensor([[record["id"] for record in wanted["records"][:90]]])
    short = ids[:, :70]
    for routing in routings:
        alone = model(short, routing=routing).logits[0]
        for left in (20, 0):
            padded = torch.ones_like(ids)
            padded[:, left:left + 70] = short
            mask = torch.zeros_like(ids)
            mask[:, left:left + 70] = 1
            both = model(torch.cat([ids, padded]), attention_mask=torch.cat([torch.ones_like(ids), mask]), routing=routing)
            far = (both.logits[1, left:left + 70] - alone).abs().max() / alone.abs().max()
            check(far < TOLERANCE, "%s: %d tokens of padding on the left change logits by %s under %s" % (name, left, far, routing))


def check_rest(name, folder, model, tokenizer, wanted, routings):
    path = os.path.join(folder, "hf.v1.0")
    ids = tokenizer("The cat sat on the mat", return_tensors="pt")["input_ids"]
    if "topk" in routings:
        check(refused(lambda: model.generate(ids, routing="topk", max_new_tokens=2)), "%s generates by top-k" % name)
        check(refused(lambda: model(ids, routing="topk", use_cache=True)), "%s reads into a cache by top-k" % name)
    else:
        check(refused(lambda: model(ids, routing="topk")), "%s has a routing top-k" % name)
    check(model.generate(ids, num_beams=3, max_new_tokens=20).shape[1] > ids.shape[1], "%s: beams" % name)
    hidden = AutoModel.from_pretrained(path, trust_remote_code=True).eval()(ids).last_hidden_state
    check(same(model.lm_head(hidden), model(ids).logits), "%s: AutoModel" % name)
    narrow = load(os.path.join(folder, "hf-bf16"), **{DTYPE: "auto"})
    for (key, value), (_, wide) in zip(narrow.state_dict().items(), model.state_dict().items()):
        decides = any(part in key for part in (".router.", ".predictor.", ".depth_gate.", ".depth_scale.", ".scale."))
        check(torch.equal(value, wide if decides else wide.to(torch.bfloat16)), "%s as bf16: %s is %s" % (name, key, value.dtype))
    check(narrow(ids).logits.isfinite().all() and narrow.generate(ids, max_new_tokens=8).shape[1] > ids.shape[1], "%s as bf16" % name)
    with tempfile.TemporaryDirectory() as copy:
        model.save_pretrained(copy)
        check(same(load(copy)(ids).logits, model(ids).logits), "%s: saved and loaded" % name)
    before = os.getcwd()
    os.chdir(path)
    check(same(load(".")(ids).logits, model(ids).logits), "%s: loaded as '.'" % name)
    os.chdir(before)


def check_model(folder, name):
    with open(os.path.join(folder, "isobath.json")) as file:
        wanted = json.load(file)
    path = os.path.join(folder, "hf.v1.0")
    tokenizer, model = AutoTokenizer.from_pretrained(path, padding_side="left", trust_remote_code=True), load(path)
    tokenizer.pad_token = tokenizer.eos_token
    check(model.config.depth_kind == name.split("_")[0], "%s: %s" % (name, model.config.depth_kind))
    check(type(model).__name__ == "IsobathForCausalLM" and next(model.parameters()).dtype == torch.float32, "%s: %s" % (name, type(model)))
    routings = ("causal", "topk") if model.config.capacities else ("causal",)
    check_choice(name, model, wanted["records"])
    worst, flips = check_losses(name, model, wanted, routings)
    check_padding(name, model, wanted, routings)
    ties = check_greedy(name, model, tokenizer, wanted)
    check_rest(name, folder, model, tokenizer, wanted, routings)
    print("%-22s losses within %.1e (causal)%s, scores within %.1e; %s decisions on the edge; text equal, %d ties" % (
        name, worst["causal"], " and %.1e (top-k)" % worst["topk"] if len(routings) > 1 else "", worst["score"],
        " + ".join(str(flips[routing]) for routing in routings), ties), flush=True)


if __name__ == "__main__":
    print("transformers %s, torch %s" % (transformers.__version__, torch.__version__))
    torch.set_num_threads(1)  # small models: several threads wait for each other
    torch.set_grad_enabled(False)
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    for model_name in sys.argv[2:] or sorted(os.listdir(sys.argv[1])):
        if os.path.exists(os.path.join(sys.argv[1], model_name, "isobath.json")):
            check_model(os.path.join(sys.argv[1], model_name), model_name)
