// Metrics of the record `validation`: on eval.tokens of validation text for the curve, on eval.final_tokens for the result.
#include "trainer/metrics/metric.h"

namespace isobath {
namespace {

using Values = std::optional<MetricValues>;

template <typename Get>
Metric validated(std::string key, std::string unit, std::string meaning, Get get) {
  return {std::move(key), std::move(unit), std::move(meaning), reads<ValidationReading>(get)};
}

// A value under top-k routing, and the same under causal routing.
Metric topk(std::string key, std::string unit, std::string meaning, double RoutingResult::*value) {
  return {std::move(key), std::move(unit), std::move(meaning), Read<ValidationReading>([value](ValidationReading const& v) -> Values {
            return v.evaluation.topk ? Values(MetricValues{(*v.evaluation.topk).*value}) : std::nullopt;
          })};
}
Metric causal(std::string key, std::string unit, std::string meaning, double RoutingResult::*value) {
  return {std::move(key), std::move(unit), std::move(meaning), Read<ValidationReading>([value](ValidationReading const& v) -> Values {
            return v.evaluation.causal ? Values(MetricValues{(*v.evaluation.causal).*value}) : std::nullopt;
          })};
}

// One value per routed layer, under causal routing where that was evaluated.
Metric rates(std::string key, std::string meaning, std::vector<double> RoutingResult::*values) {
  return Metric{std::move(key), "", std::move(meaning),
                Read<ValidationReading>([values](ValidationReading const& v) -> Values { return v.evaluation.causal_or_topk().*values; })}
      .per(Each::routed_layer);
}
Metric by_layer(std::string key, std::string meaning, double LayerStatistics::*value) {
  return Metric{std::move(key), "", std::move(meaning), Read<ValidationReading>([value](ValidationReading const& v) -> Values {
                  MetricValues values;
                  for (LayerStatistics const& layer : v.evaluation.causal_or_topk().layers) values.push_back(layer.*value);
                  return values.empty() ? std::nullopt : Values(values);
                })}
      .per(Each::routed_layer);
}

// Of nested models, at the end of a run.
Metric oracle(std::string key, std::string unit, std::string meaning, MetricValues (*values)(Oracle const&)) {
  return {std::move(key), std::move(unit), std::move(meaning), Read<ValidationReading>([values](ValidationReading const& v) -> Values {
            return v.oracle ? Values(values(*v.oracle)) : std::nullopt;
          })};
}

std::vector<Metric> of_text() {
  return {
      causal("loss_causal", "nats per token", "loss under causal routing, which generation uses; the loss that verdicts compare",
             &RoutingResult::loss)
          .over(OverSeeds::spread)
          .shown(Group::quality, "Loss, causal routing (nats per token)", "causal loss", Format::decimals, 4),
      topk("loss_topk", "nats per token", "loss under top-k routing, which looks at later tokens", &RoutingResult::loss)
          .over(OverSeeds::spread)
          .shown(Group::quality, "Loss, top-k routing", "top-k loss", Format::decimals, 4),
      causal("bits_per_byte_causal", "bits per byte", "`loss_causal` per byte of text: comparable between tokenizers",
             &RoutingResult::bits_per_byte)
          .over(OverSeeds::spread)
          .shown(Group::quality, "Bits per byte, causal routing", "bits/byte", Format::decimals, 4),
      topk("bits_per_byte_topk", "bits per byte", "`loss_topk` per byte of text", &RoutingResult::bits_per_byte)
          .over(OverSeeds::spread)
          .shown(Group::quality, "Bits per byte, top-k routing", "", Format::decimals, 4),
      causal("forward_flops_per_token_causal", "FLOPs",
             "realised forward FLOPs of a token: causal routing may run more or fewer than planned",
             &RoutingResult::forward_flops_per_token)
          .shown(Group::compute, "Forward FLOPs per token, causal", "causal FLOPs/tok", Format::si),
      topk("forward_flops_per_token_topk", "FLOPs", "the same under top-k routing", &RoutingResult::forward_flops_per_token)
          .reported_as("forward_flops_per_token_topk_realised"),
      causal("mean_depth_causal", "", "layers that a token went through, mean", &RoutingResult::mean_depth)
          .reported_as("mean_depth")
          .shown(Group::compute, "Layers a token goes through, mean", "depth", Format::decimals, 2),
      topk("mean_depth_topk", "", "the same under top-k routing", &RoutingResult::mean_depth),
      validated("time_s", "s", "training alone since the start of the run", [](auto const& v) { return v.train_seconds; })
          .reported_as("validated_after_s"),
      validated("eval_s", "s", "what the validation took", [](auto const& v) { return v.eval_seconds; }),
      validated("eval_tokens", "tokens", "tokens that were predicted", [](auto const& v) { return v.evaluation.tokens; }).whole(),
      validated("eval_bytes", "bytes", "length of the text that was predicted", [](auto const& v) { return v.evaluation.bytes; }).whole(),
  };
}

std::vector<Metric> of_layers() {
  auto const capacity = [](std::optional<RoutingResult> Evaluation::*routing) {
    return Read<ValidationReading>([routing](ValidationReading const& v) -> Values {
      auto const& result = v.evaluation.*routing;
      return result ? Values(result->capacity) : std::nullopt;
    });
  };
  return {
      Metric{"capacity_causal", "", "share of the tokens that ran", capacity(&Evaluation::causal)}
          .per(Each::routed_layer)
          .shown(Group::routing, "Realised capacity", "realised", Format::percent, 1),
      Metric{"capacity_topk", "", "the same under top-k routing", capacity(&Evaluation::topk)}.per(Each::routed_layer),
      rates("router_precision", "share of the causally selected tokens that top-k selects too", &RoutingResult::precision)
          .shown(Group::routing, "Precision", "precision", Format::percent, 1),
      rates("router_recall", "share of top-k's tokens that the causal decision selects too", &RoutingResult::recall)
          .shown(Group::routing, "Recall", "recall", Format::percent, 1),
      by_layer("router_f1", "F1 of the causal decision, against the tokens that top-k selects", &LayerStatistics::f1)
          .shown(Group::routing, "F1", "F1", Format::decimals, 3),
      by_layer("router_f1_ceiling", "F1 that the best fixed threshold reaches on the very same scores", &LayerStatistics::f1_ceiling)
          .shown(Group::routing, "F1 ceiling", "F1 ceiling", Format::decimals, 3),
      by_layer("choice_entropy_token", "how varied the chosen tokens are: 1 as varied as the text, near 0 only a few different ones",
               &LayerStatistics::entropy_token)
          .shown(Group::routing, "Token entropy", "", Format::decimals, 3),
      by_layer("choice_entropy_position", "how evenly the choice spreads over the sequence: 1 evenly, near 0 only a few places",
               &LayerStatistics::entropy_position)
          .shown(Group::routing, "Position entropy", "", Format::decimals, 3),
      by_layer("dead_tokens", "share of the text made of vocabulary items that the layer never chose (items seen at least 16 times)",
               &LayerStatistics::dead)
          .shown(Group::routing, "Dead", "", Format::percent, 1),
      by_layer("always_on_tokens", "share of the text made of vocabulary items that the layer always chose (items seen at least 16 times)",
               &LayerStatistics::always_on)
          .shown(Group::routing, "Always on", "", Format::percent, 1),
      Metric{"calibration_tokens", "tokens",
             "training text that the causal decisions were calibrated on before; 0: on none, they are the run's or checkpoint's own",
             Read<ValidationReading>([](ValidationReading const& v) -> Values {
               if (v.evaluation.causal_or_topk().layers.empty()) return std::nullopt;
               return MetricValues{static_cast<double>(v.evaluation.calibration_tokens)};
             })}
          .whole(),
  };
}

std::vector<Metric> of_branches() {
  return {
      oracle("branch_losses", "nats per token", "loss when every token takes this branch", [](Oracle const& o) { return o.branch_losses; })
          .per(Each::branch),
      oracle("oracle_loss", "nats per token", "loss when every token takes the branch that is best in hindsight",
             [](Oracle const& o) { return MetricValues{o.loss}; }),
      oracle("oracle_loss_same_depth", "nats per token", "the same at the model's own mean depth",
             [](Oracle const& o) { return MetricValues{o.loss_same_depth}; })
          .shown(Group::depth, "Best branch in hindsight, same mean depth", "best in hindsight", Format::decimals, 4),
      oracle("difficulty_correlation", "", "whether harder text goes deeper: Pearson's correlation over windows of text",
             [](Oracle const& o) { return MetricValues{o.difficulty_correlation}; })
          .shown(Group::depth, "Correlation of depth with difficulty", "harder is deeper", Format::decimals, 2),
      oracle("difficulty_correlation_ci95", "", "its 95 % confidence interval",
             [](Oracle const& o) {
               return MetricValues{o.correlation_low, o.correlation_high};
             })
          .per(Each::bound),
  };
}

}  // namespace

std::vector<Metric> validation_metrics() {
  std::vector<Metric> rows;
  for (std::vector<Metric> const& part : {of_text(), of_layers(), of_branches()}) rows.insert(rows.end(), part.begin(), part.end());
  return rows;
}

}  // namespace isobath
