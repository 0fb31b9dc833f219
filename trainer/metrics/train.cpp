// Metrics of the record `train`, written every train.log_every: means over the steps since the last one, unless a row says otherwise.
#include "trainer/metrics/metric.h"

namespace isobath {
namespace {

template <typename Get>
Metric trained(std::string key, std::string unit, std::string meaning, Get get) {
  return {std::move(key), std::move(unit), std::move(meaning), reads<TrainReading>(get)};
}

// Of models with routed layers alone.
Metric routed(std::string key, std::string unit, std::string meaning, double WindowReading::*value) {
  return {std::move(key), std::move(unit), std::move(meaning),
          Read<TrainReading>([value](TrainReading const& r) -> std::optional<MetricValues> {
            if (r.window.routing.capacity.empty()) return std::nullopt;
            return MetricValues{r.window.*value};
          })};
}

Metric by_layer(std::string key, std::string meaning, std::vector<double> RoutingRates::*values) {
  return Metric{std::move(key), "", std::move(meaning), Read<TrainReading>([values](TrainReading const& r) -> std::optional<MetricValues> {
                  if (r.window.routing.capacity.empty()) return std::nullopt;
                  return r.window.routing.*values;
                })}
      .per(Each::routed_layer);
}

}  // namespace

std::vector<Metric> train_metrics() {
  return {
      trained("train_loss", "nats per token", "loss of the training text, under the routing of training",
              [](auto const& r) { return r.window.loss; })
          .shown(Group::training, "Training loss", "", Format::decimals, 4),
      trained("lr", "", "learning rate of the last step", [](auto const& r) { return r.learning_rate; })
          .shown(Group::training, "Learning rate", "", Format::decimals, 6),
      trained("grad_norm", "", "norm of the gradients before clipping", [](auto const& r) { return r.window.grad_norm; })
          .shown(Group::training, "Gradient norm", "", Format::decimals, 3),
      trained("time_s", "s", "training alone since the start of the run", [](auto const& r) { return r.train_seconds; }),
      trained("data_wait_s", "s", "part of `time_s` that training waited for data", [](auto const& r) { return r.data_wait_seconds; }),
      {"communication_wait_s", "s", "time that rank 0 waited for the other ranks' gradients since its process started; on CPUs alone",
       Read<TrainReading>([](TrainReading const& r) -> std::optional<MetricValues> {
         return std::isnan(r.communication_wait_seconds) ? std::nullopt : std::optional(MetricValues{r.communication_wait_seconds});
       })},
      trained("tokens_per_s", "tokens/s", "speed of training", [](auto const& r) { return r.speed.tokens_per_s; }),
      trained("mfu", "",
              "model FLOPs utilisation: realised FLOPs by the ledger a second, as a share of `peak_flops`; without what a teacher said in "
              "an earlier run",
              [](auto const& r) { return r.speed.mfu; }),
      trained("mfu_6n", "", "the same with 6 N + 12 L D T FLOPs a token (N all parameters), as others count, as if nothing were routed",
              [](auto const& r) { return r.speed.mfu_6n; }),
      trained("memory_bytes", "bytes", "most memory so far; on a GPU, of tensors there", [](auto const& r) { return r.memory_bytes; })
          .whole(),
      trained("skipped_steps", "", "steps that changed nothing because their gradients were not finite",
              [](auto const& r) { return r.window.skipped; })
          .whole(),
      routed("aux_loss", "nats", "binary cross-entropy of the routers (`causal: bce`), not weighted", &WindowReading::router_loss),
      routed("predictor_loss", "nats", "binary cross-entropy of the predictors (`causal: predictor`)", &WindowReading::predictor_loss),
      routed("z_loss", "", "z-loss of the routers, softplus(score)^2, not weighted", &WindowReading::z_loss),
      routed("gate_loss", "", "auxiliary losses of nested and scaled models, weighted", &WindowReading::gate_loss),
      {"divergence", "nats per token", "Kullback-Leibler divergence from the teacher's distribution (`train.distill`), not weighted",
       Read<TrainReading>([](TrainReading const& r) -> std::optional<MetricValues> {
         return std::isnan(r.window.divergence) ? std::nullopt : std::optional(MetricValues{r.window.divergence});
       })},
      by_layer("capacity_realised", "share of the tokens that ran", &RoutingRates::capacity),
      by_layer("router_precision", "share of the causally selected tokens that top-k selects too", &RoutingRates::precision),
      by_layer("router_recall", "share of top-k's tokens that the causal decision selects too", &RoutingRates::recall),
  };
}

}  // namespace isobath
