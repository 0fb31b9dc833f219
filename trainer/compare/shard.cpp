#include "trainer/compare/shard.h"

#include <fmt/format.h>

#include "core/error.h"
#include "core/units.h"

namespace isobath {
namespace {

std::unique_ptr<FileLock> try_lock(fs::path const& path, FileLock::Mode mode, std::string const& what) {
  try {
    return std::make_unique<FileLock>(path, /*wait=*/false, mode);
  } catch (Error const&) {
    throw Error(ExitCode::config, what + " in " + path.parent_path().string() + "; wait for it, or give this comparison another name=");
  }
}

// Shards of another count would run some runs a second time.
void refuse_other_counts(fs::path const& folder, int64_t count) {
  std::string const ours = fmt::format("-of-{}", count);
  for (fs::directory_entry const& entry : fs::directory_iterator(folder)) {
    std::string const name = entry.path().filename().string();
    if (name.starts_with(".lock-") && !name.ends_with(ours))
      try_lock(entry.path(), FileLock::Mode::shared, "a process runs a shard of another number (" + name.substr(6) + ", not" + ours + ")");
  }
}

}  // namespace

std::string ExperimentShard::text() const { return fmt::format("{}/{}", index, count); }

ExperimentShard parse_shard(std::string const& text) {
  size_t const slash = text.find('/');
  auto const index = parse_count(std::string_view(text).substr(0, slash));
  auto const count = slash == std::string::npos ? std::nullopt : parse_count(std::string_view(text).substr(slash + 1));
  if (!index || !count || *index < 1 || *index > *count)
    throw Error(ExitCode::config, "--shard '" + text + "' is no part of an experiment; write 2/4 for the second of four");
  return {*index, *count};
}

std::vector<ExperimentRun> of_shard(std::vector<ExperimentRun> const& runs, ExperimentShard const& shard) {
  std::vector<ExperimentRun> mine;
  for (size_t i = 0; i < runs.size(); ++i)
    if (static_cast<int64_t>(i) % shard.count == shard.index - 1) mine.push_back(runs[i]);
  return mine;
}

ExperimentLock::ExperimentLock(fs::path const& folder, ExperimentShard const& shard) {
  fs::create_directories(folder);
  bool const all = shard.is_all();
  held_.push_back(try_lock(folder / ".lock", all ? FileLock::Mode::exclusive : FileLock::Mode::shared,
                           all ? "another process is comparing" : "a process is comparing without --shard"));
  if (all) return;
  refuse_other_counts(folder, shard.count);
  held_.push_back(try_lock(folder / fmt::format(".lock-{}-of-{}", shard.index, shard.count), FileLock::Mode::exclusive,
                           "another process runs shard " + shard.text()));
}

}  // namespace isobath
