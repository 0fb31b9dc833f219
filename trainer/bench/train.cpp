#include "trainer/bench/train.h"

#include <algorithm>
#include <chrono>
#include <set>

#include "core/error.h"
#include "core/log.h"
#include "core/random.h"
#include "core/stop.h"
#include "model/ledger/ledger.h"
#include "nn/device.h"
#include "trainer/bench/peers.h"
#include "trainer/compare/arms.h"
#include "trainer/compare/experiment.h"
#include "trainer/evaluate/evaluate.h"
#include "trainer/train/learner.h"

namespace isobath {

namespace {

// One model with its optimizer and a batch that stays the same.
class TrainTimer {
 public:
  TrainTimer(BenchArm const& arm, int64_t vocab_size) : learner_(make_learner(arm.config, vocab_size)) {
    batch_.length = arm.config.model.context;
    batch_.sequences = arm.config.train.batch_tokens / batch_.length;
    batch_.target_count = arm.config.train.batch_tokens;
    for (int64_t i = 0; i < arm.config.train.batch_tokens; ++i) {
      batch_.tokens.push_back(static_cast<int64_t>(random_bits(1, static_cast<uint64_t>(i)) % static_cast<uint64_t>(vocab_size)));
      batch_.targets.push_back(static_cast<int64_t>(random_bits(2, static_cast<uint64_t>(i)) % static_cast<uint64_t>(vocab_size)));
    }
  }

  // Brings the model into the state that most of a run has: hardened factors, and thresholds that have seen some steps.
  void warm_up() {
    step();
    if (learner_.model->harden()) step();
    learner_.window.clear();
    step_ = 0;
  }

  double seconds_per_step(int steps) {
    synchronize(learner_.device);
    auto const start = std::chrono::steady_clock::now();
    for (int i = 0; i < steps; ++i) step();
    synchronize(learner_.device);
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / steps;
  }

  // Realised FLOPs of one step, mean over the steps since the warm-up.
  int64_t train_flops_per_step() const {
    int64_t const steps = std::max<int64_t>(1, step_), sequences = steps * batch_.sequences;
    RoutingRates const rates = routing_rates(learner_.window.routing_NC, sequences * batch_.length, false);
    Int128 const all = learner_.ledger.train(sequences, batch_.length, rates.work);
    return flops_in_64_bits(all / steps, sequences * batch_.length / steps);
  }

  // Peak memory of a step of this model alone: its tensors, its optimizer's, and what the step adds. others: bytes that are held besides. 0
  // where the device does not report it.
  int64_t peak_bytes(int64_t others) {
    reset_peak_tensor_bytes(learner_.device);
    seconds_per_step(1);
    return peak_tensor_bytes(learner_.device) - others;
  }

  Profile profile_step() {
    return profile(learner_.device, [this] { step(); });
  }
  at::Device device() const { return learner_.device; }

 private:
  void step() { learner_.step(learner_.to_device.load(batch_), {step_++, 0, 0, 1e-3}); }

  Learner learner_;
  Batch batch_;
  int64_t step_ = 0;
};

BenchResult result_of(BenchArm const& arm, int64_t vocab_size) {
  Config const& c = arm.config;
  int64_t const T = c.model.context;
  BenchResult result;
  result.name = arm.name;
  result.tokens_per_step = c.train.batch_tokens;
  result.params = count_parameters(c.model, c.depth, vocab_size).total;
  result.flops_6n_per_step = c.train.batch_tokens * (6 * result.params + 12 * c.model.layers * c.model.width * T);
  return result;
}

}  // namespace

std::vector<BenchArm> bench_arms(LoadedConfig const& loaded, int64_t vocab_size) {
  CompareConfig const& compare = loaded.config.compare;
  if (compare.arms.empty()) {
    Config twin = loaded.config;
    twin.depth = DepthConfig();  // dense
    if (loaded.config.depth.kind == twin.depth.kind) return {{loaded.config.name, loaded.config}};
    return {{"dense twin", twin}, {loaded.config.name, loaded.config}};
  }
  std::vector<BenchArm> arms;
  std::set<std::string> known;
  for (RunId const& run : experiment_runs(compare)) {  // budgets and seeds change no model
    if (!known.insert(run.family()).second) continue;
    BenchArm const bench{run.family(), resolve_config(loaded, run, [&](Config const&) { return vocab_size; })};
    arms.insert(run.family() == compare.baseline ? arms.begin() : arms.end(), bench);
  }
  return arms;
}

Bench bench_training(std::vector<BenchArm> const& arms, BenchSettings const& settings) {
  std::vector<std::unique_ptr<TrainTimer>> subjects;
  std::vector<std::unique_ptr<BenchPeer>> peers;
  Bench bench;
  // The memory of an arm is what it adds to that of the arms before it.
  int64_t resident = 0;
  for (BenchArm const& arm : arms) {
    leave_when_stopped();
    live_line("bench: preparing " + arm.name);
    subjects.push_back(std::make_unique<TrainTimer>(arm, settings.vocab_size));
    BenchResult& result = bench.results.emplace_back(result_of(arm, settings.vocab_size));
    subjects.back()->warm_up();
    result.peak_memory_bytes = subjects.back()->peak_bytes(resident);
    reset_peak_tensor_bytes(subjects.back()->device());
    resident = peak_tensor_bytes(subjects.back()->device());  // no step runs: the memory held now
  }
  bench.device = subjects.front()->device();
  bench.peak = peak_flops(bench.device, arms.front().config.precision);
  for (BenchSettings::Peer const& peer : settings.peers) {
    leave_when_stopped();
    live_line("bench: preparing " + peer.name);
    peers.push_back(std::make_unique<BenchPeer>(peer.command));
    peers.back()->seconds_per_step(1);
    BenchResult& result = bench.results.emplace_back();
    result.name = peer.name;
    result.tokens_per_step = bench.results.front().tokens_per_step;
  }

  auto const run = [&](size_t i) {
    int64_t const steps = settings.steps_per_repeat;
    return i < subjects.size() ? subjects[i]->seconds_per_step(steps) : peers[i - subjects.size()]->seconds_per_step(steps);
  };
  for (int64_t repeat = 0; repeat < settings.repeats; ++repeat) {
    leave_when_stopped();
    live_line("bench " + std::to_string(repeat + 1) + "/" + std::to_string(settings.repeats));
    for (size_t i = 0; i < bench.results.size(); ++i) bench.results[i].step_s.push_back(run(i));
    for (BenchResult& result : bench.results) result.speedup.push_back(bench.results.front().step_s.back() / result.step_s.back());
  }
  for (size_t i = 0; i < subjects.size(); ++i) {
    BenchResult& result = bench.results[i];
    result.train_flops_per_step = subjects[i]->train_flops_per_step();
    double const fastest_s = *std::min_element(result.step_s.begin(), result.step_s.end());
    bench.peak = corrected_peak(bench.peak, static_cast<double>(result.train_flops_per_step) / fastest_s, bench.device,
                                arms.front().config.precision);
  }
  for (size_t i = 0; i < peers.size(); ++i) bench.results[subjects.size() + i].peak_memory_bytes = peers[i]->peak_memory_bytes();
  for (size_t i = 0; settings.profile && i < subjects.size(); ++i) bench.results[i].profile = subjects[i]->profile_step();
  end_live_line();
  return bench;
}

}  // namespace isobath
