#pragma once
// metrics.jsonl: one JSON object a line, each written with a single write().

#include <cstdint>
#include <nlohmann/json_fwd.hpp>

#include "core/files.h"
#include "trainer/run/state.h"

namespace isobath {

class RecordFile {
 public:
  explicit RecordFile(fs::path const& path);  // appends
  ~RecordFile();
  RecordFile(RecordFile const&) = delete;
  void write(nlohmann::ordered_json const& record);  // throws Error(disk)
  void sync();                                       // flushes to the disk; call it before a checkpoint that relies on the records

 private:
  fs::path path_;
  int fd_ = -1;
};

// Removes the records that a run resumed from `state` will write again: later records, a half-written last line, the record of the stop
// itself. The rest is what an uninterrupted run would have written by then.
void cut_back_records(fs::path const& path, TrainState const& state);

}  // namespace isobath
