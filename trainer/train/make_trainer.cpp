#include "trainer/train/make_trainer.h"

#include "core/error.h"
#include "core/log.h"
#include "trainer/pretrained/initial_weights.h"

namespace isobath {

TrainerParts make_trainer(Config const& config, std::string const& version, bool fresh) {
  PreparedData data = prepare_data(config.data, config.tokenizer);
  auto train_stream = std::make_unique<TokenStream>(data.train), valid_stream = std::make_unique<TokenStream>(data.valid);
  auto loader = std::make_unique<Loader>(*train_stream, config.model.context, static_cast<uint64_t>(config.seed), /*ordered=*/false,
                                         config.data.isolate_documents);
  if (loader->samples_per_epoch() == 0) {
    throw Error(ExitCode::data, "the training text has " + std::to_string(train_stream->size()) +
                                    " tokens: not one window of model.context = " + std::to_string(config.model.context) +
                                    "; give more data.sources");
  }
  keep_freed_memory();  // the text is prepared; from here on every step allocates the same tensors
  Learner learner = make_learner(config, data.tokenizer->vocab_size());
  if (fresh && !config.train.init_from.empty())
    log_info(take_initial_weights(expand_user(config.train.init_from), *learner.model, *data.tokenizer));
  Machine machine = this_machine(version, learner.device);
  PeakFlops peak = peak_flops(learner.device, config.precision);
  int64_t const batch_sequences = config.train.batch_tokens / config.model.context;
  double const batches_per_epoch = static_cast<double>(loader->samples_per_epoch()) / static_cast<double>(batch_sequences);
  Schedule schedule = make_schedule(config, data.tokenizer->vocab_size(), batches_per_epoch);
  return {std::move(data),    std::move(train_stream), std::move(valid_stream), std::move(loader),
          std::move(learner), std::move(machine),      std::move(peak),         std::move(schedule)};
}

}  // namespace isobath
