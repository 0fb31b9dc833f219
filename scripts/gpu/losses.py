"""Losses of runs, and how far two of them are apart."""

from common import Failed


def largest_relative(a, b):
    if len(a) != len(b) or not a:
        raise Failed(f"{len(a)} values against {len(b)}: the two runs did not log the same steps")
    if any(value is None for value in a + b):
        return float("inf")
    return max(abs(x - y) / abs(y) for x, y in zip(a, b))


def train_losses(records):
    return [r["train_loss"] for r in records if r["kind"] == "train"]


def final_losses(records):
    for r in records:
        if r["kind"] == "validation" and r.get("final"):
            return {"topk": r["loss_topk"], "causal": r.get("loss_causal", r["loss_topk"])}
    raise Failed("a run ended without its final validation")


def largest_final(a, b):
    return max(largest_relative([a[key]], [b[key]]) for key in a)


def smoothed(values, over):
    return [sum(values[i - over:i]) / over for i in range(over, len(values) + 1)]


def held(value, threshold):
    return {"value": value, "threshold": threshold, "pass": value <= threshold}


def count(text):
    """64Ki -> 65536"""
    units = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "K": 10**3, "M": 10**6, "G": 10**9}
    for unit, factor in units.items():
        if text.endswith(unit):
            return int(float(text[:-len(unit)]) * factor)
    return int(text)
