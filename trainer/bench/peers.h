#pragma once
// Peers: other implementations of the same work, measured beside this one.

#include <cstdint>
#include <cstdio>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "core/process.h"

namespace isobath {

// A child process that speaks the protocol of scripts/peers/protocol.py over its standard input and output. Throws Error(other) when it
// does not start, ends or answers something else.
class BenchPeer {
 public:
  explicit BenchPeer(std::string const& command);  // a shell command
  ~BenchPeer();
  BenchPeer(BenchPeer const&) = delete;

  double seconds_per_step(int steps);
  int64_t peak_memory_bytes() const { return peak_memory_bytes_; }  // of its last answer; 0: it gave none
  double load_s() const { return load_s_; }                         // likewise

 private:
  nlohmann::json read_line();

  std::string command_;
  std::unique_ptr<ChildProcess> child_;
  std::FILE* in_ = nullptr;
  std::FILE* out_ = nullptr;
  int64_t peak_memory_bytes_ = 0;
  double load_s_ = 0;
};

}  // namespace isobath
