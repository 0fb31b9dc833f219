#include "trainer/evaluate/sample.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "data/loader.h"
#include "nn/ops/ops.h"
#include "trainer/train/device_prefetcher.h"

namespace isobath {

std::vector<int32_t> prompt_ids(Tokenizer const& tokenizer, std::string const& prompt) {
  std::vector<int32_t> ids = tokenizer.encode(prompt);
  if (ids.empty()) ids.push_back(tokenizer.document_end());
  return ids;
}

std::string sample_text(LanguageModel& model, Tokenizer const& tokenizer, std::string const& prompt, GenerateSettings const& settings) {
  return prompt + tokenizer.decode(generate(model, {prompt_ids(tokenizer, prompt)}, settings).texts[0]);
}

void write_depth_text(fs::path const& path, LanguageModel& model, TokenStream const& valid, Tokenizer const& tokenizer,
                      bool isolate_documents) {
  Loader const loader(valid, model.model_config().context, 0, /*ordered=*/true, isolate_documents);
  if (loader.samples_per_epoch() == 0) return;
  at::NoGradGuard const no_grad;
  bool const was_training = model.is_training();
  model.eval();
  Batch const batch = loader.at(0, 1);
  DevicePrefetcher to_device(model.device());
  DeviceBatch const on_device = to_device.load(batch);
  ModelOutput const output = model.forward(on_device.input(0, 1), Routing::causal, {});
  at::Tensor const losses_T =
      ops::token_losses(output.x_ND, model.head_weight(), on_device.targets_N(0, 1)).cpu().to(at::kDouble).contiguous();
  at::Tensor const depth_T = output.depth_BT.cpu().contiguous();
  model.train(was_training);

  nlohmann::ordered_json pieces = nlohmann::ordered_json::array(), depths = pieces, losses = pieces;
  auto const is_predicted = [&](int64_t t) { return t > 0 && batch.targets[static_cast<size_t>(t - 1)] != ignore_target; };
  for (int64_t t = 0; t < batch.length; ++t) {
    pieces.push_back(tokenizer.piece(static_cast<int32_t>(batch.tokens[static_cast<size_t>(t)])));
    depths.push_back(depth_T.const_data_ptr<int64_t>()[t]);
    losses.push_back(is_predicted(t) ? nlohmann::ordered_json(losses_T.const_data_ptr<double>()[t - 1]) : nlohmann::ordered_json(nullptr));
  }
  nlohmann::ordered_json const file{{"pieces", pieces}, {"depth", depths}, {"layers", model.model_config().layers}, {"loss", losses}};
  write_file_atomic(path, file.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

}  // namespace isobath
