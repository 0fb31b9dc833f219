#pragma once
// What the teacher of a distillation says of the windows of the training text (train.distill.top), kept on disk so that it runs once for
// each of them.

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>

#include "config/config.h"
#include "core/slot_file.h"
#include "data/prepare.h"
#include "model/ledger/ledger.h"
#include "trainer/parallel/ranks.h"

namespace isobath {

// A file with one record a window, by the window's number in the text, so that all epochs and seeds, and all arms of an experiment with the
// same teacher, share it. Several runs and ranks may use it at once.
class TeacherCache {
 public:
  TeacherCache(fs::path const& file, int64_t context, int64_t top);

  // Reads what the teacher said of a window into record_X: int32, contiguous, on the CPU, 2 * context * top numbers, which are the ids of
  // the tokens and then the bits of the fp32 logarithms of their probabilities. False where the window is not kept.
  bool read(int64_t window, at::Tensor const& record_X);
  void write(int64_t window, at::Tensor const& record_X);  // Throws Error(disk)

  // FLOPs of the teacher's passes that were not run since the last call because their windows were kept, over all ranks. pairs: query-key
  // pairs of a window.
  Int128 flops_spared(Ledger const& ledger, double pairs, Ranks const& ranks);
  // For the log, over all ranks: "the teacher ran on 4 windows; what it says of 96 was read from FILE".
  std::string describe_use(Ranks const& ranks) const;

 private:
  SlotFile file_;
  int64_t context_;
  int64_t ran_ = 0, read_ = 0;  // windows
  int64_t read_before_ = 0;     // at the last call of flops_spared
};

// The cache that fits a run: in the folder `teachers` of the cache of prepared text, named by all that what is kept depends on. teacher:
// the fingerprint of its weights; windows: of the text. Null where train.distill.top is not given. Throws Error(disk).
std::shared_ptr<TeacherCache> open_teacher_cache(Config const& config, std::string const& teacher, PreparedData const& data,
                                                 at::Device device, int64_t windows);

}  // namespace isobath
