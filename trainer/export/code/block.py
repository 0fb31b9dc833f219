"""Rows, cache and block: the same for every kind of depth."""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import nn

# ---- Rows and cache: which tokens run, and what later tokens see of them -----------------------------------------------------------------


@dataclass
class Rows:
    """Some tokens of this pass, R of each text. Of texts that have fewer the rest is not `filled`: it is computed, and counts for nothing."""

    index: torch.Tensor  # [B, R] which tokens of this pass
    filled: torch.Tensor  # [B, R]
    cos: torch.Tensor  # [B, R, E/2] the rotary embedding at the token's own place in the text, whichever tokens run
    sin: torch.Tensor

    def of(self, x):
        """[B, T, ...] -> [B, R, ...]"""
        index = self.index if x.dim() == 2 else self.index[..., None].expand(-1, -1, x.shape[2])
        return x.gather(1, index)

    def where(self, runs):
        """Those of all rows where runs [B, T] holds. They keep their order."""
        runs = runs & self.filled
        index = (~runs).byte().argsort(dim=1, stable=True)[:, : int(runs.sum(1).max())]
        return Rows(index, runs.gather(1, index), *(each.gather(1, index[..., None].expand(-1, -1, each.shape[2])) for each in (self.cos, self.sin)))

    def added(self, x, delta):
        """x [B, T, D] with delta [B, R, D] added to these rows."""
        delta = (delta * self.filled[..., None]).to(x.dtype)
        return x.scatter_add(1, self.index[..., None].expand_as(delta), delta)


class RoutedCache:
    """Keys and values of the tokens that ran, layer by layer. A layer that skips a token stores nothing for it. Where a layer runs a token of one
    text and skips that of another, the other text gets an empty place, which nobody sees."""

    def __init__(self):
        self.tokens = 0  # read so far, padding included
        self.length = 0  # [B] read so far, without padding
        self.layers = {}  # layer -> keys [B, G, S, E], values, filled [B, S]
        self.prefix = None  # nested depth with choice sequence: sum [B, D] and number [B, 1] of the first states

    def add(self, layer, *new):
        """Appends keys, values and filled. Returns all that the layer has."""
        if layer in self.layers:
            new = [torch.cat([old, more], dim=old.dim() - (2 if old.dim() == 4 else 1)) for old, more in zip(self.layers[layer], new)]
        self.layers[layer] = new
        return new

    def get_seq_length(self, layer_idx=0):
        return self.tokens

    def reorder_cache(self, order):  # of beam search
        self.length = self.length[order]
        self.layers = {layer: [each[order] for each in stored] for layer, stored in self.layers.items()}
        self.prefix = self.prefix and [each[order] for each in self.prefix]


@dataclass
class Pass:
    """What the layers of one forward pass share."""

    ids: torch.Tensor  # [B, T]
    position: torch.Tensor  # [B, T] place in the text, from 0
    everyone: Rows  # all tokens that are no padding
    cache: RoutedCache | None
    routing: str
    selected: list = field(default_factory=list)  # what each routed layer decided and by which scores, [B, T] each
    scores: list = field(default_factory=list)


# ---- The block: that of Llama ------------------------------------------------------------------------------------------------------------


def unit_rms(x, eps=1e-6):
    x = x.float()
    return x * (x.square().mean(-1, keepdim=True) + eps).rsqrt()


def constant(size):
    """Numbers that training or calibration has set, and no gradient."""
    return nn.Parameter(torch.zeros(size), requires_grad=False)


class RMSNorm(nn.Module):
    def __init__(self, size, eps):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(size)), eps

    def forward(self, x):
        return (self.weight * unit_rms(x, self.eps)).to(x.dtype)


def rotate(x, rows):  # x [B, heads, R, E]; turns the pairs (i, i + E/2)
    (a, b), cos, sin = x.chunk(2, -1), rows.cos[:, None], rows.sin[:, None]
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1).to(x.dtype)


class Attention(nn.Module):
    def __init__(self, config):
        super().__init__()
        D, H, G = config.hidden_size, config.num_attention_heads, config.num_key_value_heads
        self.E, self.repeat = D // H, H // G
        self.q_proj = nn.Linear(D, H * self.E, bias=False)
        self.k_proj = nn.Linear(D, G * self.E, bias=False)
        self.v_proj = nn.Linear(D, G * self.E, bias=False)
        self.o_proj = nn.Linear(H * self.E, D, bias=False)
        self.q_norm = RMSNorm(self.E, config.rms_norm_eps) if config.qk_norm else nn.Identity()
        self.k_norm = RMSNorm(self.E, config.rms_norm_eps) if config.qk_norm else nn.Identity()

    def forward(self, x_queries, queries, x_keys, keys, cache, layer):
        """Each query sees the keys of this pass that are not behind it, and all that the cache has."""
        q, k, v = (
            linear(x).unflatten(2, (-1, self.E)).transpose(1, 2)  # [B, heads, R, E]
            for linear, x in ((self.q_proj, x_queries), (self.k_proj, x_keys), (self.v_proj, x_keys))
        )
        q, k, filled = rotate(self.q_norm(q), queries), rotate(self.k_norm(k), keys), keys.filled
        sees = keys.filled[:, None] & (keys.index[:, None] <= queries.index[..., None])  # [B, R, S]
        sees |= keys.index[:, None] == queries.index[..., None]  # rows that are not filled see themselves: a sum over nothing is no number
        if cache is not None:
            k, v, filled = cache.add(layer, k, v, filled)
            before = filled[:, None, : filled.shape[1] - keys.filled.shape[1]]
            sees = torch.cat([before.expand(-1, q.shape[2], -1), sees], dim=2)
        k, v = k.repeat_interleave(self.repeat, 1), v.repeat_interleave(self.repeat, 1)
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=sees[:, None])
        return self.o_proj(attended.transpose(1, 2).flatten(2))


class MLP(nn.Module):
    def __init__(self, config):
        super().__init__()
        D, inner = config.hidden_size, config.intermediate_size
        self.gated = config.hidden_act == "silu"
        if self.gated:
            self.gate_proj = nn.Linear(D, inner, bias=False)
        self.up_proj = nn.Linear(D, inner, bias=False)
        self.down_proj = nn.Linear(inner, D, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x) if self.gated else F.gelu(self.up_proj(x), approximate="tanh"))


class Block(nn.Module):
    """h = x + attention(x), y = h + mlp(h). What it adds is asked for instead of y: a routed layer weighs it first."""

    def __init__(self, config):
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = MLP(config)

    def attention_delta(self, x, rows, this, layer, keep=False):
        """What attention adds to these rows of x [B, T, D]: [B, R, D]. They see each other or, with `keep`, all tokens."""
        queries = self.input_layernorm(rows.of(x))
        keys = self.input_layernorm(this.everyone.of(x)) if keep else queries
        return self.self_attn(queries, rows, keys, this.everyone if keep else rows, this.cache, layer)

    def mlp_delta(self, x):
        return self.mlp(self.post_attention_layernorm(x))

    def delta(self, x, rows, this, layer, keep=False, factor=1):
        """What the whole block adds to these rows of x: f(x) in the papers. `factor` is for scaled depth: the MLP reads x + factor * attention(x)."""
        attended = self.attention_delta(x, rows, this, layer, keep)
        return attended + self.mlp_delta(rows.of(x) + (factor * attended).to(x.dtype))


class Depth:
    """Which tokens go through which layers: here all through all. An object lives for one forward pass. Kinds of depth derive from this class."""

    def __init__(self, model, this):
        self.model, self.config, self.this = model, model.config, this

    @staticmethod
    def layer_parts(config, index):
        """Modules that this layer has beside its block, by name."""
        return {}

    @staticmethod
    def model_parts(config):
        return {}

    @staticmethod
    def block_of(config, index):
        """The layer whose block this layer runs."""
        return index

    def run_layer(self, index, layer, block, x):
        return x + block.delta(x, self.this.everyone, self.this, index)

    def finish(self, x):
        return self.model.norm(x)
