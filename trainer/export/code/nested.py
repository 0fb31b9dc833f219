"""depth_kind nested."""

import torch
import torch.nn.functional as F
from torch import nn

from .block import Depth, RMSNorm, constant, unit_rms
from .router import Predictor, Router, route

# ---- Nested depth: a token leaves at an exit, or goes on to the last layer ---------------------------------------------------------------


class DepthGate(nn.Module):
    """One logit for each branch; branch b is exits[b] layers deep, the last one all layers."""

    def __init__(self, config):
        super().__init__()
        branches, inner = len(config.exits) + 1, config.router_width if config.router == "mlp" else config.hidden_size
        if config.router == "mlp":
            self.up = nn.Linear(config.hidden_size, inner, bias=False)
        self.weight, self.bias = nn.Parameter(torch.zeros(branches, inner)), nn.Parameter(torch.zeros(branches))
        self.balance = constant(branches)  # what training has added to keep all branches in use
        self.cut = constant(1)  # set by the last calibration, so that the mean depth is the one asked for

    def forward(self, x):
        x = unit_rms(x)
        return F.linear(F.silu(self.up(x)) if hasattr(self, "up") else x, self.weight, self.bias)


class NestedDepth(Depth):
    """Past an exit go the tokens whose branch is deeper (choice token, sequence) or that the exit's router selects (choice expert)."""

    @staticmethod
    def layer_parts(config, index):
        if config.choice != "expert" or index not in config.exits:
            return {}
        return {"router": Router(config)} | ({"predictor": Predictor(config)} if config.causal == "predictor" else {})

    @staticmethod
    def model_parts(config):
        parts = {} if config.choice == "expert" else {"depth_gate": DepthGate(config)}
        if config.exit_norms:
            parts["exit_norms"] = nn.ModuleList(RMSNorm(config.hidden_size, config.rms_norm_eps) for _ in config.exits)
        return parts

    @staticmethod
    def block_of(config, index):
        """With `recursion` the stacks of layers behind the first exit share one stack's blocks."""
        if not config.recursion or index < config.exits[1]:
            return index
        return config.exits[0] + (index - config.exits[0]) % (config.exits[1] - config.exits[0])

    def __init__(self, model, this):
        super().__init__(model, this)
        self.expert = self.config.choice == "expert"
        self.in_prefix = None  # choice sequence: the tokens that the branch is decided from, [B, T]
        self.goes_on = []  # one for each exit passed: which tokens went on, [B, T]
        self.score = self.weight = None  # [B, T] factor on what layers behind the last exit add

    def run_layer(self, index, layer, block, x):
        config, this, exit = self.config, self.this, len(self.goes_on)
        if not self.expert and index == config.decide_after:
            self.choose_branch(x)
        if exit < len(config.exits) and config.exits[exit] == index:
            if self.expert:
                self.select(exit, layer, x)
            else:
                self.pass_exit(exit)
        if not self.goes_on:
            return super().run_layer(index, layer, block, x)
        rows = this.everyone.where(self.goes_on[-1])
        this.selected.append(self.goes_on[-1])
        this.scores.append(self.score)
        return rows.added(x, rows.of(self.weight)[..., None] * block.delta(x, rows, this, index, config.skipped_kv == "keep"))

    def choose_branch(self, x):
        """Gives every token its branch, from its own state or from the mean state of the first tokens of its text."""
        config, this = self.config, self.this
        sequence = config.choice == "sequence"
        if sequence:
            self.in_prefix = this.everyone.filled & (this.position < config.prefix_tokens)
        gate = self.model.depth_gate
        logits = gate(self.prefix_mean(x)[:, None].expand_as(x) if sequence else x)
        self.probability = logits.softmax(-1)
        depths = torch.tensor([*config.exits, config.num_hidden_layers], device=x.device) / config.num_hidden_layers
        self.branch = (logits + gate.balance + gate.cut * depths).argmax(-1)
        if sequence:  # the tokens that are decided from take the deepest branch themselves
            self.branch = self.branch.masked_fill(self.in_prefix, len(config.exits))

    def prefix_mean(self, x):
        total = (x.float() * self.in_prefix[..., None]).sum(1)
        count = self.in_prefix.sum(1, keepdim=True)
        if self.this.cache is not None:
            if self.this.cache.prefix is not None:
                total, count = total + self.this.cache.prefix[0], count + self.this.cache.prefix[1]
            self.this.cache.prefix = [total, count]
        return total / count.clamp(min=1)

    def pass_exit(self, exit):
        """Past this exit go the tokens whose branch is deeper."""
        self.goes_on.append((self.branch > exit) & self.this.everyone.filled)
        self.score = self.probability[..., exit + 1 :].sum(-1)
        self.weight = self.score if self.config.gate_training == "weight" else torch.ones_like(self.score)
        if self.in_prefix is not None:
            self.weight = self.weight.masked_fill(self.in_prefix, 1)

    def select(self, exit, layer, x):
        """Expert choice: a router as in Mixture-of-Depths selects among the tokens that are still here."""
        candidates = self.goes_on[-1] if self.goes_on else self.this.everyone.filled
        r, runs = route(layer, self.config, self.config.capacities[exit], x, self.this, candidates)
        self.goes_on.append(runs)
        self.score, self.weight = r.masked_fill(~candidates, -torch.inf), layer.router.gate(r)

    def finish(self, x):
        if not self.config.exit_norms:
            return super().finish(x)
        first, *deeper = [*self.model.exit_norms, self.model.norm]
        result = first(x)
        for goes_on, norm in zip(self.goes_on, deeper):
            result = torch.where(goes_on[..., None], norm(x), result)
        return result


KindOfDepth = NestedDepth
