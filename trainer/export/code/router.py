"""Routers: of depth_kind mod, and of nested with choice expert."""

import torch
import torch.nn.functional as F
from torch import nn

from .block import constant, unit_rms

# ---- The router: which tokens run, and with what weight ----------------------------------------------------------------------------------


class Vector(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(size))


class Router(nn.Module):
    """r = w x, one score a token: the highest run. Behind the gate it is the weight of what the block adds, which is how a router learns."""

    def __init__(self, config):
        super().__init__()
        self.kind, self.normalised = config.router, config.router_input == "normalised"
        self.gate_kind, self.alpha = config.gate, config.gate_alpha
        if self.kind in ("linear", "cosine"):
            self.weight = nn.Parameter(torch.zeros(config.hidden_size))
        if self.kind == "mlp":
            self.up, self.down = nn.Linear(config.hidden_size, config.router_width, bias=False), Vector(config.router_width)
        if self.kind == "position":
            self.position = Vector(config.max_position_embeddings)
        if self.kind == "token":
            self.token = Vector(config.vocab_size)
        if config.causal in ("threshold", "none"):
            self.threshold = constant(2)  # running threshold of training, and how many steps have moved it
        self.cut = constant(1)  # set by the last calibration

    def score(self, x, this):
        """x [B, T, D] -> r [B, T]"""
        x = unit_rms(x) if self.normalised else x.float()
        if self.kind == "linear":
            return x @ self.weight
        if self.kind == "mlp":
            return F.silu(self.up(x)) @ self.down.weight
        if self.kind == "cosine":
            return unit_rms(x) @ unit_rms(self.weight) / x.shape[-1] ** 0.5
        if self.kind == "position":
            return self.position.weight[this.position]
        if self.kind == "token":
            return self.token.weight[this.ids]
        return x.square().mean(-1).sqrt()  # norm

    def gate(self, r):
        """g(r), the factor on what the block adds"""
        if self.gate_kind == "raw":  # the paper's
            return r
        if self.gate_kind == "sigmoid":
            return self.alpha * r.sigmoid()
        if self.gate_kind == "sigmoid2":
            return 2 * r.sigmoid()
        return 1 + 0.2 * r.tanh() if self.gate_kind == "tanh" else torch.ones_like(r)


class Predictor(nn.Module):
    """Guesses from a token's state alone whether top-k would select it (section 3.5 of the paper)."""

    def __init__(self, config):
        super().__init__()
        self.up, self.down = nn.Linear(config.hidden_size, config.predictor_width), nn.Linear(config.predictor_width, 1)

    def forward(self, x):
        return self.down(F.silu(self.up(unit_rms(x))))[..., 0]


def causal_decision(layer, causal, x, r):
    """Which tokens run, [B, T]. No token's answer depends on another token. The cut is set by calibration, so that the planned share passes."""
    if causal == "predictor":
        return layer.predictor(x) > layer.router.cut
    if causal == "bce":
        return r > layer.router.cut
    return r - layer.router.threshold[0] > layer.router.cut


def top_k(r, capacity, this, candidates):
    """The K best candidates of each text, K being a share of its tokens. This compares a token with later ones. Of equals the earlier is taken."""
    length = this.everyone.filled.sum(1, keepdim=True)
    K = (capacity * length.double() + 1e-9).floor().clamp(min=1).minimum(length)
    order = r.masked_fill(~candidates, -torch.inf).sort(dim=1, descending=True, stable=True).indices
    return (order.argsort(dim=1) < K) & candidates


def route(layer, config, capacity, x, this, candidates):
    """Scores r [B, T], and which of the candidates run."""
    r = layer.router.score(x, this)
    if this.routing == "topk":
        return r, top_k(r, capacity, this, candidates)
    if capacity == 1:  # nothing to decide
        return r, candidates
    return r, candidates & causal_decision(layer, config.causal, x, r)
