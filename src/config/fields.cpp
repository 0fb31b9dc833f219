#include "config/fields.h"

#include <algorithm>
#include <utility>

#include "config/routers.h"
#include "config/values.h"

namespace isobath {
namespace {

// A table row under construction; the setters read like the sentence they stand for.
template <class Owner>
struct Row : FieldOf<Owner> {
  Row(char const* path, FieldRef (*at)(Owner&), Kind kind, ResumeClass resume, char const* doc) {
    this->path = path;
    this->at = at;
    this->kind = kind;
    this->resume = resume;
    this->doc = doc;
    if (kind == Kind::choice) this->choices = default_choices(at);
    if (kind == Kind::fraction || kind == Kind::percent || kind == Kind::fraction_list) between(0, 1);
  }
  // The names of a Choice<E>; a text that is chosen from a table gets its names by one_of().
  static std::vector<std::string> default_choices(FieldRef (*at)(Owner&)) {
    static Owner defaults;
    FieldRef const target = at(defaults);
    auto* const choice = std::get_if<AnyChoice*>(&target);
    return choice ? std::vector<std::string>((*choice)->names().begin(), (*choice)->names().end()) : std::vector<std::string>();
  }
  Row& between(double low, double high) {
    this->min = low;
    this->max = high;
    return *this;
  }
  Row& at_least(double low) {
    this->min = low;
    return *this;
  }
  Row& above(double low) {
    this->min = low;
    this->above_min = true;
    return *this;
  }
  Row& below(double high) {
    this->max = high;
    this->below_max = true;
    return *this;
  }
  Row& one_of(std::vector<std::string> choices) {
    this->choices = std::move(choices);
    return *this;
  }
  Row& in(std::vector<Unit> units) {
    this->units = std::move(units);
    return *this;
  }
  Row& zero_is(char const* word) {
    this->zero_word = word;
    return *this;
  }
  Row& may_be_empty_too() {
    this->may_be_empty = true;
    return *this;
  }
};

// The path of a key is the name of its member.
#define KEY(member) #member, [](Config & config) -> FieldRef { return &config.member; }
#define MATCH_KEY(member) #member, [](MatchConfig & match) -> FieldRef { return &match.member; }

std::vector<std::string> router_names() {
  std::vector<std::string> names;
  for (RouterKind const& kind : router_kinds()) names.push_back(kind.name);
  return names;
}

std::vector<ConfigField> make_fields() {
  using enum Kind;
  using enum ResumeClass;
  using R = Row<Config>;
  std::vector<Unit> const cadence{Unit::step, Unit::token, Unit::flop, Unit::epoch, Unit::percent};
  std::vector<Unit> const budget{Unit::step, Unit::token, Unit::flop, Unit::epoch};
  double const largest_count = 9007199254740992.0;  // 2^53

  return {
      R(KEY(name), text, free, "Names the run; its folder is run_dir/name."),
      R(KEY(run_dir), text, free, "Folder that holds the run folders."),
      R(KEY(seed), integer, identity, "Initial values and data order; the split and the tokenizer never depend on it.")
          .between(0, largest_count),
      R(KEY(device), text, free, "Where the model runs: cpu, cuda, cuda:1, or auto (the first GPU, else the CPU)."),
      R(KEY(precision), choice, identity,
        "Number format of activations and matrix products; weights, optimizer, norms, router scores and losses are always fp32."),
      R(KEY(cuda_attention), choice, free, "Attention kernel that trains bf16 on a GPU: FlashAttention or cuDNN's."),

      R(KEY(data.sources), text_list, identity,
        "Files, folders or globs of text, source code, .jsonl, .gz, .zst; libtorch-headers is built in."),
      R(KEY(data.valid_sources), text_list, identity, "Validation text of its own; empty: split from data.sources.").may_be_empty_too(),
      R(KEY(data.split), choice, identity, "How validation text is taken: whole documents by their content, or the tail of the text."),
      R(KEY(data.valid_fraction), fraction, identity, "Share of the text kept for validation.").above(0).below(1),
      R(KEY(data.max_bytes), count, identity, "Bytes of text to use at most.").at_least(1).zero_is("all"),
      R(KEY(data.text_key), text, identity, "Name of the text in .jsonl objects."),
      R(KEY(data.isolate_documents), boolean, identity, "Attention and positions stop at document borders inside a sequence."),
      R(KEY(data.cache_dir), text, free, "Where prepared data is kept; auto: the user's cache folder ($XDG_CACHE_HOME, else ~/.cache)."),

      R(KEY(tokenizer.kind), text, identity, "bpe, byte, or the path of a tokenizer.model."),
      R(KEY(tokenizer.vocab_size), count, identity, "Size of a bpe vocabulary trained on the text.").between(300, 1 << 20),
      R(KEY(tokenizer.train_bytes), count, identity, "Bytes of text the bpe is trained on at most.").at_least(1024),

      R(KEY(model.layers), integer, identity, "Blocks.").between(1, 4096),
      R(KEY(model.width), integer, identity, "Width of the residual stream.").between(1, 1 << 20),
      R(KEY(model.heads), integer, identity, "Attention heads; divides width into an even head size.").between(1, 1 << 16),
      R(KEY(model.kv_heads), integer, identity, "Key and value heads; divides heads.").between(1, 1 << 16),
      R(KEY(model.mlp), choice, identity, "Kind of MLP."),
      R(KEY(model.mlp_width), integer, identity,
        "Hidden width of the MLP; auto: 8/3 of the width (swiglu) or 4 times (gelu), rounded up to 8.")
          .between(1, 1 << 22)
          .zero_is("auto"),
      R(KEY(model.context), count, identity, "Tokens in a training sequence.").between(1, 1 << 24),
      R(KEY(model.tie_embeddings), boolean, identity, "The output head shares the embedding's weights."),
      R(KEY(model.rope_theta), real, identity, "Base of the rotary frequencies.").above(0),
      R(KEY(model.norm_eps), real, identity, "Added to the mean square in RMSNorm.").above(0).below(1),
      R(KEY(model.init_std), real, identity, "Standard deviation of initial weights; auto: 0.5 / sqrt(width).")
          .above(0)
          .below(10)
          .zero_is("auto"),
      R(KEY(model.qk_norm), boolean, identity, "RMSNorm on queries and keys."),

      R(KEY(depth.kind), choice, identity,
        "dense: every token through every block; mod: Mixture-of-Depths; nested: branches of different depth that share their first "
        "layers; scaled: a learned factor on what each layer adds.")
          .one_of({"dense", "mod", "nested", "scaled"}),
      R(KEY(depth.capacity), fraction_list, identity,
        "Share of each sequence that a routed block lets through; a list is stretched over the routed blocks, from the first to the last.")
          .above(0),
      R(KEY(depth.capacity_warmup), percent, schedule, "Share of the run over which capacity falls from 100 % to its value."),
      R(KEY(depth.capacity_random), fraction_list, identity,
        "[lowest, highest]: every step of training draws its capacity between them, so that one model serves many.")
          .above(0)
          .zero_is("off"),
      R(KEY(depth.stride), integer, identity, "Every stride-th block is routed.").between(1, 4096),
      R(KEY(depth.offset), integer, identity, "The first routed block, counted from 0.").between(0, 4095),
      R(KEY(depth.target), choice, identity,
        "What is routed: the whole block, or its attention or MLP alone (the other half sees every token)."),
      R(KEY(depth.skip_path), choice, identity, "What a skipped token gets instead: nothing, or a linear map of its normalised state."),
      R(KEY(depth.skip_rank), integer, identity, "Rank of skip_path: low_rank; auto: width / 16.").between(1, 1 << 20).zero_is("auto"),
      R(KEY(depth.skipped_kv), choice, identity,
        "Whether later tokens of a routed attention see the keys and values of skipped ones: not, or they do."),
      R(KEY(depth.router), choice, identity, "How tokens are scored; random, position, token and norm are controls.")
          .one_of(router_names()),
      R(KEY(depth.router_input), choice, identity,
        "What linear and mlp score: the block's input, or that divided by its root mean square."),
      R(KEY(depth.router_width), integer, identity, "Hidden width of the mlp router; auto: width / 4, at least 8.")
          .between(1, 1 << 20)
          .zero_is("auto"),
      R(KEY(depth.router_lr), real, schedule, "Learning rate of routers, as a factor on train.lr.").above(0).between(0, 1000),
      R(KEY(depth.router_weight_decay), real, schedule, "AdamW's decay of routers.").between(0, 100),
      R(KEY(depth.z_loss_weight), real, schedule, "Weight of the z-loss, softplus(score)^2, which keeps scores small.").between(0, 1000),
      R(KEY(depth.score_noise), real, schedule, "Deviation of the normal noise that is added to scores when training selects.")
          .between(0, 1000),
      R(KEY(depth.gate), choice, identity,
        "What the score does to a routed block's update: factor r, gate_alpha sigmoid(r), 2 sigmoid(r), 1 + 0.2 tanh(r), or 1."),
      R(KEY(depth.gate_alpha), real, identity, "Factor of gate: sigmoid.").above(0).between(0, 1000),
      R(KEY(depth.causal), choice, identity,
        "How generation decides from the past alone: bce on the router, a predictor, a running threshold, or none (a threshold stands "
        "in)."),
      R(KEY(depth.threshold_training), boolean, identity,
        "With `causal: threshold`: training selects by it, too, and so is causal itself."),
      R(KEY(depth.bce_weight), real, schedule, "Weight of the bce loss.").between(0, 1000),
      R(KEY(depth.bce_detach), boolean, identity, "The bce trains the router alone, not the trunk below it."),
      R(KEY(depth.predictor_width), integer, identity, "Hidden width of the predictor; auto: width / 4, at least 8.")
          .between(1, 1 << 20)
          .zero_is("auto"),
      R(KEY(depth.threshold_decay), real, schedule, "Decay of the running quantile behind the threshold of `causal: none` and `threshold`.")
          .between(0, 1)
          .below(1),

      R(KEY(depth.exits), integer_list, identity,
        "nested: numbers of layers after which a token may stop, ascending; the last layer is one more.")
          .between(1, 4095)
          .zero_is("none"),
      R(KEY(depth.decide_after), integer, identity, "nested: layers before the depth network; auto: up to the first exit.")
          .between(1, 4095)
          .zero_is("auto"),
      R(KEY(depth.choice), choice, identity,
        "nested: each token has its own branch, or each sequence, decided from its beginning; expert: a router at each exit picks the "
        "tokens that go on, as mod does for a block."),
      R(KEY(depth.prefix), integer, identity,
        "nested: tokens a sequence's branch is decided from, which themselves go all the way; auto: context / 8.")
          .between(1, 1 << 24)
          .zero_is("auto"),
      R(KEY(depth.gate_training), choice, identity,
        "nested: how the depth network learns: its probability weighs what deeper layers add; drawn branches, straight through; or the "
        "best "
        "branch in hindsight."),
      R(KEY(depth.hindsight_temperature), real, schedule, "nested: softens the best branch in hindsight, in nats; 0 takes the best alone.")
          .between(0, 100),
      R(KEY(depth.balance), choice, identity,
        "nested: what keeps all branches in use: a loss (Switch Transformer), or biases that rise where tokens are missing."),
      R(KEY(depth.balance_weight), real, schedule, "nested: weight of balance: loss; step of balance: bias.").between(0, 1000),
      R(KEY(depth.price_rate), real, schedule, "nested: how fast the price of depth moves that steers to mean_depth.").between(0, 100),
      R(KEY(depth.recursion), boolean, identity, "nested: the stacks of layers behind the first exit share one stack's weights."),
      R(KEY(depth.exit_norms), boolean, identity, "nested: each branch has a final norm of its own."),
      R(KEY(depth.mean_depth), real, identity, "nested, scaled: layers a token goes through on average.")
          .above(0)
          .between(0, 4096)
          .zero_is("off"),
      R(KEY(depth.scale), choice, identity,
        "scaled: one factor for each layer (ReZero), each channel of a layer (LayerScale), or from each token's state (GateSkip)."),
      R(KEY(depth.scale_init), real, identity, "scaled: where factors start.").between(0, 1),
      R(KEY(depth.scale_weight), real, schedule, "scaled: weight of the cost of factors whose sum is above mean_depth.").between(0, 1000),
      R(KEY(depth.skip_below), real, identity, "scaled: factors below this are skipped, however many; instead of mean_depth.")
          .above(0)
          .between(0, 1)
          .zero_is("off"),
      R(KEY(depth.harden_after), percent, schedule, "scaled: share of the run after which small factors become skips."),

      R(KEY(train.budget), duration, schedule, "How long to train.").above(0).in(budget),
      R(KEY(train.batch_tokens), count, identity, "Tokens in a step; a multiple of model.context.").between(1, largest_count),
      R(KEY(train.micro_batch_tokens), count, free, "Tokens computed at once; divides batch_tokens. auto: as many as run fast.")
          .between(1, largest_count)
          .zero_is("auto"),
      R(KEY(train.lr), real, schedule, "Peak learning rate.").above(0).between(0, 100),
      R(KEY(train.min_lr), percent, schedule, "Learning rate at the end, as a share of lr."),
      R(KEY(train.schedule), choice, schedule, "Shape of the learning rate after warm-up."),
      R(KEY(train.warmup), duration, schedule, "Linear warm-up.").at_least(0).in(cadence),
      R(KEY(train.decay), duration, schedule, "Final decay of the wsd schedule.").at_least(0).in(cadence),
      R(KEY(train.weight_decay), real, schedule, "AdamW's decay of matrices; vectors are not decayed.").between(0, 100),
      R(KEY(train.betas), real_list, schedule, "AdamW's two decay rates.").between(0, 1).below(1),
      R(KEY(train.eps), real, schedule, "AdamW's epsilon.").above(0).below(1),
      R(KEY(train.clip_norm), real, schedule, "Gradients are scaled down to this norm.").above(0).zero_is("off"),
      R(KEY(train.log_every), duration, free, "How often a train record is written.").above(0).in(cadence),
      R(KEY(train.threads), integer, free, "CPU threads; auto: all that this process may use.").between(1, 4096).zero_is("auto"),

      R(KEY(eval.every), duration, free, "How often the model is validated during training.").above(0).in(cadence),
      R(KEY(eval.tokens), count, free, "Validation tokens of each of these.").at_least(1).zero_is("all"),
      R(KEY(eval.final_tokens), count, free, "Validation tokens of the evaluation that ends a run.").at_least(1).zero_is("all"),
      R(KEY(eval.routing), choice, free, "Which losses are computed: top-k routing, causal routing, or both."),
      R(KEY(eval.calibration_tokens), count, free,
        "Tokens of training text on which causal decisions are set to the capacity before a validation; off: decisions as trained.")
          .at_least(1)
          .zero_is("off"),
      R(KEY(eval.sample_tokens), count, free, "Length of the text sample after a validation.").at_least(1).zero_is("off"),
      R(KEY(eval.sample_prompt), text, free, "Beginning of that sample; empty: the model starts a document.").may_be_empty_too(),

      R(KEY(checkpoint.every), duration, free, "How often a checkpoint is written.").above(0).in(cadence),
      R(KEY(checkpoint.keep), integer, free, "Latest checkpoints kept, beside the best one.").between(1, 1 << 20),

      R(KEY(compare.baseline), text, free, "Arm that the others are held against.").may_be_empty_too(),
      R(KEY(compare.seeds), integer_list, free, "Every arm is trained once with each.").between(0, largest_count),
      R(KEY(compare.jobs), integer, free, "Runs at a time, each with its share of the cores.").between(1, 1024),
  };
}

std::vector<MatchField> make_match_fields() {
  using R = Row<MatchConfig>;
  return {
      R(MATCH_KEY(forward_flops_of), Kind::text, ResumeClass::free,
        "The arm is resized until its forward pass costs what this arm's does, within 0.5 %."),
      R(MATCH_KEY(adjust), Kind::choice, ResumeClass::free, "What is resized: layers (then mlp_width), or mlp_width alone."),
  };
}

std::string number(Field const& field, double value) { return field.kind == Kind::percent ? format_percent(value) : format_real(value); }

std::string range(Field const& field) {
  bool const low = field.min > -1e300, high = field.max < 1e300;
  std::string const above = field.above_min ? "above " : "at least ";
  if (low && high && !field.above_min && !field.below_max) {
    // Upper bounds that only guard against overflow are not worth reading.
    if (field.max > 1e15) return "at least " + number(field, field.min);
    return number(field, field.min) + " to " + number(field, field.max);
  }
  std::string text;
  if (low) text = above + number(field, field.min);
  if (high && field.max <= 1e15) {
    text += (text.empty() ? "" : ", ") + std::string(field.below_max ? "below " : "at most ") + number(field, field.max);
  }
  return text;
}

std::string joined(std::vector<std::string> const& words) {
  std::string text;
  for (std::string const& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

}  // namespace

std::vector<ConfigField> const& config_fields() {
  static std::vector<ConfigField> const fields = make_fields();
  return fields;
}

std::vector<MatchField> const& match_fields() {
  static std::vector<MatchField> const fields = make_match_fields();
  return fields;
}

ConfigField const* find_field(std::string_view path) {
  auto const& fields = config_fields();
  auto const found = std::find_if(fields.begin(), fields.end(), [&](Field const& field) { return field.path == path; });
  return found == fields.end() ? nullptr : &*found;
}

std::string_view section_of(std::string_view path) {
  auto const dot = path.find('.');
  return dot == std::string_view::npos ? std::string_view() : path.substr(0, dot);
}

bool is_section(std::string_view path) {
  auto const& fields = config_fields();
  return !path.empty() && std::any_of(fields.begin(), fields.end(), [&](Field const& field) { return section_of(field.path) == path; });
}

bool arm_may_set(std::string_view path) {
  std::string_view const section = section_of(path);
  return path != "train.budget" && (section == "model" || section == "depth" || section == "train");
}

std::string describe_values(Field const& field) {
  std::string text;
  switch (field.kind) {
    case Kind::boolean:
      return "true or false";
    case Kind::integer:
      text = "integer";
      break;
    case Kind::count:
      text = "count (64Ki, 2M)";
      break;
    case Kind::real:
      text = "number";
      break;
    case Kind::fraction:
      text = "share (0.1 or 10%)";
      break;
    case Kind::percent:
      text = "percentage (10%)";
      break;
    case Kind::duration: {
      std::vector<std::string> units;
      for (Unit const unit : field.units) units.push_back(unit_example(unit));
      return "duration (" + joined(units) + ")";
    }
    case Kind::text:
      return field.may_be_empty ? "text, may be empty" : "text";
    case Kind::choice:
      return (field.choices.size() > 1 ? "one of " : "") + joined(field.choices);
    case Kind::text_list:
      return field.may_be_empty ? "list of texts, may be empty" : "list of texts";
    case Kind::integer_list:
      text = "list of integers";
      break;
    case Kind::real_list:
      text = "list of numbers";
      break;
    case Kind::fraction_list:
      text = "share (0.1 or 10%) or a list of them";
      break;
  }
  std::string const limits = range(field);
  if (!limits.empty()) text += ", " + limits;
  if (!field.zero_word.empty()) text += ", or " + field.zero_word;
  return text;
}

}  // namespace isobath
