#include "trainer/train/make_trainer.h"

#include "core/error.h"
#include "core/log.h"
#include "data/packed_examples.h"
#include "trainer/parallel/agreement.h"
#include "trainer/pretrained/initial_weights.h"
#include "trainer/pretrained/teacher.h"

namespace isobath {

namespace {

// Loads the weights that others have trained: those that a fresh run starts from, and the teacher's.
Origin take_weights(Config const& config, Learner& learner, Tokenizer const& tokenizer, TrainState const* earlier, Ranks const& ranks) {
  Origin origin = earlier ? earlier->origin : Origin{};
  TrainConfig const& train = config.train;
  if (!earlier && !train.init_from.empty()) {
    WholeWeights const whole(learner.optimizers.exchange.get());
    origin.pretraining_flops = take_initial_weights(train, *learner.model, tokenizer);
  }
  if (!learner.settings.teaching.teacher) return origin;
  TeacherFacts const teacher = take_teacher_weights(train.distill, *learner.settings.teaching.teacher, tokenizer);
  check_same(ranks, "teacher", teacher.fingerprint);
  if (earlier && origin.teacher != teacher.fingerprint)
    throw Error(ExitCode::data,
                "train.distill.from: " + train.distill.from +
                    " does not hold the weights that this run has learned from so far: restore it, or give this run another "
                    "name=");
  origin.teacher = teacher.fingerprint;
  if (!earlier && train.distill.from != train.init_from) origin.pretraining_flops += teacher.train_flops;
  return origin;
}

// Rank 0 prepares the text, with the others waiting; then these find it in the cache, or where they have another one prepare it, too.
PreparedData prepare_in_turn(Config const& config, Ranks const& ranks) {
  if (!ranks.is_first()) ranks.wait_for_all();
  PreparedData data = prepare_data(config);
  if (ranks.is_first()) ranks.wait_for_all();
  check_same(ranks, "text", data.folder.filename().string() + " with tokenizer " + data.tokenizer->fingerprint());
  return data;
}

}  // namespace

TrainerParts make_trainer(Config const& config, std::string const& version, TrainState const* earlier, Ranks const& ranks) {
  TaskValidation tasks(config);
  PreparedData data = prepare_in_turn(config, ranks);
  auto train_stream = std::make_unique<TokenStream>(data.train), valid_stream = std::make_unique<TokenStream>(data.valid);
  auto windows = training_windows(*train_stream, config.model.context, static_cast<uint64_t>(config.seed), config.data.isolates());
  if (windows->count() == 0) {
    throw Error(ExitCode::data, "the training text has " + std::to_string(train_stream->size()) +
                                    " tokens: not one window of model.context = " + std::to_string(config.model.context) +
                                    "; give more data.sources");
  }
  if (std::string const what = windows->describe(); !what.empty()) log_info("training on " + what);
  keep_freed_memory();  // the text is prepared; from here on every step allocates the same tensors
  Learner learner = make_learner(config, data.tokenizer->vocab_size(), ranks);
  Origin origin = take_weights(config, learner, *data.tokenizer, earlier, ranks);
  learner.settings.teaching.cache = open_teacher_cache(config, origin.teacher, data, learner.device, windows->count());
  Machine machine = this_machine(version, learner.device);
  PeakFlops peak = peak_flops(learner.device, config.precision, ranks.size());
  int64_t const batch_sequences = config.train.batch_tokens / config.model.context;
  double const batches_per_epoch = static_cast<double>(windows->count()) / static_cast<double>(batch_sequences);
  Schedule schedule = make_schedule(config, data.tokenizer->vocab_size(), batches_per_epoch);
  return {std::move(origin),  std::move(data),    std::move(train_stream), std::move(valid_stream), std::move(windows),
          std::move(learner), std::move(machine), std::move(peak),         std::move(schedule),     std::move(tasks)};
}

}  // namespace isobath
