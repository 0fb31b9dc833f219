#pragma once
// Copies batches to the device.

#include <ATen/core/Tensor.h>

#include <memory>
#include <vector>

#include "data/loader.h"
#include "model/language_model.h"

namespace isobath {

// A batch on the model's device.
struct DeviceBatch {
  int64_t sequences = 0, target_count = 0;  // target_count: of the whole batch
  at::Tensor tokens_BT, targets_BT;         // int64
  at::Tensor positions_BT, segments_BT;     // int64; undefined unless documents are isolated

  // Which part of a batch that several ranks share it is.
  int64_t first_sequence = 0, whole_sequences = 0;

  std::vector<int64_t> windows = {};  // of each sequence, on the host (Batch::windows); empty: the batch has none

  // Sequences [first, first + count) of this part.
  ModelInput input(int64_t first, int64_t count) const;
  at::Tensor targets_N(int64_t first, int64_t count) const;
};

// Copies each batch through one of two page-locked buffers. The copy is queued on the device's current stream behind earlier work, so the
// host waits only when it is two batches ahead. On the CPU nothing is copied: a DeviceBatch is a view of the Batch, which must outlive it.
class DevicePrefetcher {
 public:
  explicit DevicePrefetcher(at::Device device);
  ~DevicePrefetcher();
  DevicePrefetcher(DevicePrefetcher&&) noexcept;
  DeviceBatch load(Batch const& batch);
  DeviceBatch load(Batch const& batch, int64_t first, int64_t count);  // the sequences [first, first + count) alone

 private:
  struct Slot;
  at::Device device_;
  std::unique_ptr<Slot[]> slots_;
  int64_t loads_ = 0;
};

}  // namespace isobath
