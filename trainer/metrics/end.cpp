// Metrics of the record `end`, which a process writes when it leaves a run, and of decode.json.
#include "trainer/metrics/metric.h"

namespace isobath {
namespace {

template <typename Get>
Metric at_end(std::string key, std::string unit, std::string meaning, Get get) {
  return {std::move(key), std::move(unit), std::move(meaning), reads<EndReading>(get)};
}

template <typename Get>
Metric decoded(std::string key, std::string unit, std::string meaning, Get get) {
  return {std::move(key), std::move(unit), std::move(meaning), reads<Decoding>(get)};
}

}  // namespace

std::vector<Metric> end_metrics() {
  return {
      at_end("train_flops_total", "FLOPs", "realised training FLOPs of the run, by the ledger", [](auto const& e) { return e.train_flops; })
          .reported_as("train_flops")
          .shown(Group::compute, "Training FLOPs, realised", "train FLOPs", Format::scientific),
      at_end("tokens", "tokens", "tokens that the run trained on", [](auto const& e) { return e.tokens; })
          .whole()
          .shown(Group::compute, "Training tokens", "tokens", Format::si),
      at_end("step", "", "optimizer steps that the run has done", [](auto const& e) { return e.step; })
          .whole()
          .reported_as("steps")
          .shown(Group::compute, "Steps", "", Format::decimals),
      at_end("step_time_s_median", "s", "time of a step of this process, median", [](auto const& e) { return e.step_time_median; })
          .reported_as("step_time_s")
          .over(OverSeeds::median)
          .shown(Group::speed, "Step time, median", "step", Format::milliseconds),
      at_end("tokens_per_s", "tokens/s", "speed of training in this process", [](auto const& e) { return e.tokens_per_s; })
          .shown(Group::speed, "Tokens per second", "tok/s", Format::si),
      at_end("time_s", "s", "training alone, over all processes of the run: no validation, samples or checkpoints",
             [](auto const& e) { return e.train_seconds; })
          .shown(Group::speed, "Training time", "time", Format::duration),
      at_end("data_wait_s", "s", "part of `time_s` that training waited for data", [](auto const& e) { return e.data_wait_seconds; }),
      at_end("memory_bytes", "bytes", "most memory of the process; on a GPU, of its tensors there",
             [](auto const& e) { return e.memory_bytes; })
          .whole()
          .reported_as("peak_memory_bytes")
          .over(OverSeeds::most)
          .shown(Group::speed, "Peak memory (of the process; on a GPU of its tensors)", "memory", Format::bytes),
      at_end("checkpoint_s", "s", "time that training in this process stood still for checkpoints",
             [](auto const& e) { return e.checkpoint_seconds; }),
      at_end("checkpoints", "", "checkpoints that this process wrote", [](auto const& e) { return e.checkpoints; }).whole(),
      at_end("wall_s", "s", "time that this process lived", [](auto const& e) { return e.wall_seconds; }),
  };
}

std::vector<Metric> decoding_metrics() {
  return {
      decoded("tokens_per_s", "tokens/s", "speed of decoding, all texts of the batch together",
              [](auto const& d) { return d.tokens_per_s; })
          .shown(Group::decoding, "Tokens per second", "tok/s", Format::si),
      decoded("prompt_tokens_per_s", "tokens/s", "speed of reading a prompt in one pass, before the others",
              [](auto const& d) { return d.prompt_tokens_per_s; })
          .shown(Group::decoding, "Prompt tokens per second", "prompt tok/s", Format::si),
      decoded("kv_bytes_per_token", "bytes", "keys and values in the cache, of a token, measured",
              [](auto const& d) { return d.kv_bytes_per_token; })
          .shown(Group::decoding, "Keys and values per token", "KV/tok", Format::bytes),
      decoded("blocks_per_token", "", "blocks that a token went through, mean", [](auto const& d) { return d.blocks_per_token; })
          .shown(Group::decoding, "Blocks per token", "blocks/tok", Format::decimals, 2),
  };
}

}  // namespace isobath
