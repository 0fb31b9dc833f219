#include "trainer/compare/arms.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "data/packed_examples.h"
#include "data/packing.h"
#include "data/prepare_examples.h"
#include "data/tokenizer/tokenizer.h"
#include "format/total.h"
#include "model/depth/plan.h"
#include "trainer/schedule/schedule.h"

namespace isobath {
namespace {

// Bytes per BPE token grow with the logarithm of the vocabulary size; a quarter of log2 roughly fits English prose and code.
double guessed_bytes_per_token(int64_t vocab_size) { return std::log2(static_cast<double>(vocab_size)) / 4; }

EvaluationPlan plan_evaluation(ArmPlan const& plan, Schedule const& schedule, DataSize const& data) {
  EvalConfig const& eval = plan.config.eval;
  auto const tokens = [&](int64_t asked) {
    return asked > 0 ? std::min(static_cast<double>(asked), data.valid_tokens) : data.valid_tokens;
  };
  double const period = schedule.steps_of(eval.every);
  // The last step is validated on eval.tokens, for the curve, and on eval.final_tokens.
  double const points = 1 + (period > 0 ? std::floor(static_cast<double>(schedule.total_steps() - 1) / period + 1e-9) : 0);
  auto const depth = plan_depth(plan.config.model, plan.config.depth);
  double const passes = depth->uses_noncausal_routing() && eval.routing == EvalRouting::both ? 2 : 1;
  // At the end every branch is evaluated alone; together they cost about as much as that many average passes.
  double const branches = static_cast<double>(depth->branch_depths().size());
  bool const calibrates = !plan.routed.empty() && eval.routing != EvalRouting::topk;
  double const calibration = calibrates ? std::min(static_cast<double>(eval.calibration_tokens), data.train_tokens) : 0;
  double const forward = plan.forward();
  return {points, forward * (passes * tokens(eval.tokens) + calibration),
          forward * ((passes + branches) * tokens(eval.final_tokens) + calibration)};
}

void warn(ArmPlan& plan, Schedule const& schedule, DataSize const& data) {
  if (plan.steps < 500) plan.warnings.push_back(fmt::format("{} steps: fewer than 500 say little about longer training", plan.steps));
  if (schedule.warmup() > 0.5)
    plan.warnings.push_back(fmt::format("warm-up takes {:.0f} % of the run (train.warmup)", 100 * schedule.warmup()));
  if (plan.epochs > 1 && !data.pack)
    plan.warnings.push_back(fmt::format("{}{:.1f} epochs: the text is seen more than once", data.exact ? "" : "about ", plan.epochs));
  if (plan.longer_examples > 0)
    plan.warnings.push_back(fmt::format("{}{} examples are longer than model.context ({}) and lose their left ends",
                                        data.exact ? "" : "about ", plan.longer_examples, plan.config.model.context));
  if (plan.evaluation_share() > 0.15)
    plan.warnings.push_back(fmt::format("evaluation takes {:.0f} % of the training FLOPs (eval.every, eval.tokens, eval.final_tokens)",
                                        100 * plan.evaluation_share()));
}

// For the tokenizer of the configuration, and what a note says of it.
std::pair<double, std::string> bytes_per_token(TokenizerConfig const& tokenizer) {
  if (tokenizer.is_byte()) return {1, ", one token a byte"};
  double const guess = guessed_bytes_per_token(planned_vocab_size(tokenizer));
  return {guess, fmt::format(", at a guessed {:.1f} bytes a token (--data prepares the text and counts)", guess)};
}

DataSize::Packing packing_of(std::vector<int64_t> lengths, int64_t context) {
  int64_t tokens = 0, longer = 0;
  for (int64_t& length : lengths) {
    longer += length > context;
    length = std::min(length, context);
    tokens += length;
  }
  int64_t const windows = std::ssize(pack_examples(lengths, context));
  return {windows, 1 - static_cast<double>(tokens) / static_cast<double>(windows * context), longer};
}

DataSize estimate_examples(Config const& config) {
  ExampleSizes const sizes = example_sizes(config);
  auto const [per_token, guess] = bytes_per_token(config.tokenizer);
  double bytes = 0, valid_bytes = 0;
  std::vector<int64_t> lengths;
  for (int64_t const size : sizes.train) {
    bytes += static_cast<double>(size);
    lengths.push_back(std::max<int64_t>(1, std::llround(static_cast<double>(size) / per_token)));
  }
  for (int64_t const size : sizes.valid) valid_bytes += static_cast<double>(size);
  DataSize size{bytes / per_token,
                valid_bytes / per_token,
                false,
                fmt::format("{} examples to train on, {} for validation, {}{}", sizes.train.size(), sizes.valid.size(),
                            format_bytes(bytes + valid_bytes), guess),
                {}};
  size.pack = [lengths](int64_t context) { return packing_of(lengths, context); };
  return size;
}

std::string si(double value) { return format_si(value); }
std::string si(int64_t value) { return format_si(static_cast<double>(value)); }

// One column per arm, so that the parts of a sum are below each other.
std::string arm_columns(std::vector<ArmPlan> const& arms, bool packed) {
  std::vector<std::pair<std::string, std::vector<std::string>>> rows;
  auto const row = [&](std::string const& label, auto const& cell) {
    std::vector<std::string> cells;
    for (ArmPlan const& arm : arms) cells.push_back(cell(arm));
    rows.emplace_back(label, std::move(cells));
  };
  auto const part = [&](std::string const& label, auto const& value) {
    bool const any = std::any_of(arms.begin(), arms.end(), [&](ArmPlan const& a) { return value(a) > 0; });
    if (any) row(label, [&](ArmPlan const& a) { return value(a) > 0 ? si(value(a)) : std::string("-"); });
  };
  row("", [](ArmPlan const& a) { return a.name; });
  row("layers", [](ArmPlan const& a) { return std::to_string(a.config.model.layers); });
  row("routed layers", [](ArmPlan const& a) {
    std::string list;
    for (int64_t layer : a.routed) list += (list.empty() ? "" : ",") + std::to_string(layer);
    return list.empty() ? "-" : list;
  });
  row("MLP width", [](ArmPlan const& a) { return std::to_string(resolved_mlp_width(a.config.model)); });
  row("parameters", [](ArmPlan const& a) { return si(a.parameters.total); });
  part("  embedding", [](ArmPlan const& a) { return a.parameters.embedding; });
  part("  blocks", [](ArmPlan const& a) { return a.parameters.blocks; });
  part("  routers", [](ArmPlan const& a) { return a.parameters.routers; });
  part("  predictors", [](ArmPlan const& a) { return a.parameters.predictors; });
  row("forward FLOPs per token", [](ArmPlan const& a) { return si(a.forward()); });
  part("  linear", [](ArmPlan const& a) { return a.linear; });
  part("  attention", [](ArmPlan const& a) { return a.attention; });
  part("  routers", [](ArmPlan const& a) { return a.router; });
  part("  predictors", [](ArmPlan const& a) { return a.predictor; });
  part("  head", [](ArmPlan const& a) { return a.head; });
  part("  of the teacher", [](ArmPlan const& a) { return a.teacher; });
  row("training FLOPs a step", [](ArmPlan const& a) { return si(a.step_flops); });
  row("steps", [](ArmPlan const& a) { return std::to_string(a.steps); });
  row("training FLOPs", [](ArmPlan const& a) { return si(static_cast<double>(a.train_flops)); });
  row("tokens", [](ArmPlan const& a) { return si(a.tokens); });
  row("epochs", [](ArmPlan const& a) { return fmt::format("{:.2f}", a.epochs); });
  if (packed) row("padding", [](ArmPlan const& a) { return fmt::format("{:.1f} %", 100 * a.padding); });
  row("evaluation / training", [](ArmPlan const& a) { return fmt::format("{:.1f} %", 100 * a.evaluation_share()); });
  row("memory", [](ArmPlan const& a) { return format_bytes(a.memory.total()); });
  row("  weights and optimizer", [](ArmPlan const& a) { return format_bytes(a.memory.state); });
  row("  activations", [](ArmPlan const& a) { return format_bytes(a.memory.activations); });
  row("KV bytes per token", [](ArmPlan const& a) { return format_bytes(a.kv_bytes_per_token); });

  size_t label_width = 0;
  std::vector<size_t> widths(arms.size(), 0);
  for (auto const& [label, cells] : rows) {
    label_width = std::max(label_width, label.size());
    for (size_t i = 0; i < cells.size(); ++i) widths[i] = std::max(widths[i], cells[i].size());
  }
  std::string text;
  for (auto const& [label, cells] : rows) {
    text += fmt::format("{:<{}}", label, label_width);
    for (size_t i = 0; i < cells.size(); ++i) text += fmt::format("  {:>{}}", cells[i], widths[i]);
    text += "\n";
  }
  return text;
}

}  // namespace

double ArmPlan::work_done(RunStatus const& run) const {
  double const points = std::min(evaluation.points, static_cast<double>(run.curve_points));
  return std::min(run.train_flops, static_cast<double>(train_flops)) + points * evaluation.point_flops +
         (run.results > 0 ? evaluation.result_flops : 0);
}

int64_t planned_vocab_size(TokenizerConfig const& tokenizer) {
  if (tokenizer.is_trained()) return tokenizer.vocab_size;
  if (tokenizer.is_byte()) return byte_tokenizer()->vocab_size();
  return load_tokenizer(expand_user(tokenizer.kind))->vocab_size();
}

DataSize estimate_data(Config const& config) {
  if (!config.data.tasks.empty()) return estimate_examples(config);
  DataConfig const& data = config.data;
  SourceSummary const summary = summarize_sources(data);
  auto bytes = static_cast<double>(summary.bytes);
  if (data.max_bytes > 0) bytes = std::min(bytes, static_cast<double>(data.max_bytes));
  double const valid_bytes = data.valid_sources.empty() ? bytes * data.valid_fraction : static_cast<double>(summary.valid_bytes);
  double const train_bytes = data.valid_sources.empty() ? bytes - valid_bytes : bytes;
  std::string const text =
      fmt::format("{} file{}, {}", summary.files, summary.files == 1 ? "" : "s", format_bytes(train_bytes + valid_bytes));
  DataSize size;
  auto const [per_token, guess] = bytes_per_token(config.tokenizer);
  size.note = text + guess;
  if (summary.compressed_files > 0)
    size.note += fmt::format(
        "; {} of them compressed and counted as it lies on disk: there is more text than "
        "this (--data counts it)",
        summary.compressed_files);
  size.valid_tokens = valid_bytes / per_token;
  size.train_tokens = train_bytes / per_token;
  return size;
}

DataSize measured_data(PreparedData const& data) {
  auto const stream = std::make_shared<TokenStream>(data.train);
  auto const train = static_cast<double>(data.train_tokens), valid = static_cast<double>(data.valid_tokens);
  auto const bytes = static_cast<double>(data.train_bytes + data.valid_bytes);
  bool const examples = stream->has_targets();
  DataSize size{train,
                valid,
                true,
                fmt::format("{} {}, {}, {:.2f} bytes a token", data.documents, examples ? "examples" : "documents", format_bytes(bytes),
                            bytes / (train + valid)),
                {}};
  if (examples) size.pack = [stream](int64_t context) { return packing_of(example_lengths(*stream), context); };
  return size;
}

ArmPlan plan_arm(std::string const& name, Config const& config, int64_t vocab_size, DataSize const& data, int64_t micro_batch_tokens) {
  ModelConfig const& model = config.model;
  ArmPlan plan;
  plan.name = name;
  plan.config = config;
  plan.vocab_size = vocab_size;
  plan.parameters = count_parameters(model, config.depth, vocab_size);
  plan.ledger = make_ledger(model, config.depth, vocab_size, training_setup_of(config.train));
  plan.routed = routed_layers(model, config.depth);

  int64_t const T = model.context;
  Ledger const& ledger = plan.ledger;
  Ledger::Layer sum = ledger.dense_layer(1, T);
  sum = {ledger.dense_layers * sum.linear, ledger.dense_layers * sum.attention};
  for (RoutedWork const& work : planned_work(model, config.depth, 1, T)) {
    Ledger::Layer const layer = ledger.routed_layer(1, T, work);
    sum = {sum.linear + layer.linear, sum.attention + layer.attention};
  }
  plan.linear = static_cast<double>(sum.linear) / static_cast<double>(T);
  plan.attention = static_cast<double>(sum.attention) / static_cast<double>(T);
  plan.router = static_cast<double>(ledger.routers * ledger.router_row) +
                static_cast<double>(ledger.gate_row) / (ledger.gate_by_sequence ? static_cast<double>(T) : 1);
  plan.predictor = static_cast<double>(ledger.routers * ledger.predictor_row);
  plan.head = static_cast<double>(ledger.head_row);
  plan.teacher = static_cast<double>(ledger.teacher_row) + static_cast<double>(ledger.teacher_pair * (T + 1)) / 2;

  int64_t const sequences = std::max<int64_t>(1, config.train.batch_tokens / T);
  double samples = std::max(1.0, std::floor((data.train_tokens - 1) / static_cast<double>(T)));
  if (data.pack) {
    DataSize::Packing const packing = data.pack(T);
    samples = static_cast<double>(packing.windows);
    plan.padding = packing.padding;
    plan.longer_examples = packing.longer;
  }
  Schedule const schedule = make_schedule(config, vocab_size, samples / static_cast<double>(sequences));
  plan.step_flops = schedule.mean_step_flops();
  plan.steps = schedule.total_steps();
  plan.tokens = plan.steps * sequences * T;
  plan.train_flops = schedule.total_flops();
  plan.epochs = static_cast<double>(plan.steps * sequences) / samples;
  plan.evaluation = plan_evaluation(plan, schedule, data);
  plan.micro_batch_tokens = micro_batch_tokens;
  plan.memory = planned_memory(config, vocab_size, micro_batch_tokens);
  plan.kv_bytes_per_token = kv_bytes_per_token(model, config.depth, bytes_per_value(config));
  warn(plan, schedule, data);
  return plan;
}

std::string plan_table(std::vector<ArmPlan> const& arms, DataSize const& data) {
  std::string text;
  auto const budget_of = [](ArmPlan const& arm) { return format_duration(arm.config.train.budget); };
  bool const one_budget =
      std::all_of(arms.begin(), arms.end(), [&](ArmPlan const& arm) { return budget_of(arm) == budget_of(arms.front()); });
  for (size_t from = 0, to = 0; from < arms.size(); from = to) {  // a table for each budget
    while (to < arms.size() && budget_of(arms[to]) == budget_of(arms[from])) ++to;
    if (!one_budget) text += (from == 0 ? "budget " : "\nbudget ") + budget_of(arms[from]) + "\n";
    text += arm_columns({arms.begin() + static_cast<std::ptrdiff_t>(from), arms.begin() + static_cast<std::ptrdiff_t>(to)},
                        data.pack != nullptr);
  }
  text += "\ntext: " + data.note + "\n";
  text +=
      "memory: 16 bytes a parameter (fp32 weight, gradient, two moments) and 4 bytes an activation (bf16: 2) of one micro-batch, "
      "per row of a\n"
      "block 6 width + 2 (heads + 2 kv_heads) head_dim + 3 mlp_width (2 for gelu); LibTorch itself takes about 0.3 GiB "
      "more\n";
  for (ArmPlan const& arm : arms)
    for (std::string const& warning : arm.warnings)
      text += "warning: " + arm.name + (one_budget ? "" : " at " + budget_of(arm)) + ": " + warning + "\n";
  return text;
}

nlohmann::ordered_json plan_json(std::vector<ArmPlan> const& arms, DataSize const& data) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (ArmPlan const& a : arms)
    list.push_back(
        {{"name", a.name},
         {"budget", format_duration(a.config.train.budget)},
         {"layers", a.config.model.layers},
         {"mlp_width", resolved_mlp_width(a.config.model)},
         {"routed_layers", a.routed},
         {"vocab_size", a.vocab_size},
         {"params", a.parameters.total},
         {"params_non_embedding", a.parameters.non_embedding()},
         {"params_by_part",
          {{"embedding", a.parameters.embedding},
           {"blocks", a.parameters.blocks},
           {"routers", a.parameters.routers},
           {"predictors", a.parameters.predictors}}},
         {"forward_flops_per_token_topk", a.forward()},
         {"forward_flops_per_token_by_part",
          {{"linear", a.linear}, {"attention", a.attention}, {"router", a.router}, {"predictor", a.predictor}, {"head", a.head}}},
         {"teacher_flops_per_token", a.teacher},
         {"train_flops_per_step", a.step_flops},
         {"steps", a.steps},
         {"train_flops", total_json(a.train_flops)},
         {"tokens", a.tokens},
         {"epochs", a.epochs},
         {"padding", a.padding},
         {"evaluation_share", a.evaluation_share()},
         {"memory_bytes", a.memory.total()},
         {"kv_bytes_per_token", a.kv_bytes_per_token},
         {"warnings", a.warnings}});
  return {{"data", {{"train_tokens", data.train_tokens}, {"valid_tokens", data.valid_tokens}, {"exact", data.exact}, {"note", data.note}}},
          {"arms", std::move(list)}};
}

}  // namespace isobath
