#pragma once
// Errors a person can cause, and the exit code each one ends the program with.

#include <stdexcept>
#include <string>
#include <vector>

namespace isobath {

enum class ExitCode : int {
  ok = 0,
  other = 1,
  config = 2,  // usage or configuration
  data = 3,
  checkpoint = 4,
  non_finite = 5,  // training diverged
  allocation = 6,  // memory refused
  disk = 7,
  distributed = 8,
  incomplete = 9,  // a comparison in which some run failed
};

inline ExitCode stopped_by(int signal) { return static_cast<ExitCode>(128 + signal); }

// One message for a person: what is wrong, where, which value, what is allowed. No trailing newline.
class Error : public std::runtime_error {
 public:
  Error(ExitCode code, std::string const& message) : std::runtime_error(message), code_(code) {}
  ExitCode code() const { return code_; }

 private:
  ExitCode code_;
};

// Thrown when a signal asked the program to stop (core/stop.h). The exit code is 128 + the signal's number.
class Stopped : public Error {
 public:
  Stopped(int signal, std::string const& message) : Error(stopped_by(signal), message) {}
};

// Another rank of the same run is gone, or cannot be reached.
class LostRank : public Error {
 public:
  explicit LostRank(std::string const& message) : Error(ExitCode::distributed, message) {}
};

// All problems of one configuration, reported together. Each entry is complete
// ("file.yaml:14:3: error: ..." and, where there is one, the source line with a caret).
class ConfigError : public Error {
 public:
  explicit ConfigError(std::vector<std::string> problems);
  std::vector<std::string> const& problems() const { return problems_; }

 private:
  std::vector<std::string> problems_;
};

}  // namespace isobath
