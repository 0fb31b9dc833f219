"""depth_kind mod."""

from torch import nn

from .block import Depth, unit_rms
from .router import Predictor, Router, route

# ---- Mixture-of-Depths: routed layers run some of the tokens -----------------------------------------------------------------------------


class SkipPath(nn.Module):
    """What a skipped token gets instead of the block."""

    def __init__(self, config):
        super().__init__()
        rank = config.hidden_size if config.skip_path == "linear" else config.skip_rank
        self.down = nn.Linear(config.hidden_size, rank, bias=False) if config.skip_path == "low_rank" else nn.Identity()
        self.up = nn.Linear(rank, config.hidden_size, bias=False)

    def forward(self, x):
        return self.up(self.down(unit_rms(x).to(x.dtype)))


class MixtureOfDepths(Depth):
    """Equation 1 of the paper: x + r f(x) for the tokens that run, x for the others. f sees only the tokens that run; r may go through a gate."""

    @staticmethod
    def layer_parts(config, index):
        if index not in config.routed_layers:
            return {}
        parts = {"router": Router(config)}
        if config.causal == "predictor":
            parts["predictor"] = Predictor(config)
        if config.skip_path != "identity":
            parts["skip"] = SkipPath(config)
        return parts

    def run_layer(self, index, layer, block, x):
        config, this, everyone = self.config, self.this, self.this.everyone
        if index not in config.routed_layers:
            return super().run_layer(index, layer, block, x)
        if config.target == "mlp":  # attention runs for every token, and the router scores what comes out of it
            x = x + block.attention_delta(x, everyone, this, index)
        capacity = config.capacities[config.routed_layers.index(index)]
        r, runs = route(layer, config, capacity, x, this, everyone.filled)
        rows = everyone.where(runs)
        result = rows.added(x, layer.router.gate(rows.of(r))[..., None] * self.routed_delta(index, block, x, rows))
        if config.skip_path != "identity":
            skipped = everyone.where(~runs)
            result = skipped.added(result, layer.skip(skipped.of(x)))
        if config.target == "attention":  # the MLP runs for every token
            result = result + block.mlp_delta(result)
        this.selected.append(runs)
        this.scores.append(r)
        return result

    def routed_delta(self, index, block, x, rows):
        keep = self.config.skipped_kv == "keep"  # skipped tokens still have keys and values
        if self.config.target == "mlp":
            return block.mlp_delta(rows.of(x))
        if self.config.target == "attention":
            return block.attention_delta(x, rows, self.this, index, keep)
        return block.delta(x, rows, self.this, index, keep)


KindOfDepth = MixtureOfDepths
