// Runs the runs of an experiment as child processes.
#include <fmt/format.h>

#include <csignal>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <thread>

#include "core/error.h"
#include "core/log.h"
#include "core/process.h"
#include "core/stop.h"
#include "format/total.h"
#include "trainer/compare/experiment.h"

namespace isobath {
namespace {

using Clock = std::chrono::steady_clock;
using nlohmann::json;

// Follows a growing metrics.jsonl; keeps what a progress line shows.
class Tail {
 public:
  explicit Tail(fs::path path) : path_(std::move(path)) {}

  // Calls on_validation for every new validation record.
  template <typename OnValidation>
  void update(OnValidation on_validation) {
    std::ifstream file(path_, std::ios::binary | std::ios::ate);
    if (!file) return;
    if (static_cast<int64_t>(file.tellg()) < offset_) offset_ = 0;  // a resumed run has cut the file back
    file.seekg(offset_);
    for (std::string line; std::getline(file, line) && !file.eof();) {
      offset_ += static_cast<int64_t>(line.size()) + 1;
      json const record = json::parse(line, nullptr, false);
      if (!record.is_object()) continue;
      if (auto const total = record.find("train_flops_total"); total != record.end())
        flops = std::max(flops, static_cast<double>(read_total(*total).value_or(0)));
      step = std::max(step, record.value("step", int64_t{0}));
      std::string const kind = record.value("kind", "");
      if (kind == "train" && record.contains("train_loss") && record["train_loss"].is_number()) loss = record["train_loss"];
      if (kind == "validation" && record.contains("loss_causal") && record["loss_causal"].is_number()) {
        causal_loss = record["loss_causal"];
        validated_tokens = record.value("eval_tokens", 0.0);
        final = record.value("final", false);
        on_validation();
      }
      if (kind == "end") time_s = record.value("time_s", 0.0);
    }
  }

  double flops = 0, loss = 0, time_s = 0;
  int64_t step = 0;
  // The last validation: a point of the curve on eval.tokens of text, or the result on eval.final_tokens.
  double causal_loss = 0, validated_tokens = 0;
  bool final = false;

 private:
  fs::path path_;
  int64_t offset_ = 0;
};

struct Running {
  ExperimentRun const* run;
  std::unique_ptr<ChildProcess> child;
  Tail tail;
  double started_at_flops;
};

class Runner {
 public:
  Runner(std::vector<ExperimentRun> const& runs, ExperimentSettings const& settings) : runs_(runs), settings_(settings) {
    for (ExperimentRun const& run : runs) total_work_ += work(run);
  }

  std::vector<FailedRun> go() {
    size_t next = 0;
    while (true) {
      int const stop = stop_requested() ? stop_requested() : time_is_up() ? SIGTERM : 0;
      if (stop && !forwarded_) {
        for (Running& running : running_) running.child->signal(stop);
        forwarded_ = true;
        if (!running_.empty()) log_info("stopping: waiting for the running children to save");
      }
      while (!stop && next < runs_.size() && static_cast<int64_t>(running_.size()) < settings_.jobs) begin(runs_[next++]);
      if (running_.empty() && (stop || next == runs_.size())) break;
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      watch();
    }
    end_live_line();
    if (forwarded_ && done_ < runs_.size()) {
      int const signal = stop_requested();
      ExitCode const code = signal == SIGINT ? ExitCode::interrupted : signal ? ExitCode::terminated : ExitCode::incomplete;
      throw Error(code, fmt::format("{} with {} of {} runs finished; the same command goes on from here",
                                    signal ? "stopped" : "the time is up", done_, runs_.size()));
    }
    return std::move(failed_);
  }

 private:
  double work(ExperimentRun const& run) const { return settings_.work ? settings_.work(run) : 1; }
  bool time_is_up() const {
    return settings_.minutes > 0 && std::chrono::duration<double>(Clock::now() - started_).count() > 60 * settings_.minutes;
  }
  std::string place(ExperimentRun const& run) const {
    return fmt::format("[{}/{}] {}", &run - runs_.data() + 1, runs_.size(), run.label());
  }

  void begin(ExperimentRun const& run) {
    if (is_finished(run)) {
      log_info(place(run) + ": finished before");
      total_work_ -= work(run);
      ++done_;
      return;
    }
    fs::create_directories(run.folder);
    fs::path const config = run.folder / "config.yaml";
    write_file_atomic(unfinished_marker(run), "");
    std::string const yaml = to_yaml(run.config);
    if (!fs::exists(config) || read_file(config) != yaml) write_file_atomic(config, yaml);
    Tail tail(run.folder / "metrics.jsonl");
    tail.update([] {});
    double const before = std::min(tail.flops, work(run));
    total_work_ -= before;
    log_info(place(run) + (tail.step > 0 ? fmt::format(": resumes at step {}", tail.step) : ": starts"));
    AppendFile const log(run.folder / "child.log");
    auto child = std::make_unique<ChildProcess>(std::vector<std::string>{program_.name(), "train", config.string()},
                                                ChildStreams{-1, log.descriptor(), log.descriptor()}, program_.file());
    running_.push_back({&run, std::move(child), std::move(tail), before});
  }

  void watch() {
    for (size_t i = 0; i < running_.size();) {
      Running& running = running_[i];
      bool const ended = running.child->poll();
      running.tail.update([&] {
        if (!terminal_is_live() && !ended)
          log_info(fmt::format("{}: step {} | {}: causal loss {:.4f} on {} tokens{}", place(*running.run), running.tail.step,
                               running.tail.final ? "result" : "validation", running.tail.causal_loss,
                               format_si(running.tail.validated_tokens), rest()));
      });
      if (!ended) {
        ++i;
        continue;
      }
      end(running);
      running_.erase(running_.begin() + static_cast<std::ptrdiff_t>(i));
    }
    if (terminal_is_live() && !running_.empty()) live_line(status());
  }

  void end(Running& running) {
    ExperimentRun const& run = *running.run;
    ChildProcess const& child = *running.child;
    write_process_file(run.folder / "process.json", child);
    finished_work_ += std::max(0.0, work(run) - running.started_at_flops);
    if (child.exit_code() == 0) fs::remove(unfinished_marker(run));
    if (child.exit_code() == 0 && is_finished(run)) {
      ++done_;
      log_info(fmt::format("{}: finished, causal loss {:.4f}, {} of training", place(run), running.tail.causal_loss,
                           format_seconds(running.tail.time_s)));
    } else if (!forwarded_) {
      failed_.push_back({run.label(), child.exit_code(), last_lines(run.folder / "child.log", 4)});
      log_error(fmt::format("{} failed with exit code {}", place(run), child.exit_code()));
    }
  }

  // A resumed run has had several processes: its memory is the largest of theirs, its wall time their sum.
  static void write_process_file(fs::path const& path, ChildProcess const& child) {
    int64_t peak = child.peak_memory_bytes();
    double wall = child.wall_seconds();
    if (fs::exists(path)) {
      json const before = json::parse(read_file(path), nullptr, false);
      if (before.is_object()) {
        peak = std::max(peak, before.value("peak_memory_bytes", int64_t{0}));
        wall += before.value("wall_s", 0.0);
      }
    }
    nlohmann::ordered_json const record = {{"peak_memory_bytes", peak}, {"wall_s", wall}, {"exit_code", child.exit_code()}};
    write_file_atomic(path, record.dump(2) + "\n");
  }

  double share_done() const {
    double done = finished_work_;
    for (Running const& running : running_) done += std::max(0.0, running.tail.flops - running.started_at_flops);
    return total_work_ > 0 ? std::min(1.0, done / total_work_) : 0;
  }

  // " | all 42 %, eta 3m12s"
  std::string rest() const {
    double const share = share_done();
    if (!settings_.work || share <= 0.005) return "";
    double const elapsed = std::chrono::duration<double>(Clock::now() - started_).count();
    return fmt::format(" | all {:.0f} %, eta {}", 100 * share, format_seconds(elapsed * (1 - share) / share));
  }

  std::string status() const {
    std::string text;
    for (Running const& running : running_) {
      text += (text.empty() ? "" : " | ") + place(*running.run);
      if (running.tail.step > 0) text += fmt::format(" step {} loss {:.3f}", running.tail.step, running.tail.loss);
    }
    return text + rest();
  }

  std::vector<ExperimentRun> const& runs_;
  ExperimentSettings const& settings_;
  HeldProgram const program_{settings_.executable};
  std::vector<Running> running_;
  std::vector<FailedRun> failed_;
  Clock::time_point started_ = Clock::now();
  double total_work_ = 0, finished_work_ = 0;
  size_t done_ = 0;
  bool forwarded_ = false;
};

}  // namespace

std::vector<FailedRun> run_experiment(std::vector<ExperimentRun> const& runs, ExperimentSettings const& settings) {
  for (ExperimentRun const& run : runs) check_run_folder(run);  // throws before hours are spent on the first run
  return Runner(runs, settings).go();
}

}  // namespace isobath
