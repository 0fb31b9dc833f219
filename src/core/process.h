#pragma once
// Child processes.

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "core/files.h"

namespace isobath {

// Keeps a program's file open, so that every start runs the same program even when a build replaces the file meanwhile.
class HeldProgram {
 public:
  explicit HeldProgram(fs::path const& program);  // Throws Error(other) when it cannot be opened.
  ~HeldProgram();
  HeldProgram(HeldProgram const&) = delete;

  fs::path file() const;                             // path to execute
  std::string const& name() const { return name_; }  // path where it was found, for argv[0]

 private:
  int descriptor_ = -1;
  std::string name_;
};

// Descriptors that a child process finds as its standard streams; -1: the null device.
struct ChildStreams {
  int input = -1, output = -1, error = -1;
};

class ChildProcess {
 public:
  // Runs `program`, by default command[0], with `command` as its command line. The child leads its own process group, so that Ctrl-C
  // reaches it once, through its parent; it gets SIGTERM when its parent dies. Throws Error(other) when it cannot be started.
  ChildProcess(std::vector<std::string> const& command, ChildStreams const& streams, fs::path const& program = {});
  ~ChildProcess();  // kills a child that is still running
  ChildProcess(ChildProcess const&) = delete;

  bool poll();  // true once the child has ended
  void wait();  // until the child has ended
  void signal(int number);
  int exit_code() const { return exit_code_; }  // 128 + signal when a signal ended it
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

// A file that is open for appending, to hand to a child. Throws Error(disk).
class AppendFile {
 public:
  explicit AppendFile(fs::path const& path);
  ~AppendFile();
  AppendFile(AppendFile const&) = delete;
  int descriptor() const { return descriptor_; }

 private:
  int descriptor_ = -1;
};

// The file of this program, also where the dynamic loader was called to start it (ld.so ./isobath), so that /proc/self/exe is the loader.
fs::path own_program();
// The words between /proc/self/exe and this program's arguments: none, or where the loader was called its options and own_program().
std::vector<std::string> loader_words();
std::vector<std::string> command_words();  // the whole command line of this process

std::string last_lines(fs::path const& file, int count);  // the last `count` lines that are not blank

}  // namespace isobath
