#pragma once
// Another implementation, measured beside ours.

#include <sys/types.h>

#include <cstdint>
#include <cstdio>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace isobath {

// A child process that speaks the protocol of scripts/peers/protocol.py over its standard input and output. Throws Error(other) when it
// does not start, ends or answers something else.
class BenchPeer {
 public:
  explicit BenchPeer(std::string const& command);  // a shell command
  ~BenchPeer();
  BenchPeer(BenchPeer const&) = delete;

  double seconds_per_step(int steps);
  int64_t peak_memory_bytes() const { return peak_memory_bytes_; }  // as it said last; 0: it did not

 private:
  nlohmann::json read_line();

  std::string command_;
  pid_t pid_ = -1;
  std::FILE* in_ = nullptr;
  std::FILE* out_ = nullptr;
  int64_t peak_memory_bytes_ = 0;
};

}  // namespace isobath
