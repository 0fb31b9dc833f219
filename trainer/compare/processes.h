#pragma once
// One child process with its output in a file.

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "core/files.h"

namespace isobath {

// A program held open: what is started from here on is the same program, even when its file is replaced meanwhile, as a build does.
class HeldProgram {
 public:
  explicit HeldProgram(fs::path const& program);  // Throws Error(other) when it cannot be opened.
  ~HeldProgram();
  HeldProgram(HeldProgram const&) = delete;

  fs::path file() const;                             // to execute
  std::string const& name() const { return name_; }  // where it was found, for its command line

 private:
  int descriptor_ = -1;
  std::string name_;
};

class ChildProcess {
 public:
  // Runs `program`, by default command[0], with `command` as its command line. Output is appended to `log`. The child leads its own process
  // group, so that Ctrl-C reaches it once, through its parent; it gets SIGTERM when its parent dies. Throws Error(other) when it cannot be
  // started.
  ChildProcess(std::vector<std::string> const& command, fs::path const& log, fs::path const& program = {});
  ~ChildProcess();  // kills a child that is still running
  ChildProcess(ChildProcess const&) = delete;

  bool poll();  // true once the child has ended
  void signal(int number);
  int exit_code() const { return exit_code_; }  // 128 + signal when one ended it
  int64_t peak_memory_bytes() const { return peak_memory_bytes_; }
  double wall_seconds() const { return wall_seconds_; }

 private:
  pid_t pid_ = -1;
  bool ended_ = false;
  int exit_code_ = 0;
  int64_t peak_memory_bytes_ = 0;
  double wall_seconds_ = 0;
  std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
};

std::string last_lines(fs::path const& file, int count);  // that are not blank

}  // namespace isobath
