#include "trainer/pretrained/initial_weights.h"

#include "core/error.h"
#include "core/log.h"
#include "trainer/pretrained/pretrained.h"

namespace isobath {

double take_initial_weights(TrainConfig const& train, LanguageModel& model, Tokenizer const& tokenizer) {
  fs::path const path = expand_user(train.init_from);
  Pretrained const pretrained = open_pretrained(path);
  check_tokenizer(pretrained, tokenizer, "train.init_from");
  if (!train.init_layers.empty()) {
    if (pretrained.depth.kind != "dense")
      throw Error(ExitCode::config, "train.init_layers: " + path.string() + " has depth.kind: " + pretrained.depth.kind +
                                        "; layers are chosen from a dense model");
    for (int64_t const layer : train.init_layers)
      if (layer >= pretrained.model.layers)
        throw Error(ExitCode::config, "train.init_layers names layer " + std::to_string(layer) + "; " + path.string() + " has 0 to " +
                                          std::to_string(pretrained.model.layers - 1));
  }
  std::vector<std::string> fresh = import_weights(model, chosen_layers(pretrained.weights, train.init_layers), /*additions_may_lack=*/true);
  std::erase_if(fresh, is_low_rank);  // which start at zero
  std::string text =
      "starts from " + path.string() + ", a " + pretrained.format + ": " + std::to_string(pretrained.weights.size()) + " tensors";
  if (!train.init_layers.empty())
    text += ", " + std::to_string(train.init_layers.size()) + " of " + std::to_string(pretrained.model.layers) + " layers";
  if (!fresh.empty())
    text += "; " + std::to_string(fresh.size()) + " of " + model.depth_config().kind + " start fresh (" + fresh.front() +
            (fresh.size() > 1 ? ", ...)" : ")");
  log_info(text);
  return pretrained.train_flops;
}

}  // namespace isobath
