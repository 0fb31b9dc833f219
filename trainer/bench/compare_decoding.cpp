#include "trainer/bench/compare_decoding.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "core/error.h"
#include "core/log.h"
#include "core/units.h"
#include "data/shards/shards.h"
#include "model/decode/decoder.h"
#include "trainer/bench/decode.h"
#include "trainer/metrics/metric.h"
#include "trainer/report/statistics.h"
#include "trainer/run/machine.h"
#include "trainer/run/saved_model.h"

namespace isobath {

namespace {

constexpr int64_t batches[] = {1, 16};

// The first finished run of every arm and size that has one, at the largest budget, which the report shows.
std::vector<ExperimentRun const*> first_finished(std::vector<ExperimentRun> const& runs) {
  std::vector<ExperimentRun const*> found;
  std::set<std::string> arms;
  for (ExperimentRun const& run : runs)
    if (run.budget == runs.back().budget && !arms.contains(run.family()) && is_finished(run)) {
      arms.insert(run.family());
      found.push_back(&run);
    }
  return found;
}

fs::path result_file(ExperimentRun const& run) { return run.folder / "decode.json"; }

bool is_measured(ExperimentRun const& run) {
  return fs::exists(result_file(run)) && fs::last_write_time(result_file(run)) >= fs::last_write_time(run.folder / "metrics.jsonl");
}

DecodeArm open_arm(ExperimentRun const& run, PreparedData const& text) {
  Checkpoint const checkpoint = open_latest_checkpoint(run.folder);
  DecodeArm arm{run.family(), load_model(checkpoint), {}, bytes_per_value(run.config)};
  place_model(*arm.model, run.config);
  Decoder const willing(*arm.model);
  constexpr int64_t most = 1 << 16;
  TokenStream const valid(text.valid);
  std::vector<int64_t> tokens(static_cast<size_t>(std::min(most, valid.size())));
  valid.copy(0, tokens);
  arm.text.assign(tokens.begin(), tokens.end());
  return arm;
}

// Says how far the measurement is: on a terminal all the time, elsewhere when a batch size begins and after its first round.
class DecodingProgress {
 public:
  DecodingProgress(size_t arms, int rounds) : arms_(arms), rounds_(static_cast<size_t>(rounds)) {}

  void begin(int64_t batch) {
    batch_ = batch;
    turns_ = 0;
    started_ = Clock::now();
  }

  void turn(int round, std::string const& arm) {
    std::string line = fmt::format("decoding {} at a time: round {} of {}, {}", batch_, round + 1, rounds_, arm);
    if (round > 0) line += " | eta " + eta();
    if (terminal_is_live())
      live_line(line);
    else if (round <= 1 && turns_ % arms_ == 0)
      log_info(line);
    ++turns_;
  }

 private:
  using Clock = std::chrono::steady_clock;

  // Larger batches are still to come: a text takes at most as long there as in this one.
  std::string eta() const {
    size_t const all = arms_ * rounds_;
    auto texts = static_cast<double>((all - turns_) * static_cast<size_t>(batch_));
    bool more = false;
    for (int64_t const batch : batches) {
      if (batch <= batch_) continue;
      texts += static_cast<double>(all) * static_cast<double>(batch);
      more = true;
    }
    double const elapsed = std::chrono::duration<double>(Clock::now() - started_).count();
    return (more ? "at most " : "") + format_seconds(elapsed * texts / static_cast<double>(turns_ * static_cast<size_t>(batch_)));
  }

  size_t arms_, rounds_;
  int64_t batch_ = 1;
  size_t turns_ = 0;  // that have begun in this batch size
  Clock::time_point started_;
};

}  // namespace

void discard_outdated_decoding(std::vector<ExperimentRun> const& runs) {
  std::error_code ignored;  // a file that cannot be removed is overwritten when decoding is measured again
  for (ExperimentRun const& run : runs)
    if (fs::exists(run.folder / "metrics.jsonl") && !is_measured(run)) fs::remove(result_file(run), ignored);
}

bool is_decoding_measured(std::vector<ExperimentRun> const& runs) {
  std::vector<ExperimentRun const*> const chosen = first_finished(runs);
  return std::all_of(chosen.begin(), chosen.end(), [](ExperimentRun const* run) { return is_measured(*run); });
}

void measure_decoding(std::vector<ExperimentRun> const& runs, std::function<PreparedData const&(Config const&)> const& text_of) {
  if (is_decoding_measured(runs)) return;
  std::vector<ExperimentRun const*> chosen = first_finished(runs);
  log_info("decoding: tokens from the cache, all arms in turn");
  std::vector<DecodeArm> arms;
  int64_t length = std::numeric_limits<int64_t>::max();  // text length that all arms can read
  std::erase_if(chosen, [&](ExperimentRun const* run) {
    try {
      arms.push_back(open_arm(*run, text_of(run->config)));
    } catch (Error const& error) {
      log_warning(run->family() + " is not decoded: " + error.what());
      return true;
    }
    length = std::min({length, run->config.model.context, std::ssize(arms.back().text)});
    return false;
  });
  if (arms.empty() || length < 2) return;
  DecodeBenchSettings settings;
  settings.repeats = 5;
  settings.steps = std::min<int64_t>(32, length / 2);
  settings.prompts = {length / 2};
  std::vector<nlohmann::ordered_json> of_arms(arms.size(), nlohmann::ordered_json::array());
  DecodingProgress progress(arms.size(), settings.repeats + 1);
  settings.on_turn = [&](int round, std::string const& arm) { progress.turn(round, arm); };
  for (int64_t const batch : batches) {
    settings.batch = batch;
    progress.begin(batch);
    DecodeBench const bench = bench_decode(arms, settings);
    for (size_t i = 0; i < arms.size(); ++i) {
      DecodeBenchResult const& r = bench.results[i];
      Decoding const measured{batch,
                              r.prompt,
                              static_cast<double>(batch) / median(r.step_s),
                              r.kv_bytes_per_token,
                              r.blocks_per_token,
                              static_cast<double>(r.prompt) / median(r.prompt_s)};
      nlohmann::ordered_json record = {{"batch", batch},
                                       {"prompt", r.prompt},
                                       {"steps", settings.steps},
                                       {"step_time_s", r.step_s},
                                       {"kv_reserved_per_token", r.kv_reserved_per_token},
                                       {"kv_bytes_per_token_at_realised_capacity", r.kv_predicted_per_token}};
      record.update(metrics_json(measured));
      of_arms[i].push_back(std::move(record));
    }
  }
  for (size_t i = 0; i < arms.size(); ++i)
    write_file_atomic(result_file(*chosen[i]), nlohmann::ordered_json{{"batches", of_arms[i]}}.dump(2) + "\n");
}

}  // namespace isobath
