#include "trainer/bench_decode.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/tensor.h>

#include <chrono>

#include "core/error.h"
#include "core/log.h"
#include "core/random.h"
#include "core/stop.h"
#include "model/decoder.h"
#include "model/plan.h"
#include "nn/device.h"
#include "trainer/machine.h"
#include "trainer/statistics.h"

namespace isobath {

namespace {

using Time = std::chrono::steady_clock;

double seconds_from(Time::time_point start) { return std::chrono::duration<double>(Time::now() - start).count(); }

class DecodeSubject {
 public:
  DecodeSubject(BenchArm const& arm, DecodeBenchSettings const& settings)
      : settings_(settings), context_(arm.config.model.context), model_(arm.config.model, arm.config.depth, settings.vocab_size, 1) {
    device_ = place_model(model_, arm.config);
    at::NoGradGuard const no_grad;
    std::vector<int64_t> tokens;
    int64_t const sequences = 8;
    for (int64_t i = 0; i < sequences * context_; ++i) tokens.push_back(token());
    at::Tensor const sample_BT = at::tensor(tokens).view({sequences, context_}).to(device_);
    model_.train();
    at::AutoGradMode const grad(true);  // a training forward is what a threshold follows
    model_.forward({sample_BT, {}, {}}, Routing::topk, {});
    model_.harden();
    model_.eval();
    at::NoGradGuard const again;
    model_.forward({sample_BT, {}, {}}, Routing::calibrate, {});
  }

  double seconds_per_step() {
    if (!decoder_ || decoder_->length(texts_[0]) + settings_.steps > context_) begin();
    synchronize(device_);
    auto const start = Time::now();
    for (int step = 0; step < settings_.steps; ++step) {
      std::vector<int32_t> next;
      for (int64_t i = 0; i < settings_.batch; ++i) next.push_back(static_cast<int32_t>(token()));
      Decoder::Read const read = decoder_->next(texts_, next);
      read.logits_BV.argmax(1).cpu();
      blocks_ += read.depth_BT.sum().item<int64_t>();
      read_ += settings_.batch;
    }
    return seconds_from(start) / settings_.steps;
  }

  double tokens_stored() const { return static_cast<double>(settings_.batch * decoder_->length(texts_[0])); }
  KvCache::Use use() const { return decoder_->use(); }
  double blocks_per_token() const { return static_cast<double>(blocks_) / static_cast<double>(read_); }

 private:
  int64_t token() {
    return static_cast<int64_t>(random_bits(3, static_cast<uint64_t>(drawn_++)) % static_cast<uint64_t>(settings_.vocab_size));
  }

  void begin() {
    decoder_ = std::make_unique<Decoder>(model_);
    texts_.clear();
    for (int64_t i = 0; i < settings_.batch; ++i) {
      std::vector<int32_t> prompt;
      for (int64_t t = 0; t < settings_.prompt; ++t) prompt.push_back(static_cast<int32_t>(token()));
      Decoder::Read read;
      texts_.push_back(decoder_->start(prompt, read));
    }
  }

  DecodeBenchSettings const& settings_;
  int64_t context_;
  LanguageModel model_;
  at::Device device_ = at::kCPU;
  std::unique_ptr<Decoder> decoder_;
  std::vector<int64_t> texts_;
  int64_t drawn_ = 0, blocks_ = 0, read_ = 0;
};

}  // namespace

DecodeBench bench_decode(std::vector<BenchArm> const& arms, DecodeBenchSettings const& settings) {
  std::vector<std::unique_ptr<DecodeSubject>> subjects;
  DecodeBench bench;
  for (BenchArm const& arm : arms) {
    ModelConfig const& model = arm.config.model;
    if (settings.prompt < 1 || settings.prompt + settings.steps > model.context)
      throw Error(ExitCode::config, "a prompt of " + std::to_string(settings.prompt) + " tokens and " + std::to_string(settings.steps) +
                                        " steps do not fit in model.context = " + std::to_string(model.context));
    live_line("bench: preparing " + arm.name);
    subjects.push_back(std::make_unique<DecodeSubject>(arm, settings));
    subjects.back()->seconds_per_step();
    DecodeBenchResult& result = bench.results.emplace_back();
    result.name = arm.name;
    Parameters const parameters = count_parameters(model, arm.config.depth, settings.vocab_size);
    result.weight_bytes = 4 * (parameters.total - (model.tie_embeddings ? 0 : parameters.embedding / 2));
    result.planned_kv_bytes_per_token = kv_bytes_per_token(model, arm.config.depth, 4);
  }
  at::Tensor const memory = at::ones({bench.results.front().weight_bytes / 4});
  std::vector<double> read_s;
  for (int repeat = 0; repeat < settings.repeats; ++repeat) {
    if (int const signal = stop_requested()) throw Error(static_cast<ExitCode>(128 + signal), "stopped");
    live_line("bench " + std::to_string(repeat + 1) + "/" + std::to_string(settings.repeats));
    for (size_t i = 0; i < subjects.size(); ++i) bench.results[i].step_s.push_back(subjects[i]->seconds_per_step());
    for (DecodeBenchResult& result : bench.results) result.speedup.push_back(bench.results.front().step_s.back() / result.step_s.back());
    auto const start = Time::now();
    for (int again = 0; again < 3; ++again) memory.sum();
    read_s.push_back(seconds_from(start) / 3);
  }
  bench.read_bytes_per_s = static_cast<double>(memory.nbytes()) / median(read_s);
  for (size_t i = 0; i < subjects.size(); ++i) {
    DecodeBenchResult& result = bench.results[i];
    result.kv_bytes_per_token = static_cast<double>(subjects[i]->use().stored) / subjects[i]->tokens_stored();
    result.kv_reserved_per_token = static_cast<double>(subjects[i]->use().reserved) / subjects[i]->tokens_stored();
    result.blocks_per_token = subjects[i]->blocks_per_token();
  }
  end_live_line();
  return bench;
}

}  // namespace isobath
