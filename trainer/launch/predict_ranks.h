#pragma once
// Predicts time and memory of a training step on more ranks, by simulating the backward pass and the reduction of its gradient buckets.

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "trainer/compare/arms.h"

namespace isobath {

// What computes a rank's share.
struct RankDevice {
  std::string name;
  double flops_per_s = 0;           // that training reaches, by the ledger
  double memory_bytes = 0;          // 0: not known
  bool communicates_beside = true;  // false: the cores that compute also send (Gloo)
  double seconds_per_state = 0;     // what every layer's state of a token takes a step beside the FLOPs, for each of its values

  double step_seconds(double flops, Config const& config) const;
};
// By name (h100, h200, b200, a100), at `utilisation` of its peak in this precision. Throws Error(config) for other names.
RankDevice known_device(std::string const& name, Precision precision, double utilisation);

// A run of one process, as a measure of its device.
struct MeasuredStep {
  Config config;
  double flops = 0, seconds = 0;
};
// The device on which these runs were measured: its FLOP/s by the first one; by two of different sizes what a step takes for its FLOPs and
// what for the values of its layers' states (norms, activations, sums), which weigh more in a narrow model. Throws Error(config) where the
// two do not tell these apart.
RankDevice measured_device(std::string const& name, std::vector<MeasuredStep> const& steps);

struct Interconnect {
  double bytes_per_s = 0;  // of one rank, in each direction
  double latency_s = 0;    // of one message
};
// "50GB/s", "100Gbit/s"; "5us", "1ms". Throws Error(config) for anything else.
double parse_rate(std::string const& text);
double parse_latency(std::string const& text);

struct RankPrediction {
  int64_t ranks = 1;
  double memory_bytes = 0;              // of a rank
  double sent_bytes = 0;                // by a rank, each step
  double compute_s = 0, exposed_s = 0;  // exposed: communication that the backward pass does not hide
  double tokens_per_s = 0;
  double efficiency = 0;  // speed, as a share of so many times that of one rank
  double step_s() const { return compute_s + exposed_s; }
};

// ranks is at most the number of sequences in a batch.
RankPrediction predict_ranks(ArmPlan const& plan, int64_t ranks, RankDevice const& device, Interconnect const& interconnect);
// For 1, 2, 4, ... up to `most` ranks, or as many as the batch has sequences.
std::vector<RankPrediction> predict_up_to(ArmPlan const& plan, int64_t most, RankDevice const& device, Interconnect const& interconnect);
std::string prediction_table(ArmPlan const& plan, std::vector<RankPrediction> const& predictions, RankDevice const& device);
nlohmann::ordered_json prediction_json(std::vector<RankPrediction> const& predictions);

}  // namespace isobath
