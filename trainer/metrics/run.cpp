// Metrics of the record `run`: what is planned when a run starts. Before them, what its configuration says of the model.
#include "model/depth/plan.h"
#include "trainer/metrics/metric.h"

namespace isobath {
namespace {

template <typename Get>
Metric planned(std::string key, std::string unit, std::string meaning, Get get) {
  return {std::move(key), std::move(unit), std::move(meaning), reads<RunFacts>(get)};
}

std::optional<MetricValues> planned_capacities(Config const& config, MetricMap const&) {
  MetricValues const planned = plan_depth(config.model, config.depth)->capacities();
  return planned.empty() ? std::nullopt : std::optional(planned);
}

std::optional<MetricValues> planned_mean_depth(Config const& config, MetricMap const&) {
  double const planned = plan_depth(config.model, config.depth)->mean_depth();
  return planned > 0 ? std::optional(MetricValues{planned}) : std::nullopt;
}

std::vector<Metric> of_model() {
  return {
      Metric{"layers", "", "layers of the model",
             derives([](Config const& config, MetricMap const&) { return static_cast<double>(config.model.layers); })}
          .whole()
          .shown(Group::compute, "Layers", "layers", Format::decimals),
      Metric{"mlp_width", "", "hidden units of each MLP",
             derives([](Config const& config, MetricMap const&) { return static_cast<double>(resolved_mlp_width(config.model)); })}
          .whole()
          .shown(Group::compute, "MLP width", "", Format::decimals),
      planned("params", "", "parameters of the model, shared ones once", [](auto const& r) { return r.params; })
          .whole()
          .shown(Group::compute, "Parameters", "params", Format::si),
      planned("params_non_embedding", "", "parameters without the embedding and the head",
              [](auto const& r) { return r.params_non_embedding; })
          .whole()
          .shown(Group::compute, "\u2026 without embeddings", "", Format::si),
      planned("forward_flops_per_token_topk", "FLOPs", "planned forward FLOPs of a token under the routing of training, by the ledger",
              [](auto const& r) { return r.forward_flops_per_token; })
          .shown(Group::compute, "Forward FLOPs per token, top-k", "fwd FLOPs/tok", Format::si),
      planned("kv_bytes_per_token", "bytes", "keys and values that generation keeps of a token, planned",
              [](auto const& r) { return r.kv_bytes_per_token; })
          .shown(Group::compute, "Keys and values per token, planned", "KV/tok", Format::bytes),
      Metric{"pretraining_flops", "FLOPs",
             "FLOPs that the weights of `train.init_from` and of the teacher were trained with; not part of a run's own; null: not known",
             Read<RunFacts>([](RunFacts const& r) {
               return r.pretraining_flops == 0 ? std::nullopt : std::optional(MetricValues{r.pretraining_flops});
             })}
          .shown(Group::compute, "FLOPs of pretraining, not in the total", "", Format::si),
      Metric{"mean_depth_planned", "", "mean number of layers of a token that training aims at", planned_mean_depth}.shown(
          Group::depth, "Mean depth that training aims at", "planned depth", Format::decimals, 2),
      Metric{"capacity_planned", "", "share of the tokens that each routed layer is to run", planned_capacities}
          .per(Each::routed_layer)
          .shown(Group::routing, "Planned capacity", "planned", Format::percent, 1),
  };
}

std::vector<Metric> of_training_text() {
  return {
      planned("steps", "", "optimizer steps that are planned", [](auto const& r) { return r.steps; }).whole().reported_as("steps_planned"),
      planned("batch_tokens", "tokens", "tokens of one step", [](auto const& r) { return r.batch_tokens; }).whole(),
      planned("micro_batch_tokens", "tokens", "tokens of one forward and backward pass", [](auto const& r) { return r.micro_batch_tokens; })
          .whole(),
      planned("train_flops_per_step", "FLOPs", "planned training FLOPs of a step, mean",
              [](auto const& r) { return r.train_flops_per_step; })
          .whole(),
      planned("epochs", "", "how often the run goes through its training text", [](auto const& r) { return r.epochs; })
          .shown(Group::compute, "Epochs", "epochs", Format::decimals, 2),
      planned("train_tokens", "tokens", "length of the training text", [](auto const& r) { return r.train_tokens; }).whole(),
      planned("valid_tokens", "tokens", "length of the validation text", [](auto const& r) { return r.valid_tokens; }).whole(),
      planned("train_bytes", "bytes", "length of the training text", [](auto const& r) { return r.train_bytes; }).whole(),
      planned("valid_bytes", "bytes", "length of the validation text", [](auto const& r) { return r.valid_bytes; }).whole(),
      planned("documents", "", "documents of all text", [](auto const& r) { return r.documents; }).whole(),
      planned("vocab_size", "", "vocabulary items of the tokenizer", [](auto const& r) { return r.vocab_size; }).whole(),
      planned("peak_flops", "FLOP/s",
              "speed that `mfu` is a share of: of a matrix product in the run's precision, measured at the start, or the maker's figure of "
              "a known GPU (`peak_flops_source`)",
              [](auto const& r) { return r.peak_flops; }),
      planned("ranks", "", "processes that train the run together", [](auto const& r) { return r.ranks; }).whole(),
      planned("threads", "", "threads of each process", [](auto const& r) { return r.threads; }).whole(),
  };
}

}  // namespace

std::vector<Metric> run_metrics() {
  std::vector<Metric> rows = of_model();
  for (Metric& metric : of_training_text()) rows.push_back(std::move(metric));
  return rows;
}

}  // namespace isobath
