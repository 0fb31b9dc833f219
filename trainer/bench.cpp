#include "trainer/bench.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/log.h"
#include "core/random.h"
#include "core/stop.h"
#include "model/plan.h"
#include "trainer/machine.h"
#include "trainer/step.h"
#include "trainer/trainer.h"

extern char** environ;

namespace isobath {

namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// One model with its optimizer and a batch that stays the same.
class Subject {
 public:
  Subject(BenchArm const& arm, int64_t vocab_size)
      : model_(arm.config.model, arm.config.depth, vocab_size, 1),
        optimizers_(make_optimizers(model_, arm.config.train)),
        window_(static_cast<int64_t>(routed_layers(arm.config.model, arm.config.depth).size())),
        settings_{micro_batch_sequences(arm.config), arm.config.depth.bce_weight, 1} {
    model_.train();
    batch_.length = arm.config.model.context;
    batch_.sequences = arm.config.train.batch_tokens / batch_.length;
    batch_.target_count = arm.config.train.batch_tokens;
    for (int64_t i = 0; i < arm.config.train.batch_tokens; ++i) {
      batch_.tokens.push_back(static_cast<int64_t>(random_bits(1, static_cast<uint64_t>(i)) % static_cast<uint64_t>(vocab_size)));
      batch_.targets.push_back(static_cast<int64_t>(random_bits(2, static_cast<uint64_t>(i)) % static_cast<uint64_t>(vocab_size)));
    }
  }

  double seconds_per_step(int steps) {
    auto const start = std::chrono::steady_clock::now();
    for (int i = 0; i < steps; ++i) train_step(model_, optimizers_, batch_, settings_, step_++, 1e-3, window_);
    return seconds_since(start) / steps;
  }

 private:
  LanguageModel model_;
  Optimizers optimizers_;
  Window window_;
  StepSettings settings_;
  Batch batch_;
  int64_t step_ = 0;
};

// A child process that speaks the protocol of scripts/peers/train_step.py over its standard input and output.
class Peer {
 public:
  explicit Peer(std::string const& command) : command_(command) {
    int to_child[2], from_child[2];
    if (pipe2(to_child, O_CLOEXEC) != 0 || pipe2(from_child, O_CLOEXEC) != 0)
      throw Error(ExitCode::other, "cannot make a pipe for the peer");
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, to_child[0], 0);
    posix_spawn_file_actions_adddup2(&actions, from_child[1], 1);
    char const* const arguments[] = {"sh", "-c", command.c_str(), nullptr};
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    sigset_t none;  // this process blocks the stop signals
    sigemptyset(&none);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    int const failed = posix_spawn(&pid_, "/bin/sh", &actions, &attributes, const_cast<char* const*>(arguments), environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    close(to_child[0]);
    close(from_child[1]);
    in_ = fdopen(to_child[1], "w");
    out_ = fdopen(from_child[0], "r");
    if (failed) throw Error(ExitCode::other, "cannot start the peer '" + command + "'");
    read_line();  // "ready"
  }

  ~Peer() {
    std::fclose(in_);  // end of input ends it
    std::fclose(out_);
    waitpid(pid_, nullptr, 0);
  }
  Peer(Peer const&) = delete;

  double seconds_per_step(int steps) {
    std::fprintf(in_, "run %d\n", steps);
    std::fflush(in_);
    return read_line().at("seconds_per_step").get<double>();
  }

 private:
  nlohmann::json read_line() {
    std::string line;
    for (int c; (c = std::fgetc(out_)) != EOF && c != '\n';) line += static_cast<char>(c);
    nlohmann::json const answer = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!answer.is_object())
      throw Error(ExitCode::other, "the peer '" + command_ + "' ended or answered '" + line + "' (its own message is above)");
    return answer;
  }

  std::string command_;
  pid_t pid_ = -1;
  std::FILE* in_ = nullptr;
  std::FILE* out_ = nullptr;
};

}  // namespace

std::vector<BenchResult> bench_training(std::vector<BenchArm> const& arms, BenchSettings const& settings) {
  std::vector<std::unique_ptr<Subject>> subjects;
  std::vector<BenchResult> results;
  for (BenchArm const& arm : arms) {
    Config const& c = arm.config;
    subjects.push_back(std::make_unique<Subject>(arm, settings.vocab_size));
    results.push_back({arm.name,
                       {},
                       planned_train_flops(c.model, c.depth, settings.vocab_size, c.train.batch_tokens / c.model.context, c.model.context),
                       {}});
  }
  std::unique_ptr<Peer> peer;
  if (!settings.peer.empty()) {
    peer = std::make_unique<Peer>(settings.peer);
    results.push_back({"peer", {}, 0, {}});
  }
  auto const run = [&](size_t i, int steps) {
    return i < subjects.size() ? subjects[i]->seconds_per_step(steps) : peer->seconds_per_step(steps);
  };

  for (size_t i = 0; i < results.size(); ++i) run(i, 1);
  for (int repeat = 0; repeat < settings.repeats; ++repeat) {
    if (int const signal = stop_requested(); signal != 0) throw Error(static_cast<ExitCode>(128 + signal), "stopped");
    live_line("bench " + std::to_string(repeat + 1) + "/" + std::to_string(settings.repeats));
    for (size_t i = 0; i < results.size(); ++i) results[i].step_s.push_back(run(i, settings.steps_per_repeat));
    for (BenchResult& result : results) result.speedup.push_back(results.front().step_s.back() / result.step_s.back());
  }
  end_live_line();
  return results;
}

}  // namespace isobath
