#include "trainer/bench/peers.h"

#include <fcntl.h>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <vector>

#include "core/error.h"

namespace isobath {

BenchPeer::BenchPeer(std::string const& command) : command_(command) {
  int to_child[2], from_child[2];
  if (pipe2(to_child, O_CLOEXEC) != 0 || pipe2(from_child, O_CLOEXEC) != 0) throw Error(ExitCode::other, "cannot make a pipe for the peer");
  in_ = fdopen(to_child[1], "w");
  out_ = fdopen(from_child[0], "r");
  child_ = std::make_unique<ChildProcess>(std::vector<std::string>{"/bin/sh", "-c", command},
                                          ChildStreams{to_child[0], from_child[1], STDERR_FILENO});
  close(to_child[0]);
  close(from_child[1]);
  read_line();  // "ready"
}

BenchPeer::~BenchPeer() {
  std::fclose(in_);  // the peer ends at the end of its input
  std::fclose(out_);
  child_->wait();
}

double BenchPeer::seconds_per_step(int steps) {
  std::fprintf(in_, "run %d\n", steps);
  std::fflush(in_);
  nlohmann::json const answer = read_line();
  peak_memory_bytes_ = answer.value("peak_memory_bytes", int64_t{0});
  load_s_ = answer.value("load_s", 0.0);
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
