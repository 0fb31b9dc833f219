#include "trainer/run/record_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/error.h"
#include "core/system_call.h"

namespace isobath {

namespace {

[[noreturn]] void metrics_failure(fs::path const& path, char const* what) {
  throw Error(ExitCode::disk, path.string() + ": cannot " + what + ": " + std::strerror(errno));
}

bool stays_after_resume(nlohmann::json const& record, TrainState const& state) {
  std::string const kind = record.value("kind", "");
  int64_t const step = record.value("step", int64_t{0});
  if (kind == "end" || step > state.step) return false;
  if (kind == "checkpoint" && record.value("reason", "") == "stopped") return false;
  if (kind == "checkpoint" && step == state.step) return state.checkpointed_step == step;
  if (kind == "validation" && step == state.step) return state.validated_step == step && !record.value("final", false);
  return true;
}

}  // namespace

RecordFile::RecordFile(fs::path const& path) : path_(path) {
  fd_ = uninterrupted([&] { return ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644); });
  if (fd_ < 0) metrics_failure(path_, "open");
}

RecordFile::~RecordFile() { ::close(fd_); }

void RecordFile::write(nlohmann::ordered_json const& record) {
  std::string const line = record.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  // A signal or an almost full disk may cut a write short; the next one then says which.
  for (std::string_view rest = line; !rest.empty();) {
    ssize_t const written = uninterrupted([&] { return ::write(fd_, rest.data(), rest.size()); });
    if (written < 0) metrics_failure(path_, "write");
    rest.remove_prefix(static_cast<size_t>(written));
  }
}

void RecordFile::sync() {
  if (uninterrupted([&] { return ::fdatasync(fd_); }) != 0) metrics_failure(path_, "sync");
}

void cut_back_records(fs::path const& path, TrainState const& state) {
  if (!fs::exists(path)) return;
  std::istringstream lines(read_file(path));
  std::string kept;
  for (std::string line; std::getline(lines, line);) {
    auto const record = nlohmann::json::parse(line, nullptr, false);
    if (record.is_object() && stays_after_resume(record, state)) kept += line + "\n";
  }
  write_file_atomic(path, kept);
}

}  // namespace isobath
