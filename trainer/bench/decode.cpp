#include "trainer/bench/decode.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <array>
#include <chrono>

#include "core/error.h"
#include "core/log.h"
#include "core/random.h"
#include "core/stop.h"
#include "model/decode/decoder.h"
#include "model/ledger/ledger.h"
#include "nn/device.h"
#include "trainer/bench/peers.h"
#include "trainer/report/statistics.h"
#include "trainer/run/machine.h"

namespace isobath {

namespace {

using Time = std::chrono::steady_clock;

double seconds_from(Time::time_point start) { return std::chrono::duration<double>(Time::now() - start).count(); }

// Counts what the texts of a batch have cost since they began.
class Work {
 public:
  Work(LanguageModel const& model, int64_t batch)
      : depth_(model.depth_config()),
        model_(model.model_config()),
        ledger_(make_ledger(model_, depth_, model.vocab_size())),
        batch_(batch),
        layers_(static_cast<size_t>(ledger_.routed_layers)),
        rows_(layers_.size(), std::vector<int64_t>(static_cast<size_t>(batch))) {}

  // Adds the next tokens of texts [first, first + B); the first of them is at position `place`.
  void add(std::vector<RoutedLayer> const& routed_layers, int64_t first, int64_t place) {
    for (size_t layer = 0; layer < routed_layers.size(); ++layer) {
      at::Tensor const executed_BT = routed_layers[layer].executed_BT.cpu().contiguous();
      bool const* ran = executed_BT.const_data_ptr<bool>();
      for (int64_t b = 0; b < executed_BT.size(0); ++b)
        for (int64_t t = 0; t < executed_BT.size(1); ++t) {
          if (!*ran++) continue;
          int64_t const rows = ++rows_[layer][static_cast<size_t>(first + b)];
          layers_[layer].rows += 1;
          layers_[layer].pairs += ledger_.keeps_kv ? place + t + 1 : rows;
        }
    }
  }

  // Forward FLOPs of all texts of `length` tokens each, with logits for every token.
  Int128 flops(int64_t length) const { return ledger_.forward(batch_, length, layers_); }
  int64_t head_flops() const { return ledger_.head_row; }
  double kv_bytes_per_token(int64_t length, int64_t bytes_per_value) const {
    std::vector<double> shares;
    for (RoutedWork const& layer : layers_) shares.push_back(static_cast<double>(layer.rows) / static_cast<double>(batch_ * length));
    return isobath::kv_bytes_per_token(model_, depth_, shares, bytes_per_value);
  }

 private:
  DepthConfig const& depth_;
  ModelConfig const& model_;
  Ledger ledger_;
  int64_t batch_;
  std::vector<RoutedWork> layers_;
  std::vector<std::vector<int64_t>> rows_;  // rows that ran, of each routed layer and text
};

// Gathers one value a round from all N ranks, in the order of the rounds. Rank r ran the rounds r, r + N, r + 2N, ...
std::vector<double> of_all_rounds(std::vector<double> const& own, Ranks const& ranks) {
  at::Tensor const joined = ranks.joined(at::tensor(own, at::kDouble));
  double const* value = joined.const_data_ptr<double>();
  std::vector<double> all(static_cast<size_t>(joined.numel()));
  for (size_t rank = 0; rank < static_cast<size_t>(ranks.size()); ++rank)
    for (size_t round = rank; round < all.size(); round += static_cast<size_t>(ranks.size())) all[round] = *value++;
  return all;
}

// One arm at one prompt length. Every round starts new texts in the same cache.
class DecodeTimer {
 public:
  DecodeTimer(DecodeArm const& arm, int64_t prompt, DecodeBenchSettings const& settings)
      : settings_(settings), prompt_(prompt), arm_(arm), decoder_(*arm.model) {
    ModelConfig const& model = arm.model->model_config();
    int64_t const length = prompt + settings.steps;
    if (prompt < 1 || length > model.context)
      throw Error(ExitCode::config, arm.name + ": a prompt of " + std::to_string(prompt) + " tokens and " + std::to_string(settings.steps) +
                                        " steps do not fit in model.context = " + std::to_string(model.context) +
                                        ": give smaller --prompt or --steps");
    if (std::ssize(arm.text) < length)
      throw Error(ExitCode::data, arm.name + ": the text has " + std::to_string(arm.text.size()) + " tokens, a prompt and the steps need " +
                                      std::to_string(length));
    result.name = arm.name;
    result.prompt = prompt;
    Parameters const parameters = count_parameters(model, arm.model->depth_config(), arm.model->vocab_size());
    result.weight_bytes = 4 * (parameters.total - (model.tie_embeddings ? 0 : parameters.embedding / 2));
    result.kv_planned_per_token = kv_bytes_per_token(model, arm.model->depth_config(), arm.bytes_per_value);
  }

  // number: of all rounds, on whichever rank. It decides which texts are read.
  void round(int number) {
    Work work(*arm_.model, settings_.batch);
    std::vector<int64_t> texts;
    std::vector<size_t> starts;
    at::Device const device = arm_.model->device();
    synchronize(device);
    auto start = Time::now();
    for (int64_t i = 0; i < settings_.batch; ++i) {
      starts.push_back(start_of(number * settings_.batch + i));
      Decoder::Read read;
      auto const begin = arm_.text.begin() + static_cast<std::ptrdiff_t>(starts.back());
      texts.push_back(decoder_.start({begin, begin + static_cast<std::ptrdiff_t>(prompt_)}, read));
      reads_.push_back(std::move(read.routed_layers));
    }
    synchronize(device);
    result.prompt_s.push_back(seconds_from(start) / static_cast<double>(settings_.batch));
    for (size_t i = 0; i < reads_.size(); ++i) work.add(reads_[i], static_cast<int64_t>(i), 0);
    reads_.clear();
    Int128 const before = work.flops(prompt_);

    int64_t blocks = 0;
    start = Time::now();
    for (int step = 0; step < settings_.steps; ++step) {
      std::vector<int32_t> tokens;
      for (size_t const text : starts) tokens.push_back(arm_.text[text + static_cast<size_t>(prompt_ + step)]);
      Decoder::Read read = decoder_.next(texts, tokens);
      read.logits_BV.argmax(1).cpu();  // generation, too, has to wait for the next token
      blocks += read.depth_BT.sum().item<int64_t>();
      reads_.push_back(std::move(read.routed_layers));
    }
    result.step_s.push_back(seconds_from(start) / settings_.steps);
    for (size_t step = 0; step < reads_.size(); ++step) work.add(reads_[step], 0, prompt_ + static_cast<int64_t>(step));
    reads_.clear();

    int64_t const length = prompt_ + settings_.steps;
    auto const batch = static_cast<double>(settings_.batch), tokens = batch * static_cast<double>(length);
    costs_.push_back({static_cast<double>(work.flops(length) - before) / (batch * settings_.steps),
                      static_cast<double>(before) / batch - static_cast<double>((prompt_ - 1) * work.head_flops()),
                      static_cast<double>(decoder_.use().stored) / tokens, static_cast<double>(decoder_.use().reserved) / tokens,
                      work.kv_bytes_per_token(length, arm_.bytes_per_value), static_cast<double>(blocks) / (batch * settings_.steps)});
    for (int64_t const text : texts) decoder_.finish(text);
  }

  // Discards the first round, which is a warm-up.
  void discard_warm_up() {
    for (auto* times : {&result.step_s, &result.speedup, &result.prompt_s}) times->clear();
    costs_.clear();
  }

  // The result over the rounds of all ranks.
  DecodeBenchResult joined(Ranks const& ranks) {
    for (auto* times : {&result.step_s, &result.speedup, &result.prompt_s}) *times = of_all_rounds(*times, ranks);
    std::array const means{&result.flops_per_token,       &result.prompt_flops,           &result.kv_bytes_per_token,
                           &result.kv_reserved_per_token, &result.kv_predicted_per_token, &result.blocks_per_token};
    for (size_t i = 0; i < means.size(); ++i) {
      std::vector<double> costs;
      for (auto const& round : costs_) costs.push_back(round[i]);
      *means[i] = spread(of_all_rounds(costs, ranks)).mean;
    }
    return std::move(result);
  }

  DecodeBenchResult result;

 private:
  // The start of a text in arm_.text; the first text follows the last.
  size_t start_of(int64_t text) const {
    int64_t const length = prompt_ + settings_.steps;
    return static_cast<size_t>(text % (std::ssize(arm_.text) / length) * length);
  }

  DecodeBenchSettings const& settings_;
  int64_t prompt_;
  DecodeArm const& arm_;
  Decoder decoder_;
  std::vector<std::vector<RoutedLayer>> reads_;  // counted outside of the timed code
  std::vector<std::array<double, 6>> costs_;     // of each round, in the order of joined()
};

}  // namespace

DecodeArm random_decode_arm(BenchArm const& arm, int64_t vocab_size) {
  DecodeArm made{
      arm.name, std::make_shared<LanguageModel>(arm.config.model, arm.config.depth, vocab_size, 1), {}, bytes_per_value(arm.config)};
  LanguageModel& model = *made.model;
  at::Device const device = place_model(model, arm.config);
  int64_t const context = arm.config.model.context, sequences = std::max<int64_t>(16, 4096 / context);
  for (int64_t i = 0; i < sequences * context; ++i)
    made.text.push_back(static_cast<int32_t>(random_bits(3, static_cast<uint64_t>(i)) % static_cast<uint64_t>(vocab_size)));
  std::vector<int64_t> const sample(made.text.begin(), made.text.begin() + std::max<int64_t>(1, 4096 / context) * context);
  at::Tensor const sample_BT = at::tensor(sample).view({-1, context}).to(device);
  model.train();
  StepStatistics step;  // one training pass, so that the running thresholds have values
  step.add(model.forward({sample_BT, {}, {}}, Routing::topk, {}).statistics);
  step.updated = at::ones({}, sample_BT.options().dtype(at::kBool));
  model.end_of_step(step);
  at::NoGradGuard const no_grad;
  model.harden();
  model.eval();
  model.calibrate({{sample_BT, {}, {}}}, {});
  return made;
}

DecodeBench bench_decode(std::vector<DecodeArm> const& arms, DecodeBenchSettings const& settings, Ranks const& ranks) {
  std::vector<std::unique_ptr<DecodeTimer>> subjects;
  for (int64_t const prompt : settings.prompts)
    for (DecodeArm const& arm : arms) subjects.push_back(std::make_unique<DecodeTimer>(arm, prompt, settings));
  std::vector<std::unique_ptr<BenchPeer>> peers;
  std::vector<DecodeBenchResult> of_peers;
  for (BenchSettings::Peer const& peer : settings.peers) {
    leave_when_stopped();
    live_line("bench: preparing " + peer.name);
    peers.push_back(std::make_unique<BenchPeer>(peer.command));
    of_peers.emplace_back().name = peer.name;
    of_peers.back().prompt = settings.prompts.front();
  }

  DecodeBench bench;
  at::Tensor memory;
  std::vector<double> read_s;
  for (int repeat = -1; repeat < settings.repeats; ++repeat) {
    if (repeat >= 0 && repeat % ranks.size() != ranks.rank()) continue;
    if (!settings.on_turn)
      live_line(repeat < 0 ? "bench: warming up" : "bench " + std::to_string(repeat + 1) + "/" + std::to_string(settings.repeats));
    for (size_t i = 0; i < subjects.size(); ++i) {
      leave_when_stopped();
      if (settings.on_turn) settings.on_turn(repeat + 1, subjects[i]->result.name);
      subjects[i]->round(repeat + 1);
      DecodeBenchResult& result = subjects[i]->result;
      result.speedup.push_back(subjects[i - i % arms.size()]->result.step_s.back() / result.step_s.back());
    }
    for (size_t i = 0; i < peers.size(); ++i) {
      of_peers[i].step_s.push_back(peers[i]->seconds_per_step(settings.steps));
      of_peers[i].speedup.push_back(subjects.front()->result.step_s.back() / of_peers[i].step_s.back());
      of_peers[i].peak_memory_bytes = peers[i]->peak_memory_bytes();
      of_peers[i].load_s = peers[i]->load_s();
    }
    if (!memory.defined()) {
      bench.peak_bytes_warm = peak_memory_bytes(at::kCPU);
      memory = at::ones({subjects.front()->result.weight_bytes / 4});
    }
    auto const start = Time::now();
    for (int again = 0; again < 3; ++again) memory.sum();
    read_s.push_back(seconds_from(start) / 3);
    bench.resident_bytes_last = resident_memory_bytes();
    if (repeat <= ranks.rank()) bench.resident_bytes_first = bench.resident_bytes_last;
    if (repeat >= 0) continue;
    for (auto const& subject : subjects) subject->discard_warm_up();
    for (DecodeBenchResult& result : of_peers) {
      result.step_s.clear();
      result.speedup.clear();
    }
    read_s.clear();
  }
  bench.read_bytes_per_s = static_cast<double>(memory.nbytes()) / median(of_all_rounds(read_s, ranks));
  for (auto const& subject : subjects) bench.results.push_back(subject->joined(ranks));
  for (DecodeBenchResult& result : of_peers) {
    for (auto* times : {&result.step_s, &result.speedup}) *times = of_all_rounds(*times, ranks);
    bench.results.push_back(std::move(result));
  }
  end_live_line();
  return bench;
}

}  // namespace isobath
