#pragma once
// Shows how many bytes a long job has processed: as a live line on a terminal, as a log line every ten seconds elsewhere.

#include <chrono>
#include <cstdint>
#include <string>

namespace isobath {

class Progress {
 public:
  Progress(std::string what, int64_t total_bytes);  // total 0: not known
  ~Progress();
  void add(int64_t bytes);  // also throws Error(interrupted or terminated) when the program was asked to stop
  int64_t bytes() const { return bytes_; }
  double seconds() const;
  std::string rate() const;  // "34.1 MB/s"

 private:
  std::string what_;
  int64_t total_, bytes_ = 0;
  std::chrono::steady_clock::time_point begin_, spoke_;
};

}  // namespace isobath
