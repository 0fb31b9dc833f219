#include "trainer/launch/predict_ranks.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "core/columns.h"
#include "core/error.h"

namespace isobath {
namespace {

constexpr double bytes_of_weight = 4;  // fp32, as its gradient and each of its two moments

// Gradients in the order in which the backward pass completes them.
struct Piece {
  double bytes = 0;
  double share = 0;  // of the backward pass's time
};

std::vector<Piece> backward_pieces(ArmPlan const& plan) {
  Parameters const& parameters = plan.parameters;
  auto const layers = static_cast<double>(plan.config.model.layers);
  double const head = plan.head / plan.forward();
  auto const bytes = [](double weights) { return weights * bytes_of_weight; };
  double const embedding = static_cast<double>(parameters.embedding), others = static_cast<double>(parameters.non_embedding());
  bool const tied = plan.config.model.tie_embeddings;
  std::vector<Piece> pieces{{tied ? 0 : bytes(embedding / 2), head}};
  for (int64_t layer = 0; layer < plan.config.model.layers; ++layer) pieces.push_back({bytes(others / layers), (1 - head) / layers});
  pieces.push_back({bytes(tied ? embedding : embedding / 2), 0});
  return pieces;
}

// Weights of which every rank needs the bf16 values alone: its optimizer has the fp32 ones of its own part. The blocks' matrices.
double narrow_weights(ArmPlan const& plan) {
  bool const narrow = plan.config.parallel.shard == Sharding::optimizer && plan.config.precision == Precision::bf16;
  return narrow ? static_cast<double>(plan.parameters.non_embedding()) : 0;
}

struct Network {
  Interconnect link;
  int64_t ranks;

  double parts() const { return static_cast<double>(ranks - 1) / static_cast<double>(ranks); }
  // A ring sends less, a tree waits for fewer messages; libraries take what is faster.
  double all_reduce(double bytes) const {
    double const ring = 2 * parts() * bytes / link.bytes_per_s + 2 * static_cast<double>(ranks - 1) * link.latency_s;
    double const tree = 2 * bytes / link.bytes_per_s + 2 * std::ceil(std::log2(ranks)) * link.latency_s;
    return std::min(ring, tree);
  }
  double gather(double bytes) const { return parts() * bytes / link.bytes_per_s + std::ceil(std::log2(ranks)) * link.latency_s; }
};

// Exposed communication: seconds from the end of the backward pass until all gradients are reduced.
double exposed_seconds(ArmPlan const& plan, Network const& network, RankDevice const& device, double backward_s) {
  bool const shards = plan.config.parallel.shard == Sharding::optimizer;
  double now = 0, free_at = 0, bucket = 0, sent = 0, all_bytes = 0;
  auto const send = [&] {
    // Gloo has no reduce-scatter of its own: it sums everything everywhere.
    double const seconds = shards && device.communicates_beside ? network.gather(bucket) : network.all_reduce(bucket);
    free_at = std::max(free_at, now) + seconds;
    sent += seconds;
    bucket = 0;
  };
  for (Piece const& piece : backward_pieces(plan)) {
    now += piece.share * backward_s;
    bucket += piece.bytes;
    all_bytes += piece.bytes;
    if (bucket >= static_cast<double>(plan.config.parallel.bucket_bytes)) send();
  }
  if (bucket > 0) send();
  double const after = shards ? network.gather(all_bytes - narrow_weights(plan) * bytes_of_weight / 2) : 0;
  double const numbers = network.all_reduce(0);  // losses, and who has a gradient
  double const hidden = device.communicates_beside ? std::max(0.0, free_at - now) : sent;
  return hidden + after + numbers;
}

double unit_value(std::string const& text, std::vector<std::pair<char const*, double>> const& units, char const* what,
                  char const* example) {
  double value = 0;
  auto const [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  std::string const unit(end, text.data() + text.size());
  for (auto const& [name, factor] : units)
    if (error == std::errc() && unit == name && value >= 0 && std::isfinite(value)) return value * factor;
  throw Error(ExitCode::config, fmt::format("{} '{}' is not understood: write it like {}", what, text, example));
}

}  // namespace

double parse_rate(std::string const& text) {
  double const rate = unit_value(text, {{"GB/s", 1e9}, {"MB/s", 1e6}, {"Gbit/s", 1e9 / 8}, {"Mbit/s", 1e6 / 8}, {"TB/s", 1e12}},
                                 "--interconnect", "50GB/s or 100Gbit/s");
  if (rate <= 0) throw Error(ExitCode::config, "--interconnect '" + text + "' sends nothing");
  return rate;
}

double parse_latency(std::string const& text) {
  return unit_value(text, {{"us", 1e-6}, {"ms", 1e-3}, {"ns", 1e-9}, {"s", 1}}, "--latency", "5us or 1ms");
}

RankDevice known_device(std::string const& name, Precision precision, double utilisation) {
  struct Known {
    char const* name;
    double bf16, fp32, memory;
  };
  // NVIDIA's data sheets: dense bf16 with fp32 sums, fp32 without TF32, memory.
  constexpr std::array known{Known{"h100", 989.4e12, 66.9e12, 80e9}, Known{"h200", 989.4e12, 66.9e12, 141e9},
                             Known{"b200", 2250e12, 75e12, 180e9}, Known{"a100", 312e12, 19.5e12, 80e9}};
  std::string names;
  for (Known const& device : known) {
    if (name == device.name) return {name, utilisation * (precision == Precision::bf16 ? device.bf16 : device.fp32), device.memory};
    names += (names.empty() ? "" : ", ") + std::string(device.name);
  }
  throw Error(ExitCode::config,
              "--device '" + name + "' is none of " + names + "; --measured RUN takes the speed from a run of one process");
}

namespace {
double values_of_states(Config const& config) {
  return static_cast<double>(config.train.batch_tokens * config.model.layers * config.model.width);
}
}  // namespace

double RankDevice::step_seconds(double flops, Config const& config) const {
  return flops / flops_per_s + seconds_per_state * values_of_states(config);
}

RankDevice measured_device(std::string const& name, std::vector<MeasuredStep> const& steps) {
  MeasuredStep const& a = steps.front();
  if (steps.size() == 1) return {name, a.flops / a.seconds};
  MeasuredStep const& b = steps.back();
  double const values_a = values_of_states(a.config), values_b = values_of_states(b.config),
               determinant = a.flops * values_b - b.flops * values_a;
  double const per_flop = (a.seconds * values_b - b.seconds * values_a) / determinant,
               per_state = (a.flops * b.seconds - b.flops * a.seconds) / determinant;
  if (!(per_flop > 0 && per_state >= 0 && std::isfinite(per_flop)))
    throw Error(ExitCode::config,
                "the two runs of --measured do not tell apart what FLOPs take and what the states of layers take: give "
                "runs of different model.width, or one run");
  RankDevice device{name, 1 / per_flop};
  device.seconds_per_state = per_state;
  return device;
}

RankPrediction predict_ranks(ArmPlan const& plan, int64_t ranks, RankDevice const& device, Interconnect const& interconnect) {
  ModelConfig const& model = plan.config.model;
  int64_t const batch_tokens = plan.config.train.batch_tokens, sequences = batch_tokens / model.context;
  int64_t const largest_share = (sequences + ranks - 1) / ranks;
  double const share = static_cast<double>(largest_share) / static_cast<double>(sequences);
  double const weights = static_cast<double>(plan.parameters.total),
               one_s = device.step_seconds(static_cast<double>(plan.step_flops), plan.config);
  Network const network{interconnect, ranks};
  bool const shards = plan.config.parallel.shard == Sharding::optimizer;
  auto const n = static_cast<double>(ranks);

  RankPrediction prediction{ranks};
  prediction.compute_s = one_s * share;
  if (ranks > 1) {
    prediction.exposed_s = exposed_seconds(plan, network, device, prediction.compute_s * 2 / 3);
    double const times = shards && !device.communicates_beside ? 3 : 2;
    prediction.sent_bytes = network.parts() * bytes_of_weight * (times * weights - narrow_weights(plan) / 2);
  }
  // Weight, gradient and two moments; of these, where they are divided, the own part, and its sums.
  double const state = bytes_of_weight * (weights * (2 + (shards ? 3 / n : 2)) + narrow_weights(plan) * (1 / n - 0.5));
  double const micro_tokens = std::max<double>(1, static_cast<double>(plan.micro_batch_tokens)),
               own_tokens = share * static_cast<double>(batch_tokens);
  prediction.memory_bytes = state + plan.memory.activations * std::min(1.0, own_tokens / micro_tokens);
  prediction.tokens_per_s = static_cast<double>(batch_tokens) / prediction.step_s();
  prediction.efficiency = one_s / (n * prediction.step_s());
  return prediction;
}

std::vector<RankPrediction> predict_up_to(ArmPlan const& plan, int64_t most, RankDevice const& device, Interconnect const& interconnect) {
  int64_t const sequences = plan.config.train.batch_tokens / plan.config.model.context;
  std::vector<RankPrediction> predictions;
  for (int64_t ranks = 1; ranks < std::min(most, sequences); ranks *= 2)
    predictions.push_back(predict_ranks(plan, ranks, device, interconnect));
  predictions.push_back(predict_ranks(plan, std::min(most, sequences), device, interconnect));
  return predictions;
}

std::string prediction_table(ArmPlan const& plan, std::vector<RankPrediction> const& predictions, RankDevice const& device) {
  std::string text = fmt::format("{} on {} ranks of {} ({} FLOP/s in training)\n", plan.name, predictions.back().ranks, device.name,
                                 format_si(device.flops_per_s));
  std::vector<std::vector<std::string>> rows{
      {"ranks", "memory a rank", "sent a step", "computes", "waits", "step", "tokens/s", "efficiency"}};
  for (RankPrediction const& p : predictions)
    rows.push_back({std::to_string(p.ranks),
                    format_bytes(p.memory_bytes) + (device.memory_bytes > 0 && p.memory_bytes > device.memory_bytes ? " !" : ""),
                    format_bytes(p.sent_bytes), fmt::format("{:.1f} ms", 1e3 * p.compute_s), fmt::format("{:.1f} ms", 1e3 * p.exposed_s),
                    fmt::format("{:.1f} ms", 1e3 * p.step_s()), format_si(p.tokens_per_s), fmt::format("{:.1f} %", 100 * p.efficiency)});
  text += aligned_columns(rows);
  bool const too_large = std::any_of(predictions.begin(), predictions.end(),
                                     [&](auto const& p) { return device.memory_bytes > 0 && p.memory_bytes > device.memory_bytes; });
  if (too_large) text += fmt::format("! more than the {} of {}\n", format_bytes(device.memory_bytes), device.name);
  return text;
}

nlohmann::ordered_json prediction_json(std::vector<RankPrediction> const& predictions) {
  nlohmann::ordered_json all = nlohmann::ordered_json::array();
  for (RankPrediction const& p : predictions)
    all.push_back({{"ranks", p.ranks},
                   {"memory_bytes", p.memory_bytes},
                   {"sent_bytes", p.sent_bytes},
                   {"compute_s", p.compute_s},
                   {"exposed_s", p.exposed_s},
                   {"step_s", p.step_s()},
                   {"tokens_per_s", p.tokens_per_s},
                   {"efficiency", p.efficiency}});
  return all;
}

}  // namespace isobath
