#include "model/decode/decoder.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>

#include <c10/core/InferenceMode.h>

#include <algorithm>

#include "core/error.h"

namespace isobath {

Decoder::Decoder(LanguageModel& model, uint64_t seed, int64_t most_cache_bytes)
    : model_(model),
      seed_(seed),
      was_training_(model.is_training()),
      cache_(model.model_config().layers, resolved_kv_heads(model.model_config()), model.model_config().width / model.model_config().heads,
             most_cache_bytes) {
  std::string const otherwise = model_.depth().calibration_alternative();
  if (auto const layer = model_.first_uncalibrated_layer())
    throw Error(ExitCode::config, "layer " + std::to_string(*layer) +
                                      " cannot decide token by token: neither training nor a calibration has set its threshold; calibrate "
                                      "a copy (isobath eval CHECKPOINT --save NEW eval.calibration_tokens=16Ki)" +
                                      (otherwise.empty() ? "" : " or " + otherwise));
  model_.eval();
}

Decoder::~Decoder() { model_.train(was_training_); }

int64_t Decoder::start(std::vector<int32_t> const& tokens, Read& result) {
  auto const length = static_cast<int64_t>(tokens.size());
  if (length == 0) throw Error(ExitCode::data, "a text needs at least one token to start from");
  if (length > model_.model_config().context)
    throw Error(ExitCode::data, "a text of " + std::to_string(length) +
                                    " tokens is longer than model.context = " + std::to_string(model_.model_config().context));
  int64_t const text = cache_.add();
  if (text >= static_cast<int64_t>(lengths_.size())) lengths_.resize(static_cast<size_t>(text) + 1);
  lengths_[static_cast<size_t>(text)] = 0;
  try {
    result = read({text}, tokens, length);
  } catch (...) {
    cache_.remove(text);
    throw;
  }
  return text;
}

int64_t Decoder::copy(int64_t text) {
  c10::InferenceMode const inference;
  int64_t const number = cache_.copy(text);
  if (number >= static_cast<int64_t>(lengths_.size())) lengths_.resize(static_cast<size_t>(number) + 1);
  lengths_[static_cast<size_t>(number)] = length(text);
  return number;
}

Decoder::Read Decoder::next(std::vector<int64_t> const& texts, std::vector<int32_t> const& tokens) {
  int64_t several = 0;  // tokens of the same text before this one
  for (size_t i = 0; i < texts.size(); ++i) {
    several = i > 0 && texts[i] == texts[i - 1] ? several + 1 : 0;
    if (length(texts[i]) + several < model_.model_config().context) continue;
    throw Error(ExitCode::data, "the text has reached model.context = " + std::to_string(model_.model_config().context) + " tokens");
  }
  return read(texts, tokens, 1);
}

void Decoder::finish(int64_t text) { cache_.remove(text); }

Decoder::Read Decoder::read(std::vector<int64_t> const& texts, std::vector<int32_t> const& tokens, int64_t T) {
  c10::InferenceMode const inference;  // cheaper operators
  auto const B = static_cast<int64_t>(texts.size());
  at::Tensor const tokens_BT = at::empty({B, T}, at::kLong);
  std::copy(tokens.begin(), tokens.end(), tokens_BT.mutable_data_ptr<int64_t>());
  std::vector<int64_t> places;
  for (int64_t const text : texts) {
    places.push_back(length(text));
    lengths_[static_cast<size_t>(text)] += T;
  }
  at::Device const device = model_.device();
  at::Tensor const positions_BT = at::tensor(places).unsqueeze(1) + at::arange(T);
  ModelInput const input{tokens_BT.to(device), positions_BT.to(device), {}, &cache_, at::tensor(texts).to(device)};
  ModelOutput output = model_.forward(input, Routing::causal, {seed_, 0, 0, NoiseStream::decoding});
  at::Tensor const last_BD = output.x_ND.view({B, T, -1}).select(1, T - 1);
  return {model_.logits(last_BD), output.depth_BT, std::move(output.routed_layers)};
}

}  // namespace isobath
