#include "trainer/train/trainer.h"

#include <chrono>
#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/log.h"
#include "core/random.h"
#include "core/stop.h"
#include "core/units.h"
#include "nn/device.h"
#include "trainer/evaluate/depth_records.h"
#include "trainer/evaluate/evaluate.h"
#include "trainer/parallel/agreement.h"
#include "trainer/run/record_file.h"
#include "trainer/run/records.h"
#include "trainer/run/run_folder.h"
#include "trainer/run/saved_model.h"
#include "trainer/train/best_validation.h"
#include "trainer/train/earlier_run.h"
#include "trainer/train/make_trainer.h"
#include "trainer/train/open_run.h"
#include "trainer/train/skipped_steps.h"
#include "trainer/train/step_times.h"
#include "trainer/train/task_validation.h"
#include "trainer/train/validation.h"

namespace isobath {

namespace {

using Clock = std::chrono::steady_clock;

constexpr double plain_line_seconds = 5;  // between progress lines when there is no terminal

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

class Trainer {
 public:
  Trainer(Config const& config, RunFolder const& run, TrainerParts& parts, std::optional<EarlierRun> const& earlier, Ranks const& ranks);
  int loop();

 private:
  void resume(EarlierRun const& earlier);
  void start(Origin const& origin);
  void write_run_record();
  void one_step();
  void log_window(double learning_rate);
  bool validate(bool final);  // false when a signal interrupted it
  void save(std::string const& reason);
  void finish(std::string const& status);
  void write(nlohmann::ordered_json const& record);
  bool finished() const { return schedule_.finished(state_.step, state_.train_flops) || out_of_patience(state_, config_.train); }

  Config const& config_;
  RunFolder const& run_;
  PreparedData const& data_;
  TokenStream const &train_stream_, &valid_stream_;
  Windows const& train_windows_;
  Learner& learner_;
  LanguageModel& model_;
  MetricWindow& window_;
  at::Device device_;
  Machine const& machine_;
  Schedule const& schedule_;
  PeakFlops& peak_flops_;
  TaskValidation& tasks_;
  Ranks const& ranks_;  // all of them run this loop in step; rank 0 alone writes
  int64_t batch_sequences_;
  BatchShare share_;

  // The state of the run, and what this process measures.
  TrainState state_;
  std::unique_ptr<RecordFile> metrics_;  // of rank 0
  StopAgreement stop_agreement_{ranks_};
  int stop_ = 0;  // the signal to stop for, as all ranks agree
  std::unique_ptr<Prefetcher> prefetcher_;
  Clock::time_point const started_ = Clock::now();
  Clock::time_point last_plain_line_{};
  double earlier_wait_ = 0, earlier_seconds_ = 0;
  int64_t earlier_tokens_ = 0, checkpoints_ = 0;
  double checkpoint_seconds_ = 0;
  StepTimes step_times_;
  TrainReading last_reading_;
};

Trainer::Trainer(Config const& config, RunFolder const& run, TrainerParts& parts, std::optional<EarlierRun> const& earlier,
                 Ranks const& ranks)
    : config_(config),
      run_(run),
      data_(parts.data),
      train_stream_(*parts.train_stream),
      valid_stream_(*parts.valid_stream),
      train_windows_(*parts.windows),
      learner_(parts.learner),
      model_(*parts.learner.model),
      window_(parts.learner.window),
      device_(parts.learner.device),
      machine_(parts.machine),
      schedule_(parts.schedule),
      peak_flops_(parts.peak_flops),
      tasks_(parts.tasks),
      ranks_(ranks),
      batch_sequences_(config.train.batch_tokens / config.model.context),
      share_(batch_share(batch_sequences_, ranks.rank(), ranks.size())) {
  if (earlier) {
    resume(*earlier);
  } else {
    start(parts.origin);
  }
  check_weights(ranks_, model_.parameters(), state_.step);  // each rank has read them from files for itself
  earlier_wait_ = state_.data_wait_seconds;
  earlier_seconds_ = state_.train_seconds;
  earlier_tokens_ = state_.tokens;
  prefetcher_ = std::make_unique<Prefetcher>(train_windows_, state_.next_sample, batch_sequences_);
}

void Trainer::start(Origin const& origin) {
  state_.origin = origin;
  state_.seed = config_.seed;
  state_.micro_batch_tokens = learner_.settings.micro_sequences * config_.model.context;
  state_.data_key = data_.folder.filename().string();
  state_.tokenizer_fingerprint = data_.tokenizer->fingerprint();
  state_.machine = machine_;
  state_.segments = {{0, schedule_.total_steps(), {}}};
  if (ranks_.is_first()) {
    run_.write_description(config_, machine_);
    std::error_code ignored;
    fs::remove(run_.metrics(), ignored);  // from a start that wrote no checkpoint
    metrics_ = std::make_unique<RecordFile>(run_.metrics());
  }
  write_run_record();
  log_info("training " + run_.root().string() + ": " +
           format_si(static_cast<double>(count_parameters(config_.model, config_.depth, model_.vocab_size()).total)) + " parameters, " +
           std::to_string(schedule_.total_steps()) + " steps of " + std::to_string(config_.train.batch_tokens) + " tokens, " +
           format_si(static_cast<double>(schedule_.total_flops())) + " FLOPs, " +
           (ranks_.alone() ? "" : std::to_string(ranks_.size()) + " ranks, each with ") +
           (device_.is_cpu() ? std::to_string(machine_.threads) + " threads" : machine_.device) + ", " + config_.precision.name());
}

void Trainer::resume(EarlierRun const& earlier) {
  state_ = earlier.state;
  std::string const where = earlier.checkpoint.string();
  std::string const data_key = data_.folder.filename().string();
  if (state_.data_key != data_key || state_.tokenizer_fingerprint != data_.tokenizer->fingerprint()) {
    throw Error(ExitCode::data, "the text is not what " + where + " was trained on (prepared as " + data_key + " now, as " +
                                    state_.data_key + " then): restore it, or give this run another name=");
  }
  bool const in_flops = config_.train.budget.unit == Unit::flop;
  if (in_flops ? state_.train_flops > schedule_.total_flops() + schedule_.mean_step_flops() : state_.step > schedule_.total_steps())
    throw Error(ExitCode::config, "train.budget (" + format_duration(config_.train.budget) + ") is less than what " + run_.root().string() +
                                      " has done, " + std::to_string(state_.step) + " steps: give a larger one, or another name=");
  for (ConfigDifference const& change : earlier.schedule_changes)
    if (change.path == "checkpoint.best") forget_best(state_);
  check_something_is_left(earlier, finished(), out_of_patience(state_, config_.train));
  restore_training(earlier.checkpoint, model_, learner_.optimizers, window_);
  if (state_.window_pairs < 0) state_.window_pairs = Int128(state_.window_steps) * batch_sequences_ * causal_pairs(config_.model.context);
  if (state_.window_flops < 0) state_.window_flops = Int128(state_.window_steps) * schedule_.mean_step_flops();
  log_info("resuming " + run_.root().string() + " at step " + std::to_string(state_.step) + " of " +
           std::to_string(schedule_.total_steps()));

  int64_t const micro_batch_tokens = learner_.settings.micro_sequences * config_.model.context;
  std::string const differences = bit_exactness_lost(state_, machine_, micro_batch_tokens);
  if (!differences.empty()) log_warning("the continuation will not be bit-exact: " + differences);
  state_.machine = machine_;
  state_.micro_batch_tokens = micro_batch_tokens;

  if (ranks_.is_first()) {
    cut_back_records(run_.metrics(), state_);
    metrics_ = std::make_unique<RecordFile>(run_.metrics());
    run_.write_description(config_, machine_);
  }
  if (earlier.schedule_changes.empty()) return;
  Segment& segment = state_.segments.emplace_back(Segment{state_.step, schedule_.total_steps(), {}});
  for (ConfigDifference const& change : earlier.schedule_changes) {
    segment.changes.push_back(change.path + ": " + change.before + " -> " + change.after);
    log_info("new schedule from step " + std::to_string(state_.step) + ": " + segment.changes.back());
  }
  state_.finished = state_.ended_by_patience = false;
  write_run_record();
}

void Trainer::write(nlohmann::ordered_json const& record) {
  if (metrics_) metrics_->write(record);
}

void Trainer::write_run_record() {
  double const batches = static_cast<double>(schedule_.total_steps() * batch_sequences_);
  write(run_record(state_, config_, machine_, peak_flops_, {schedule_, data_, batches / static_cast<double>(train_windows_.count())}));
}

int Trainer::loop() {
  for (;;) {
    int64_t const step = state_.step;
    if (stop_ == 0) stop_ = stop_agreement_.before_step();
    // A checkpoint is due at this step and not written yet, neither by this process nor by the one before it.
    std::string reason = schedule_.due(step, config_.checkpoint.every) && state_.checkpointed_step != step ? "scheduled" : "";
    if (stop_ == 0 && state_.validated_step != step && (finished() || schedule_.due(step, config_.eval.every))) {
      validate(/*final=*/false);
    }
    bool const last = finished();
    // Decided from the state: the process that validated this step may have been stopped before it saved the best checkpoint.
    if (reason.empty() && state_.best_step == step && state_.checkpointed_step != step) reason = "best";
    // Validations above use the same text (eval.tokens) at every step; the final result uses eval.final_tokens.
    bool const measured = last && stop_ == 0 && validate(/*final=*/true);
    if (stop_ != 0 && !measured) {
      save("stopped");
      finish("stopped");
      return stop_;
    }
    if (last) {
      state_.finished = true;
      state_.ended_by_patience = out_of_patience(state_, config_.train);
      EvalSettings settings = eval_settings(config_, model_);
      settings.tokens = config_.eval.tokens;
      if (ranks_.is_first()) write_depth_records(run_.root(), model_, valid_stream_, *data_.tokenizer, settings);
      save("final");
      finish("finished");
      return 0;
    }
    if (!reason.empty()) save(reason);
    one_step();
  }
}

void Trainer::one_step() {
  Clock::time_point const start = Clock::now();
  double const learning_rate = schedule_.next_learning_rate(state_.step, state_.train_flops);
  Batch const batch = prefetcher_->next();
  // Isolated documents have fewer attention pairs than the schedule plans for.
  Int128 const pairs_missing = Int128(batch.sequences) * causal_pairs(batch.length) - batch.pairs,
               planned_flops = schedule_.step_flops(state_.step, state_.train_flops) - learner_.ledger.train_pairs(pairs_missing);
  StepPlace const place{state_.step, schedule_.progress(state_.step, state_.train_flops),
                        schedule_.progress(state_.step + 1, state_.train_flops + planned_flops), learning_rate};
  std::string const changed = learner_.step(learner_.to_device.load(batch, share_.first, share_.count), place);
  if (!changed.empty()) {
    log_info("step " + std::to_string(state_.step + 1) + ": " + changed);
    forget_best(state_);  // of a model that ran differently
  }

  state_.step += 1;
  state_.tokens += batch.sequences * batch.length;
  state_.train_flops += planned_flops;
  state_.window_flops += planned_flops;
  state_.window_pairs += batch.pairs;
  state_.next_sample += batch.sequences;
  state_.window_steps += 1;
  bool const may_end = config_.train.patience > 0 && schedule_.due(state_.step, config_.eval.every);
  bool const due = finished() || may_end || schedule_.due(state_.step, config_.train.log_every);
  // A GPU's queued steps have taken no time yet. Without a wait here, a validation or a checkpoint would wait for them, and its time would
  // include theirs.
  bool const waits = due || schedule_.due(state_.step, config_.eval.every) || schedule_.due(state_.step, config_.checkpoint.every);
  if (waits) synchronize(device_);
  double const seconds = seconds_since(start);
  state_.train_seconds += seconds;
  state_.window_seconds += seconds;
  state_.data_wait_seconds = earlier_wait_ + prefetcher_->wait_seconds();
  step_times_.add(seconds, waits || device_.is_cpu());

  if (config_.parallel.checks_weights_at(state_.step)) check_weights(ranks_, model_.parameters(), state_.step);
  if (due) log_window(learning_rate);
  if (terminal_is_live() && last_reading_.speed.tokens_per_s > 0) {
    last_reading_.learning_rate = learning_rate;
    live_line(progress_line(state_, schedule_, last_reading_));
  }
}

void Trainer::log_window(double learning_rate) {
  int64_t const steps = state_.window_steps, sequences = steps * batch_sequences_;
  TrainReading train;
  window_.gather(ranks_);
  train.window = read_window(window_, sequences * config_.model.context, model_.plan().uses_noncausal_routing());
  WindowReading const& reading = train.window;
  // Replaces the planned FLOPs of these steps with the realised ones.
  Int128 const realised = learner_.ledger.train(sequences, config_.model.context, reading.routing.work, state_.window_pairs);
  state_.train_flops += realised - state_.window_flops;
  Speed& speed = train.speed;
  speed.tokens_per_s = static_cast<double>(steps * config_.train.batch_tokens) / state_.window_seconds;
  // A run counts the FLOPs of its teacher even where another run has spent them; its speed is that of what it computed.
  TeacherCache* const cache = learner_.settings.teaching.cache.get();
  double const pairs = static_cast<double>(state_.window_pairs) / static_cast<double>(sequences);
  Int128 const spared = cache ? cache->flops_spared(learner_.ledger, pairs, ranks_) : Int128();
  double const flops_per_s = static_cast<double>(realised - spared) / state_.window_seconds;
  correct_peak(peak_flops_, flops_per_s, device_, config_.precision, ranks_.size());
  speed.mfu = flops_per_s / peak_flops_.per_s;
  ModelConfig const& model = config_.model;
  auto const parameters = count_parameters(model, config_.depth, model_.vocab_size()).total;
  speed.mfu_6n =
      speed.tokens_per_s * static_cast<double>(6 * parameters + 12 * model.layers * model.width * model.context) / peak_flops_.per_s;
  train.learning_rate = learning_rate;
  train.train_seconds = state_.train_seconds;
  train.data_wait_seconds = state_.data_wait_seconds;
  if (learner_.optimizers.exchange && device_.is_cpu()) train.communication_wait_seconds = learner_.optimizers.exchange->wait_seconds();
  train.memory_bytes = peak_memory_bytes(device_);
  write(train_record(state_, train));
  last_reading_ = train;
  bool const due = finished() || last_plain_line_ == Clock::time_point{} || seconds_since(last_plain_line_) >= plain_line_seconds;
  if (!terminal_is_live() && due) {
    log_info(progress_line(state_, schedule_, train));
    last_plain_line_ = Clock::now();
  }

  if (auto const why = why_diverged(reading, state_, run_)) {
    finish("diverged");
    throw Error(ExitCode::non_finite, *why);
  }
  warn_of_skipped_steps(reading, state_);
  window_.clear();
  state_.window_steps = 0;
  state_.window_flops = 0;
  state_.window_pairs = 0;
  state_.window_seconds = 0;
}

bool Trainer::validate(bool final) {
  std::optional<Validation> const validation =
      run_validation(config_, {model_, data_, train_stream_, valid_stream_, tasks_}, final, state_.train_seconds, ranks_);
  if (!validation) {
    stop_ = stop_agreement_.largest(stop_requested());
    return false;
  }
  ValidationReading const& reading = validation->reading;
  write(validation_record(state_, reading, final, validation->sample));
  log_info(validation_line(state_.step, reading.evaluation, final));
  if (metrics_) tasks_.write(validation->tasks, state_, final, *metrics_, run_.root());
  // As JSON, because an untrained model writes control characters and invalid UTF-8.
  if (!validation->sample.empty())
    log_info("sample: " + nlohmann::json(validation->sample).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));

  if (final) return true;
  state_.validated_step = state_.step;
  note_validation(state_, reading, config_.checkpoint.best);
  if (out_of_patience(state_, config_.train))
    log_info("the last " + std::to_string(config_.train.patience) + " validations were no better than that of step " +
             std::to_string(state_.best_step) + ": the run ends here (train.patience)");
  return true;
}

void Trainer::save(std::string const& reason) {
  Clock::time_point const start = Clock::now();
  if (reason != "stopped") state_.checkpointed_step = state_.step;
  fs::path const folder = run_.checkpoint(state_.step);
  write(checkpoint_record(state_, "checkpoints/" + folder.filename().string(), reason));
  if (metrics_) metrics_->sync();
  window_.gather(ranks_);
  save_checkpoint(folder, model_, learner_.optimizers, window_, {state_, config_, *data_.tokenizer}, ranks_);
  if (ranks_.is_first()) run_.update_links_and_prune(state_.step, state_.best_step, config_.checkpoint.keep);
  checkpoint_seconds_ += seconds_since(start);
  checkpoints_ += 1;
  if (reason == "stopped")
    log_info("stopped at step " + std::to_string(state_.step) + "; saved " + folder.string() + "; the same command goes on from there");
}

void Trainer::finish(std::string const& status) {
  double const tokens = static_cast<double>(state_.tokens - earlier_tokens_), seconds = state_.train_seconds - earlier_seconds_;
  EndReading reading = totals_of(state_);
  reading.step_time_median = step_times_.median();
  reading.tokens_per_s = seconds > 0 ? tokens / seconds : std::nan("");
  reading.wall_seconds = seconds_since(started_);
  reading.checkpoint_seconds = checkpoint_seconds_;
  reading.checkpoints = checkpoints_;
  reading.memory_bytes = peak_memory_bytes(device_);
  write(end_record(state_, status, reading));
  if (metrics_) metrics_->sync();
  if (auto const& cache = learner_.settings.teaching.cache) log_info(cache->describe_use(ranks_));
  if (status == "finished") {
    log_info("finished " + run_.root().string() + " in " + format_seconds(state_.train_seconds) + " of training, " +
             format_seconds(state_.data_wait_seconds) + " of it waiting for data; final checkpoint " +
             run_.checkpoint(state_.step).string());
  }
}

}  // namespace

int train(Config const& common_config, std::string const& version, Ranks& ranks) {
  Config config = common_config;
  config.device = rank_device(config.device, ranks);
  at::Device const device = open_device(config.device);
  micro_batch_sequences(config, device.is_cuda(), ranks.size());  // throws for a missing device or a bad batch size, at once
  set_threads(config.train.threads, ranks.alone() ? 1 : ranks.rendezvous().sharing_cores());
  check_ranks(ranks, common_config, version);
  check_same(ranks, "kind of device", kind_of(device));
  ranks.open(device);
  RunFolder const run = open_run_folder(config, ranks);
  std::optional<EarlierRun> const earlier = find_earlier_run(run, config, ranks);
  if (earlier && earlier->state.finished && earlier->schedule_changes.empty()) {
    if (ranks.is_first()) complete_records(run, earlier->state);
    log_info(run.root().string() + " is finished: " + std::to_string(earlier->state.step) + " steps, checkpoint " +
             earlier->checkpoint.string() + "; a larger train.budget or another name= trains more");
    return 0;
  }
  if (ranks.is_first()) log_to_file(run.root() / "train.log");
  TrainerParts parts = make_trainer(config, version, earlier ? &earlier->state : nullptr, ranks);
  parts.machine.ranks = ranks.size();
  return Trainer(config, run, parts, earlier, ranks).loop();
}

}  // namespace isobath
