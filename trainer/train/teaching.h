#pragma once
// What a training step learns from a teacher (train.distill).

#include <memory>
#include <optional>

#include "model/language_model.h"
#include "trainer/train/device_prefetcher.h"
#include "trainer/train/teacher_cache.h"

namespace isobath {

struct Teaching {
  std::shared_ptr<LanguageModel> teacher = nullptr;  // null: there is none
  double weight = 1, temperature = 1;
  int64_t top = 0;                                // the likeliest tokens that are learned one by one, the rest as one event; 0: all
  std::shared_ptr<TeacherCache> cache = nullptr;  // with `top`; null: the teacher runs on every window

  // What the teacher says of the sequences [first, first + count) of a batch; nothing without a teacher. With `top` it runs on one window
  // at a time, so that what it says of a window never depends on the windows beside it; where it runs, the host waits for the device.
  std::optional<ops::Distillation> distillation(DeviceBatch const& batch, int64_t first, int64_t count) const;
};

// The teacher, with random weights, on its device. Throws Error(config) where train.distill.top is more than the vocabulary.
Teaching make_teaching(Config const& config, int64_t vocab_size);

}  // namespace isobath
