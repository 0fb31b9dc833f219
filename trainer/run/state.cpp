#include "trainer/run/state.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json_nesting.h"
#include "format/total.h"

namespace isobath {

namespace {

using Json = nlohmann::ordered_json;

// JSON has no infinity and no NaN: both are null.
Json number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

double number_or(Json const& object, char const* key, double otherwise) {
  return object.at(key).is_null() ? otherwise : object.at(key).get<double>();
}

Int128 total_at(Json const& object, char const* key, std::string const& where) {
  Json const& value = object.at(key);
  if (std::optional<Int128> const total = read_total(value)) return *total;
  throw Error(ExitCode::checkpoint,
              where + ": not a training state: '" + key + "' is " + value.dump() + ", not a whole number or its digits as text");
}

}  // namespace

Json to_json(TrainState const& state) {
  Json segments = Json::array();
  for (Segment const& segment : state.segments) {
    segments.push_back({{"from_step", segment.from_step}, {"total_steps", segment.total_steps}, {"changes", segment.changes}});
  }
  return {
      {"step", state.step},
      {"tokens", state.tokens},
      {"train_flops", total_json(state.train_flops)},
      {"next_sample", state.next_sample},
      {"window_steps", state.window_steps},
      {"window_flops", total_json(state.window_flops)},
      {"window_pairs", total_json(state.window_pairs)},
      {"window_seconds", state.window_seconds},
      {"train_seconds", state.train_seconds},
      {"data_wait_seconds", state.data_wait_seconds},
      {"best_loss", number(state.best_value)},
      {"best_step", state.best_step},
      {"validations_without_better", state.validations_without_better},
      {"validated_step", state.validated_step},
      {"checkpointed_step", state.checkpointed_step},
      {"finished", state.finished},
      {"ended_by_patience", state.ended_by_patience},
      {"seed", state.seed},
      {"micro_batch_tokens", state.micro_batch_tokens},
      {"data_key", state.data_key},
      {"tokenizer_fingerprint", state.tokenizer_fingerprint},
      {"machine",
       {{"version", state.machine.version},
        {"libtorch", state.machine.libtorch},
        {"cpu_capability", state.machine.cpu_capability},
        {"gemm", state.machine.gemm},
        {"threads", state.machine.threads},
        {"ranks", state.machine.ranks},
        {"device", state.machine.device}}},
      {"segments", std::move(segments)},
      {"origin", {{"pretraining_flops", number(state.origin.pretraining_flops)}, {"teacher", state.origin.teacher}}},
  };
}

TrainState state_from_json(std::string const& text, std::string const& where) {
  if (nests_too_deep(text)) throw Error(ExitCode::checkpoint, where + ": not a training state: it nests too deeply");
  try {
    Json const object = Json::parse(text);
    TrainState state;
    object.at("step").get_to(state.step);
    object.at("tokens").get_to(state.tokens);
    state.train_flops = total_at(object, "train_flops", where);
    object.at("next_sample").get_to(state.next_sample);
    object.at("window_steps").get_to(state.window_steps);
    state.window_flops = object.contains("window_flops") ? total_at(object, "window_flops", where) : -1;  // -1: an old checkpoint
    state.window_pairs = object.contains("window_pairs") ? total_at(object, "window_pairs", where) : -1;
    object.at("window_seconds").get_to(state.window_seconds);
    object.at("train_seconds").get_to(state.train_seconds);
    object.at("data_wait_seconds").get_to(state.data_wait_seconds);
    state.best_value = number_or(object, "best_loss", state.best_value);
    object.at("best_step").get_to(state.best_step);
    state.validations_without_better = object.value("validations_without_better", int64_t{0});
    object.at("validated_step").get_to(state.validated_step);
    object.at("checkpointed_step").get_to(state.checkpointed_step);
    object.at("finished").get_to(state.finished);
    state.ended_by_patience = object.value("ended_by_patience", false);
    object.at("seed").get_to(state.seed);
    object.at("micro_batch_tokens").get_to(state.micro_batch_tokens);
    object.at("data_key").get_to(state.data_key);
    object.at("tokenizer_fingerprint").get_to(state.tokenizer_fingerprint);
    Json const& machine = object.at("machine");
    machine.at("version").get_to(state.machine.version);
    machine.at("libtorch").get_to(state.machine.libtorch);
    machine.at("cpu_capability").get_to(state.machine.cpu_capability);
    machine.at("gemm").get_to(state.machine.gemm);
    machine.at("threads").get_to(state.machine.threads);
    state.machine.ranks = machine.value("ranks", int64_t{1});
    state.machine.device = machine.value("device", "cpu");
    for (Json const& item : object.at("segments")) {
      Segment& segment = state.segments.emplace_back();
      item.at("from_step").get_to(segment.from_step);
      item.at("total_steps").get_to(segment.total_steps);
      item.at("changes").get_to(segment.changes);
    }
    if (object.contains("origin")) {
      Json const& origin = object.at("origin");
      state.origin.pretraining_flops = number_or(origin, "pretraining_flops", std::nan(""));
      origin.at("teacher").get_to(state.origin.teacher);
    }
    return state;
  } catch (nlohmann::json::exception const& problem) {
    throw Error(ExitCode::checkpoint, where + ": not a training state: " + problem.what());
  }
}

}  // namespace isobath
