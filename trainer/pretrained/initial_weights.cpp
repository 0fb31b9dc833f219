#include "trainer/pretrained/initial_weights.h"

#include "core/log.h"
#include "trainer/pretrained/pretrained.h"

namespace isobath {

double take_initial_weights(fs::path const& path, LanguageModel& model, Tokenizer const& tokenizer) {
  Pretrained const pretrained = open_pretrained(path);
  check_tokenizer(pretrained, tokenizer, "train.init_from");
  std::vector<std::string> const fresh = import_weights(model, pretrained.weights, /*depth_may_lack=*/true);
  std::string text =
      "starts from " + path.string() + ", a " + pretrained.format + ": " + std::to_string(pretrained.weights.size()) + " tensors";
  if (!fresh.empty())
    text += "; " + std::to_string(fresh.size()) + " of " + model.depth_config().kind + " start fresh (" + fresh.front() +
            (fresh.size() > 1 ? ", ...)" : ")");
  log_info(text);
  return pretrained.train_flops;
}

}  // namespace isobath
