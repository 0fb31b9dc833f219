// Runs the runs of an experiment as child processes.
#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "core/error.h"
#include "core/log.h"
#include "core/process.h"
#include "core/stop.h"
#include "core/units.h"
#include "trainer/compare/experiment.h"
#include "trainer/report/run_progress.h"

namespace isobath {
namespace {

using Clock = std::chrono::steady_clock;
using nlohmann::json;

struct Running {
  size_t run;     // its index
  size_t device;  // number of its devices: the ranks_per_run of ExperimentSettings::devices from device * ranks_per_run on
  std::unique_ptr<ChildProcess> child;
};

class Runner {
 public:
  Runner(std::vector<ExperimentRun> const& runs, ExperimentSettings const& settings) : runs_(runs), settings_(settings) {
    for (ExperimentRun const& run : runs) {
      progress_.emplace_back(run.folder);
      progress_.back().update();
      has_ended_.push_back(is_finished(run));
    }
    for (size_t i = 0; i < runs_.size(); ++i) done_before_ += work_done(i);
  }

  std::vector<FailedRun> go() {
    Activity const waiting("waiting for the running children to save", Activity::Loses::work);
    size_t next = 0;
    while (true) {
      int const stop = stop_requested() ? stop_requested() : time_is_up() ? SIGTERM : 0;
      if (stop && !forwarded_) {
        for (Running& running : running_) running.child->signal(stop);
        forwarded_ = true;
        if (!running_.empty()) log_info("stopping: waiting for the running children to save");
      }
      while (!stop && next < runs_.size() && static_cast<int64_t>(running_.size()) < settings_.jobs) begin(next++);
      if (running_.empty() && (stop || next == runs_.size())) break;
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      watch();
    }
    end_live_line();
    if (forwarded_ && done_ < runs_.size()) {
      std::string const done = fmt::format(" with {} of {} runs finished; the same command goes on from here", done_, runs_.size());
      if (int const signal = stop_requested()) throw Stopped(signal, "stopped" + done);
      throw Error(ExitCode::incomplete, "the time is up" + done);
    }
    return std::move(failed_);
  }

 private:
  double work_done(size_t run) const { return settings_.plan ? settings_.plan(runs_[run]).work_done(progress_[run].now()) : 0; }
  bool time_is_up() const {
    return settings_.minutes > 0 && std::chrono::duration<double>(Clock::now() - started_).count() > 60 * settings_.minutes;
  }
  std::string place(size_t run) const { return fmt::format("[{}/{}] {}", run + 1, runs_.size(), runs_[run].label()); }

  void begin(size_t index) {
    ExperimentRun const& run = runs_[index];
    if (has_ended_[index]) {
      log_info(place(index) + ": finished before");
      ++done_;
      return;
    }
    fs::create_directories(run.folder);
    fs::path const config = run.folder / "config.yaml";
    write_file_atomic(unfinished_marker(run), "");
    size_t const device = freest_device();
    std::string const yaml = to_yaml(with_absolute_paths(placed(run.config, device)));
    if (!fs::exists(config) || read_file(config) != yaml) write_file_atomic(config, yaml);
    int64_t const step = progress_[index].update().step;
    log_info(place(index) + (step > 0 ? fmt::format(": resumes at step {}", step) : ": starts"));
    AppendFile const log(run.folder / "child.log");
    std::vector<std::string> command{program_.name()};
    command.insert(command.end(), settings_.loader_words.begin(), settings_.loader_words.end());
    command.insert(command.end(), {"train", config.string()});
    if (settings_.ranks_per_run > 1) {
      command.insert(command.end(), {"--ranks", std::to_string(settings_.ranks_per_run)});
      show_gpus(device);
    }
    auto child = std::make_unique<ChildProcess>(command, ChildStreams{-1, log.descriptor(), log.descriptor()}, program_.file());
    running_.push_back({index, device, std::move(child)});
  }

  size_t freest_device() const {
    std::vector<size_t> busy(std::max<size_t>(1, settings_.devices.size() / static_cast<size_t>(settings_.ranks_per_run)), 0);
    for (Running const& running : running_) ++busy[running.device];
    return static_cast<size_t>(std::min_element(busy.begin(), busy.end()) - busy.begin());
  }

  Config placed(Config config, size_t device) const {
    if (!settings_.devices.empty()) config.device = placed_device(settings_.devices[device * per_run()], settings_.ranks_per_run);
    return config;
  }
  size_t per_run() const { return static_cast<size_t>(settings_.ranks_per_run); }

  // Shows the next child the GPUs of its ranks alone. compare.devices counts those that this process sees.
  void show_gpus(size_t device) const {
    std::string gpus;
    auto const seen = [&](std::string const& number) {
      std::istringstream list(visible_gpus_);
      std::string entry = number;
      for (int64_t i = 0; !visible_gpus_.empty() && i <= std::stoll(number); ++i) std::getline(list, entry, ',');
      return entry;
    };
    for (size_t i = device * per_run(); i < std::min((device + 1) * per_run(), settings_.devices.size()); ++i)
      if (std::string const& name = settings_.devices[i]; name.starts_with("cuda:"))
        gpus += (gpus.empty() ? "" : ",") + seen(name.substr(5));
    if (!gpus.empty()) setenv("CUDA_VISIBLE_DEVICES", gpus.c_str(), /*overwrite=*/1);
  }

  void watch() {
    for (size_t i = 0; i < running_.size();) {
      Running& running = running_[i];
      bool const ended = running.child->poll();
      RunStatus const before = progress_[running.run].now(), now = progress_[running.run].update();
      if (now.validations() > before.validations() && !terminal_is_live() && !ended)
        log_info(fmt::format("{}: step {} | {}: causal loss {:.4f} on {} tokens{}{}", place(running.run), now.step,
                             now.results > before.results ? "result" : "validation", now.causal_loss, format_si(now.validated_tokens),
                             settings_.plan ? " | " : "", rest()));
      if (!ended) {
        ++i;
        continue;
      }
      end(running);
      running_.erase(running_.begin() + static_cast<std::ptrdiff_t>(i));
    }
    if (terminal_is_live() && !running_.empty()) live_line(status());
    if (settings_.refresh) settings_.refresh();
  }

  void end(Running& running) {
    ExperimentRun const& run = runs_[running.run];
    ChildProcess const& child = *running.child;
    write_process_file(run.folder / "process.json", child);
    if (child.exit_code() == 0) fs::remove(unfinished_marker(run));
    if (child.exit_code() == 0 && is_finished(run)) {
      ++done_;
      has_ended_[running.run] = true;
      RunStatus const& now = progress_[running.run].now();
      log_info(fmt::format("{}: finished, causal loss {:.4f}, {} of training", place(running.run), now.causal_loss,
                           format_seconds(now.train_seconds)));
    } else if (!forwarded_) {
      has_ended_[running.run] = true;
      failed_.push_back({run.label(), child.exit_code(), last_lines(run.folder / "child.log", 4)});
      log_error(fmt::format("{} failed with exit code {}", place(running.run), child.exit_code()));
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

  // "all runs 42 %, eta 3m12s, then decoding". How long decoding takes depends on other things than training does: it says so itself.
  std::string rest() const {
    if (!settings_.plan) return "";
    double total = 0, left = 0, done = -done_before_;
    for (size_t i = 0; i < runs_.size(); ++i) {
      double const work = settings_.plan(runs_[i]).work();
      total += work;
      done += work_done(i);
      if (!has_ended_[i]) left += work - work_done(i);
    }
    std::string text = fmt::format("all runs {} %", percent_done(left, total));
    double const elapsed = std::chrono::duration<double>(Clock::now() - started_).count();
    if (left > 0 && done > 0.005 * total) text += ", eta " + format_seconds(elapsed * left / done);
    return text + (settings_.afterwards.empty() ? "" : ", " + settings_.afterwards);
  }

  std::string status() const {
    std::string text = rest();  // first: a narrow terminal cuts the end off
    for (Running const& running : running_) {
      RunStatus const& now = progress_[running.run].now();
      text += (text.empty() ? "" : " | ") + place(running.run);
      if (now.step > 0) text += fmt::format(" step {} loss {:.3f}", now.step, now.train_loss);
    }
    return text;
  }

  std::vector<ExperimentRun> const& runs_;
  ExperimentSettings const& settings_;
  std::string const visible_gpus_ = std::getenv("CUDA_VISIBLE_DEVICES") ? std::getenv("CUDA_VISIBLE_DEVICES") : "";
  HeldProgram const program_{settings_.executable};
  std::vector<RunProgress> progress_;  // of each run
  std::vector<bool> has_ended_;        // finished, now or before, or failed
  std::vector<Running> running_;
  std::vector<FailedRun> failed_;
  Clock::time_point started_ = Clock::now();
  double done_before_ = 0;  // work that was done before this process
  size_t done_ = 0;
  bool forwarded_ = false;
};

}  // namespace

int percent_done(double left, double total) { return total > 0 ? static_cast<int>(std::clamp(100 * (1 - left / total), 0.0, 99.0)) : 0; }

std::vector<FailedRun> run_experiment(std::vector<ExperimentRun> const& runs, ExperimentSettings const& settings) {
  for (ExperimentRun const& run : runs) check_run_folder(run);  // throws before hours are spent on the first run
  return Runner(runs, settings).go();
}

}  // namespace isobath
