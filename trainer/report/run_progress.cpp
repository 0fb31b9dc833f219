#include "trainer/report/run_progress.h"

#include <algorithm>
#include <chrono>
#include <fstream>
#include <nlohmann/json.hpp>

#include "format/total.h"
#include "trainer/report/record_number.h"

namespace isobath {
namespace {

using nlohmann::json;

void take(json const& record, RunStatus& run) {
  std::string const kind = record.value("kind", "");
  run.step = std::max(run.step, record.value("step", int64_t{0}));
  run.train_loss = number(record, "train_loss", run.train_loss);
  run.tokens_per_s = number(record, "tokens_per_s", run.tokens_per_s);
  run.train_seconds = number(record, "time_s", run.train_seconds);
  if (auto const total = record.find("train_flops_total"); total != record.end())
    run.train_flops = static_cast<double>(read_total(*total).value_or(0));
  if (kind == "run") run.planned_steps = record.value("steps", int64_t{0});
  if (kind != "validation") return;
  ++(record.value("final", false) ? run.results : run.curve_points);
  run.causal_loss = number(record, "loss_causal", number(record, "loss_topk", run.causal_loss));
  run.validated_tokens = number(record, "eval_tokens", 0);
  run.eval_seconds += number(record, "eval_s", 0);
}

// Whether `line` still ends at `offset`.
bool stands_there(std::ifstream& file, std::string const& line, int64_t offset) {
  std::string there(line.size(), '\0');
  file.seekg(offset - std::ssize(line));
  return file.read(there.data(), std::ssize(there)) && there == line;
}

double age_of(fs::path const& file) {
  std::error_code missing;
  auto const written = fs::last_write_time(file, missing);
  return missing ? 0 : std::chrono::duration<double>(fs::file_time_type::clock::now() - written).count();
}

}  // namespace

std::string run_state(bool locked, bool has_records, std::string const& ended) {
  return locked ? "running" : !has_records ? "not started" : ended.empty() ? "broken off" : ended;
}

int RunStatus::percent_of_steps() const {
  if (planned_steps <= 0) return 0;
  return static_cast<int>(std::min<int64_t>(100 * step / planned_steps, state == "finished" ? 100 : 99));
}

double RunStatus::seconds_left() const {
  if (state != "running" || step <= 0 || step >= planned_steps) return std::numeric_limits<double>::quiet_NaN();
  return (train_seconds + eval_seconds) / static_cast<double>(step) * static_cast<double>(planned_steps - step);
}

RunStatus const& RunProgress::update() {
  fs::path const path = folder_ / "metrics.jsonl";
  bool const locked = is_locked(folder_ / ".lock");  // asked first: the last records of a process that has ended by now are there to read
  std::ifstream file(path, std::ios::binary);
  if (offset_ > 0 && !stands_there(file, last_line_, offset_)) *this = RunProgress(folder_);
  file.clear();
  file.seekg(offset_);
  for (std::string line; std::getline(file, line) && !file.eof();) {
    last_line_ = line + "\n";
    offset_ += std::ssize(last_line_);
    json const record = json::parse(line, nullptr, false);
    if (!record.is_object()) continue;  // cut short by a crash
    take(record, now_);
    ended_ = record.value("kind", "") == "end" ? record.value("status", "") : "";
  }
  now_.state = run_state(locked, offset_ > 0, ended_);
  now_.age_s = age_of(path);
  return now_;
}

}  // namespace isobath
