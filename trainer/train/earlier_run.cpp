#include "trainer/train/earlier_run.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
#include "trainer/run/record_file.h"
#include "trainer/run/records.h"

namespace isobath {

std::optional<EarlierRun> find_earlier_run(RunFolder const& run, Config const& config, Ranks const& ranks) {
  std::optional<fs::path> found;
  if (ranks.is_first()) found = recover_newest_checkpoint(run.checkpoints());
  std::string const name = ranks.from_first(found ? found->filename().string() : "");
  if (name.empty()) return std::nullopt;
  fs::path const folder = run.checkpoints() / name;
  Checkpoint const checkpoint = open_checkpoint(folder);
  EarlierRun earlier{folder, checkpoint.state, check_resume(checkpoint.config, config, run.root())};
  // What the process that wrote this checkpoint may not have come to.
  if (ranks.is_first()) run.update_links_and_prune(earlier.state.step, earlier.state.best_step, config.checkpoint.keep);
  return earlier;
}

std::string bit_exactness_lost(TrainState const& before, Machine const& now, int64_t micro_batch_tokens) {
  std::string differences;
  auto const compare = [&](char const* what, std::string const& then, std::string const& today) {
    if (then != today) differences += std::string(differences.empty() ? "" : ", ") + what + " " + then + " before, " + today + " now";
  };
  compare("version", before.machine.version, now.version);
  compare("LibTorch", before.machine.libtorch, now.libtorch);
  compare("CPU capability", before.machine.cpu_capability, now.cpu_capability);
  compare("matrix products by", before.machine.gemm, now.gemm);
  compare("device", before.machine.device, now.device);
  compare("ranks", std::to_string(before.machine.ranks), std::to_string(now.ranks));
  compare("threads", std::to_string(before.machine.threads), std::to_string(now.threads));
  compare("micro-batch tokens", std::to_string(before.micro_batch_tokens), std::to_string(micro_batch_tokens));
  return differences;
}

void check_something_is_left(EarlierRun const& earlier, bool nothing_left, bool no_patience) {
  if (!nothing_left) return;
  std::string changes;
  for (ConfigDifference const& change : earlier.schedule_changes)
    if (no_patience || change.path != "train.budget")
      changes += (changes.empty() ? "" : ", ") + change.path + ": " + change.before + " -> " + change.after;
  if (changes.empty()) return;
  throw Error(ExitCode::config, earlier.checkpoint.string() + " is the end of its run (step " + std::to_string(earlier.state.step) +
                                    "): " + changes + " would change nothing; a larger " +
                                    (no_patience ? "train.patience" : "train.budget") + " trains on with it, another name= trains anew");
}

void complete_records(RunFolder const& run, TrainState const& state) {
  std::string const text = fs::exists(run.metrics()) ? read_file(run.metrics()) : std::string();
  if (text.find("\"kind\":\"end\"") != std::string::npos) return;
  EndReading reading = totals_of(state);
  reading.tokens_per_s = static_cast<double>(state.tokens) / state.train_seconds;
  RecordFile(run.metrics()).write(end_record(state, "finished", reading));
}

}  // namespace isobath
