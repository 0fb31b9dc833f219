#include "trainer/bench/peers.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <nlohmann/json.hpp>

#include "core/error.h"

extern char** environ;

namespace isobath {

BenchPeer::BenchPeer(std::string const& command) : command_(command) {
  int to_child[2], from_child[2];
  if (pipe2(to_child, O_CLOEXEC) != 0 || pipe2(from_child, O_CLOEXEC) != 0) throw Error(ExitCode::other, "cannot make a pipe for the peer");
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

BenchPeer::~BenchPeer() {
  std::fclose(in_);  // end of input ends it
  std::fclose(out_);
  waitpid(pid_, nullptr, 0);
}

double BenchPeer::seconds_per_step(int steps) {
  std::fprintf(in_, "run %d\n", steps);
  std::fflush(in_);
  nlohmann::json const answer = read_line();
  peak_memory_bytes_ = answer.value("peak_memory_bytes", int64_t{0});
  return answer.at("seconds_per_step").get<double>();
}

nlohmann::json BenchPeer::read_line() {
  std::string line;
  for (int c; (c = std::fgetc(out_)) != EOF && c != '\n';) line += static_cast<char>(c);
  nlohmann::json const answer = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!answer.is_object())
    throw Error(ExitCode::other, "the peer '" + command_ + "' ended or answered '" + line + "' (its own message is above)");
  return answer;
}

}  // namespace isobath
