"""depth_kind scaled."""

import torch
from torch import nn

from .block import Depth, constant, unit_rms

# ---- Scaled depth: a learned factor a on what each layer adds, small ones being skips ----------------------------------------------------


class Scale(nn.Module):
    """One factor for a layer, for each of its channels, or for each token (from its state)."""

    def __init__(self, config):
        super().__init__()
        if config.scale == "token":
            self.weight, self.bias = nn.Parameter(torch.zeros(config.hidden_size)), nn.Parameter(torch.zeros(1))
        else:
            self.factor = nn.Parameter(torch.ones(config.hidden_size if config.scale == "channel" else 1))

    def forward(self, x):  # [B, T, 1], or for all tokens [1] or [D]
        return (unit_rms(x) @ self.weight + self.bias).sigmoid()[..., None] if hasattr(self, "weight") else self.factor


class DepthScale(nn.Module):
    def __init__(self):
        super().__init__()
        self.threshold = constant(2)  # scale token: a token runs where its factor exceeds threshold[0] + cut
        self.cut = constant(1)  # set by the last calibration
        self.hardened = constant(1)  # 1 once small factors are skips; before that every layer runs every token


class ScaledDepth(Depth):
    """h = x + a attention(x), y = h + a mlp(h)"""

    @staticmethod
    def layer_parts(config, index):
        return {"scale": Scale(config)}

    @staticmethod
    def model_parts(config):
        return {"depth_scale": DepthScale()}

    def run_layer(self, index, layer, block, x):
        this, state, rows = self.this, self.model.depth_scale, self.this.everyone
        factor, by_token, hard = layer.scale(x), self.config.scale == "token", bool(state.hardened > 0)
        score = factor[..., 0] if by_token else factor.abs().mean().expand(x.shape[:2])
        runs = rows.filled
        if hard:
            runs = runs & ((score > state.threshold[0] + state.cut) if by_token else score != 0)
        if hard and by_token:
            rows, factor = rows.where(runs), rows.where(runs).of(factor)
        this.selected.append(runs)
        this.scores.append(score)
        if hard and not by_token and not factor.any():  # the hardening has set the factors of this layer to 0
            return x
        return rows.added(x, factor * block.delta(x, rows, this, index, self.config.skipped_kv == "keep", factor))


KindOfDepth = ScaledDepth
