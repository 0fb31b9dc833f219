#include "model/decode/decoding_check.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"
#include "model/decode/decoder.h"

namespace isobath {

namespace {

// A text while it is read.
struct Reading {
  std::vector<int32_t> const* tokens;
  int64_t number;  // the decoder's number of the text
  std::vector<at::Tensor> logits_V;
  std::vector<std::vector<at::Tensor>> ran_T;  // which tokens each routed layer ran, one entry per read

  void add(Decoder::Read const& read, int64_t row) {
    logits_V.push_back(read.logits_BV[row].clone());
    ran_T.resize(read.routed_layers.size());
    for (size_t layer = 0; layer < ran_T.size(); ++layer) ran_T[layer].push_back(read.routed_layers[layer].executed_BT[row]);
  }
};

void compare(LanguageModel& model, Reading const& reading, uint64_t seed, DecodingCheck& check) {
  at::Tensor const tokens_BT = at::tensor(std::vector<int64_t>(reading.tokens->begin(), reading.tokens->end())).unsqueeze(0);
  ModelInput input{tokens_BT.to(model.device()), {}, {}};
  for (auto const& of_layer_T : reading.ran_T) input.replay_BT.push_back(at::cat(of_layer_T).unsqueeze(0));
  // In a batch of one text that starts at position 0, random numbers go by position, as in the decoder.
  ModelOutput const whole = model.forward(input, Routing::causal, {seed, 0, 0, NoiseStream::decoding});

  auto const places = std::ssize(reading.logits_V);
  at::Tensor const whole_RV = model.logits(whole.x_ND.narrow(0, tokens_BT.size(1) - places, places));
  at::Tensor const scale_R = whole_RV.abs().amax(1).clamp_min(std::numeric_limits<float>::min());
  auto const difference = ((at::stack(reading.logits_V) - whole_RV).abs().amax(1) / scale_R).max().item<double>();
  constexpr double infinity = std::numeric_limits<double>::infinity();
  check.tokens += places;
  check.largest_difference = std::max(check.largest_difference, std::isfinite(difference) ? difference : infinity);

  for (size_t i = 0; i < input.replay_BT.size(); ++i) {
    RoutedLayer const& own = whole.routed_layers[i];
    at::Tensor const flips_BT = own.causal_BT.ne(input.replay_BT[i]);
    auto const flips = flips_BT.sum().item<int64_t>();
    check.decisions += flips_BT.numel();
    check.flips += flips;
    if (flips == 0) continue;
    double const margin = own.margin_BT.defined() ? own.margin_BT.masked_select(flips_BT).max().item<double>() : infinity;
    check.largest_flip_margin = std::max(check.largest_flip_margin, std::isnan(margin) ? infinity : margin);
  }
}

}  // namespace

DecodingCheck check_decoding(LanguageModel& model, std::vector<std::vector<int32_t>> const& texts,
                             std::vector<int64_t> const& prompt_tokens, uint64_t seed) {
  for (size_t i = 0; i < texts.size(); ++i)
    if (prompt_tokens.at(i) < 1 || prompt_tokens[i] > std::ssize(texts[i]))
      throw Error(ExitCode::data, "text " + std::to_string(i + 1) + " has " + std::to_string(texts[i].size()) + " tokens; its prompt of " +
                                      std::to_string(prompt_tokens[i]) + " must have 1 to as many");
  at::NoGradGuard const no_grad;
  Decoder decoder(model, seed);
  DecodingCheck check;
  std::vector<Reading> readings;
  auto const take_out_finished = [&] {
    std::erase_if(readings, [&](Reading const& reading) {
      if (decoder.length(reading.number) < std::ssize(*reading.tokens)) return false;
      compare(model, reading, seed, check);
      decoder.finish(reading.number);
      return true;
    });
  };
  for (size_t i = 0; i < texts.size(); ++i) {
    Decoder::Read read;
    int64_t const number = decoder.start({texts[i].begin(), texts[i].begin() + prompt_tokens[i]}, read);
    readings.push_back({&texts[i], number, {}, {}});
    readings.back().add(read, 0);
  }
  for (take_out_finished(); !readings.empty(); take_out_finished()) {
    std::vector<int64_t> numbers;
    std::vector<int32_t> tokens;
    for (Reading const& reading : readings) {
      numbers.push_back(reading.number);
      tokens.push_back((*reading.tokens)[static_cast<size_t>(decoder.length(reading.number))]);
    }
    Decoder::Read const read = decoder.next(numbers, tokens);
    for (size_t row = 0; row < readings.size(); ++row) readings[row].add(read, static_cast<int64_t>(row));
  }
  return check;
}

}  // namespace isobath
