"""Configuration of a language model that was trained with Isobath. The keys of `depth_kind` and below say which tokens go through which layers."""

from transformers import PretrainedConfig


class IsobathConfig(PretrainedConfig):
    model_type = "isobath"
    keys_to_ignore_at_inference = ["cache"]

    def __init__(
        self,
        vocab_size=512,
        hidden_size=64,
        intermediate_size=176,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=128,
        hidden_act="silu",  # silu: down(silu(gate(x)) * up(x)); gelu_pytorch_tanh: down(gelu(up(x)))
        qk_norm=False,
        rms_norm_eps=1e-5,
        rope_theta=10000.0,
        initializer_range=0.02,
        tie_word_embeddings=True,
        depth_kind="dense",  # dense, mod, nested, scaled
        routing="causal",  # what forward() does unless told otherwise: causal, or topk, which looks at later tokens
        # Routers: of depth_kind mod, and of nested with choice expert
        router="linear",
        router_input="raw",
        router_width=16,
        gate="sigmoid",
        gate_alpha=1.0,
        causal="predictor",
        predictor_width=16,
        # depth_kind mod
        routed_layers=(),
        capacities=(),  # share of the tokens that top-k selects: one a routed layer; nested with choice expert: one an exit
        target="block",
        skip_path="identity",
        skip_rank=4,
        skipped_kv="drop",
        # depth_kind nested
        exits=(),
        choice="token",
        decide_after=1,
        prefix_tokens=16,
        gate_training="weight",
        recursion=False,
        exit_norms=False,
        # depth_kind scaled
        scale="layer",
        **kwargs,
    ):
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.intermediate_size = intermediate_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.num_key_value_heads = num_key_value_heads
        self.max_position_embeddings = max_position_embeddings
        self.hidden_act = hidden_act
        self.qk_norm = qk_norm
        self.rms_norm_eps = rms_norm_eps
        self.rope_theta = rope_theta
        self.initializer_range = initializer_range
        self.depth_kind = depth_kind
        self.routing = routing
        self.router = router
        self.router_input = router_input
        self.router_width = router_width
        self.gate = gate
        self.gate_alpha = gate_alpha
        self.causal = causal
        self.predictor_width = predictor_width
        self.routed_layers = list(routed_layers)
        self.capacities = list(capacities)
        self.target = target
        self.skip_path = skip_path
        self.skip_rank = skip_rank
        self.skipped_kv = skipped_kv
        self.exits = list(exits)
        self.choice = choice
        self.decide_after = decide_after
        self.prefix_tokens = prefix_tokens
        self.gate_training = gate_training
        self.recursion = recursion
        self.exit_norms = exit_norms
        self.scale = scale
        super().__init__(tie_word_embeddings=tie_word_embeddings, **kwargs)
