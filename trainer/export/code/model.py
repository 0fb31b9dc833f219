"""The model of every kind of depth, as transformers wants it."""

import inspect
from dataclasses import dataclass

import torch
import torch.nn.functional as F
import transformers
from torch import nn
from transformers import GenerationMixin, PreTrainedModel
from transformers.utils import ModelOutput

from .block import Block, Pass, RMSNorm, RoutedCache, Rows
from .configuration_isobath import IsobathConfig
from .mod import KindOfDepth  # an exported file has that of its own kind of depth

# ---- The model ---------------------------------------------------------------------------------------------------------------------------


@dataclass
class IsobathModelOutput(ModelOutput):
    last_hidden_state: torch.Tensor | None = None
    cache: RoutedCache | None = None
    selected: tuple | None = None  # [B, T] for each layer that decides: which tokens it ran
    scores: tuple | None = None  # [B, T] for each of these: r, the probability of going on, or the factor


@dataclass
class IsobathOutput(ModelOutput):
    loss: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    cache: RoutedCache | None = None
    selected: tuple | None = None
    scores: tuple | None = None


class IsobathPreTrainedModel(PreTrainedModel):
    config_class = IsobathConfig
    base_model_prefix = "model"
    _supports_sdpa = True  # Attention uses it whatever is asked for
    _is_stateful = True  # no rolling back: a layer's cache does not tell how many tokens were read
    _keys_to_ignore_on_load_unexpected = [r"depth_gate\.(price|chosen)$", r"depth_scale\.depth_sum$"]  # training alone reads them

    @classmethod
    def _supports_default_dynamic_cache(cls):
        return False  # generation begins with a RoutedCache instead

    def post_init(self):
        """Numbers that decide which tokens run stay in float32: rounded to 16 bits they would choose other tokens."""
        present = {part for name, _ in self.named_parameters() for part in name.split(".")}
        self._keep_in_fp32_modules_strict = sorted({"router", "predictor", "depth_gate", "depth_scale", "scale"} & present)
        super().post_init()


class IsobathModel(IsobathPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList()
        for index in range(config.num_hidden_layers):
            self.layers.append(Block(config) if KindOfDepth.block_of(config, index) == index else nn.Module())
            for name, part in KindOfDepth.layer_parts(config, index).items():
                self.layers[index].add_module(name, part)
        for name, part in KindOfDepth.model_parts(config).items():
            self.add_module(name, part)
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.post_init()

    def get_input_embeddings(self):
        return self.embed_tokens

    def set_input_embeddings(self, embedding):
        self.embed_tokens = embedding

    def begin(self, input_ids, attention_mask, cache, routing):
        """What the layers of this pass share. Places in a text are counted without padding."""
        config = self.config
        if routing == "topk" and not config.capacities:
            raise ValueError("routing 'topk' exists for Mixture-of-Depths and for nested depth with choice 'expert'")
        if routing not in ("causal", "topk"):
            raise ValueError(f"routing is 'causal' or 'topk', not {routing!r}")
        if routing == "topk" and cache is not None:
            raise ValueError("routing 'topk' compares a token with later ones: it takes whole texts, and generates none")
        B, T = input_ids.shape
        real = torch.ones_like(input_ids, dtype=torch.bool) if attention_mask is None else attention_mask[:, -T:].bool()
        position = real.cumsum(1) - 1 + (cache.length if cache is not None else 0)
        position = position.clamp(min=0)
        if cache is not None:
            cache.tokens, cache.length = cache.tokens + T, cache.length + real.sum(1, keepdim=True)
        half = config.hidden_size // config.num_attention_heads // 2
        angle = position[..., None] * config.rope_theta ** (-torch.arange(half, device=position.device, dtype=torch.float64) / half)
        index = torch.arange(T, device=position.device).expand(B, T)
        return Pass(input_ids, position, Rows(index, real, angle.cos().float(), angle.sin().float()), cache, routing)

    def forward(self, input_ids, attention_mask=None, cache=None, past_key_values=None, use_cache=False, routing=None, **unused):
        """routing: "causal" (the default) is how generation routes. "topk" is how most models were trained: every routed layer takes the best
        tokens of the whole text, so that a token's logits depend on later tokens. Its losses are no losses of a language model."""
        cache = cache if cache is not None else past_key_values
        if cache is None and use_cache:
            cache = RoutedCache()
        this = self.begin(input_ids, attention_mask, cache, routing or self.config.routing)
        depth, x = KindOfDepth(self, this), self.embed_tokens(input_ids)
        for index, layer in enumerate(self.layers):
            x = depth.run_layer(index, layer, self.layers[KindOfDepth.block_of(self.config, index)], x)
        return IsobathModelOutput(depth.finish(x), cache, tuple(this.selected), tuple(this.scores))


# What generate() calls the cache: past_key_values, in later versions cache.
CACHE = "cache" if "cache" in inspect.signature(GenerationMixin.prepare_inputs_for_generation).parameters else "past_key_values"
TIED = {"lm_head.weight": "model.embed_tokens.weight"}


class IsobathForCausalLM(IsobathPreTrainedModel, GenerationMixin):
    _tied_weights_keys = list(TIED) if int(transformers.__version__.split(".")[0]) < 5 else TIED

    def __init__(self, config):
        super().__init__(config)
        self.model = IsobathModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self):
        return self.model.embed_tokens

    def set_input_embeddings(self, embedding):
        self.model.embed_tokens = embedding

    def get_output_embeddings(self):
        return self.lm_head

    def set_output_embeddings(self, head):
        self.lm_head = head

    def forward(self, input_ids, attention_mask=None, labels=None, cache=None, past_key_values=None, use_cache=False, routing=None,
                logits_to_keep=0, num_items_in_batch=None, **unused):
        """Logits and, with labels (the input ids; -100: not counted), the mean loss. routing: see IsobathModel.forward."""
        result = self.model(input_ids, attention_mask, cache, past_key_values, use_cache, routing)
        logits = self.lm_head(result.last_hidden_state[:, -logits_to_keep:] if logits_to_keep else result.last_hidden_state)
        loss = None
        if labels is not None:
            losses = F.cross_entropy(logits[:, :-1].float().transpose(1, 2), labels[:, 1:], reduction="sum")
            loss = losses / (num_items_in_batch or (labels[:, 1:] != -100).sum())
        return IsobathOutput(loss, logits, result.cache, result.selected, result.scores)

    def prepare_inputs_for_generation(self, input_ids, attention_mask=None, cache=None, past_key_values=None, use_cache=True, routing=None, **unused):
        """Generation routes causally, whatever the configuration says: top-k would need tokens that are not written yet."""
        if routing not in (None, "causal"):
            raise ValueError("generation routes causally: routing 'topk' would need tokens that are not written yet")
        cache = cache if cache is not None else past_key_values
        if cache is None and use_cache:
            cache = RoutedCache()
        unread = input_ids if cache is None else input_ids[:, cache.tokens :]
        return {"input_ids": unread, "attention_mask": attention_mask, "cache": cache, "routing": "causal", "logits_to_keep": 1}

    def _update_model_kwargs_for_generation(self, outputs, model_kwargs, *more, **options):
        model_kwargs = super()._update_model_kwargs_for_generation(outputs, model_kwargs, *more, **options)
        model_kwargs[CACHE] = outputs.cache
        return model_kwargs
