#include "trainer/train/learner.h"

#include <algorithm>

#include "core/error.h"
#include "trainer/run/machine.h"

namespace isobath {

Learner make_learner(Config const& config, int64_t vocab_size, Ranks const& ranks) {
  auto const seed = static_cast<uint64_t>(config.seed);
  auto const model = std::make_shared<LanguageModel>(config.model, config.depth, vocab_size, seed);
  if (LoraConfig const& lora = config.train.lora; lora.rank > 0)
    model->add_low_rank(lora.rank, lora.has("attention"), lora.has("mlp"), seed);
  at::Device const device = place_model(*model, config);  // before an optimizer takes hold of the parameters
  model->train();
  std::vector<TrainedParameter> const frozen = model->parameters_of(config.train.freeze);
  if (frozen.size() == model->trained().size())
    throw Error(ExitCode::config, "train.freeze leaves nothing to train: a model with depth.kind dense has no other parts");
  for (TrainedParameter const& parameter : frozen) at::Tensor(parameter.tensor).set_requires_grad(false);
  Ledger const ledger = make_ledger(config.model, config.depth, vocab_size, training_setup_of(config.train));
  StepSettings settings{micro_batch_sequences(config, device.is_cuda(), ranks.size()), config.depth.bce_weight, seed,
                        config.depth.z_loss_weight, config.depth.threshold_training};
  settings.teaching = make_teaching(config, vocab_size);
  settings.ranks = ranks.across();
  Optimizers optimizers = make_optimizers(*model, config.train, config.parallel, ranks);
  return {model, device, ledger, settings, std::move(optimizers), MetricWindow(ledger.routed_layers, device), DevicePrefetcher(device)};
}

BatchShare batch_share(int64_t sequences, int64_t rank, int64_t ranks) {
  int64_t const first = sequences * rank / ranks;
  return {first, sequences * (rank + 1) / ranks - first};
}

int64_t micro_batch_sequences(Config const& config, bool gpu, int64_t ranks) {
  int64_t const context = config.model.context, all_sequences = config.train.batch_tokens / context;
  if (all_sequences < ranks && ranks > 1)
    throw Error(ExitCode::config, "a batch of train.batch_tokens = " + std::to_string(config.train.batch_tokens) + " has " +
                                      std::to_string(all_sequences) + " sequences of model.context = " + std::to_string(context) +
                                      ", too few for " + std::to_string(ranks) + " ranks: every rank needs at least one");
  int64_t const sequences = (all_sequences + ranks - 1) / ranks;
  if (all_sequences < 1 || all_sequences * context != config.train.batch_tokens) {
    throw Error(ExitCode::config, "train.batch_tokens = " + std::to_string(config.train.batch_tokens) +
                                      " is not a multiple of model.context = " + std::to_string(context));
  }
  if (config.train.micro_batch_tokens > 0) return std::clamp<int64_t>(config.train.micro_batch_tokens / context, 1, sequences);
  int64_t const fast = gpu ? 65536 : 4096;  // tokens of a micro-batch; more take memory without being faster
  int64_t chosen = 1;
  for (int64_t count = 1; count <= sequences && count * context <= fast; ++count) {
    if (sequences % count == 0) chosen = count;
  }
  return chosen;
}

}  // namespace isobath
