#pragma once
// Shows how far a long job is: as a live line on a terminal, as a log line every ten seconds elsewhere.

#include <chrono>
#include <cstdint>
#include <string>

namespace isobath {

class Progress {
 public:
  // windows: of text that a model evaluates; items: questions of a task.
  enum class Counts { bytes, windows, items };
  Progress(std::string what, int64_t total, Counts counts = Counts::bytes);  // total 0: not known
  ~Progress();
  void add(int64_t done);  // throws Stopped when the program was asked to stop, and advances otherwise
  void advance(int64_t done);
  int64_t done() const { return done_; }
  double seconds() const;
  std::string rate() const;  // "34.1 MB/s", "1.20k windows/s"

 private:
  std::string amount(double count) const;

  std::string what_;
  Counts counts_;
  int64_t total_, done_ = 0;
  std::chrono::steady_clock::time_point begin_, spoke_;
};

}  // namespace isobath
