#include "trainer/train/device_prefetcher.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <c10/core/Event.h>

#include <algorithm>
#include <optional>

namespace isobath {

namespace {

constexpr int slot_count = 2;

DeviceBatch host_batch(Batch const& batch, int64_t first, int64_t count) {
  // Integers [count, length] over the batch's own memory.
  auto const view_of = [&]<typename Integer>(std::vector<Integer> const& values) {
    auto const type = sizeof(Integer) == 8 ? at::kLong : at::kInt;
    return at::from_blob(const_cast<Integer*>(values.data() + first * batch.length), {count, batch.length}, type);
  };
  DeviceBatch views{count, batch.target_count, view_of(batch.tokens), view_of(batch.targets), {}, {}, first, batch.sequences};
  if (batch.isolated) {
    views.positions_BT = view_of(batch.positions);
    views.segments_BT = view_of(batch.segments).to(at::kLong);
  }
  if (!batch.windows.empty()) views.windows.assign(batch.windows.begin() + first, batch.windows.begin() + first + count);
  return views;
}

}  // namespace

ModelInput DeviceBatch::input(int64_t first, int64_t count) const {
  auto const part = [&](at::Tensor const& x_BT) { return x_BT.defined() ? x_BT.narrow(0, first, count) : x_BT; };
  return {part(tokens_BT), part(positions_BT), part(segments_BT)};
}

at::Tensor DeviceBatch::targets_N(int64_t first, int64_t count) const { return targets_BT.narrow(0, first, count).reshape({-1}); }

struct DevicePrefetcher::Slot {
  at::Tensor buffer_XBT;             // page-locked; copies read it
  std::optional<c10::Event> copied;  // when this event has passed, the buffer may be reused
};

DevicePrefetcher::DevicePrefetcher(at::Device device) : device_(device), slots_(std::make_unique<Slot[]>(slot_count)) {}

DevicePrefetcher::~DevicePrefetcher() = default;
DevicePrefetcher::DevicePrefetcher(DevicePrefetcher&&) noexcept = default;

DeviceBatch DevicePrefetcher::load(Batch const& batch) { return load(batch, 0, batch.sequences); }

DeviceBatch DevicePrefetcher::load(Batch const& batch, int64_t first, int64_t sequences) {
  DeviceBatch loaded = host_batch(batch, first, sequences);
  if (device_.is_cpu()) return loaded;
  std::vector<at::Tensor*> parts{&loaded.tokens_BT, &loaded.targets_BT};
  if (batch.isolated) parts.insert(parts.end(), {&loaded.positions_BT, &loaded.segments_BT});
  auto const count = static_cast<int64_t>(parts.size());

  Slot& slot = slots_[loads_++ % slot_count];
  if (slot.copied) slot.copied->synchronize();
  std::vector<int64_t> const shape{count, sequences, batch.length};
  if (!slot.buffer_XBT.defined() || slot.buffer_XBT.sizes() != shape)
    slot.buffer_XBT = at::empty(shape, at::TensorOptions().dtype(at::kLong).pinned_memory(device_.is_cuda()));
  for (int64_t i = 0; i < count; ++i) slot.buffer_XBT.select(0, i).copy_(*parts[static_cast<size_t>(i)]);
  at::Tensor const on_device_XBT = slot.buffer_XBT.to(device_, /*non_blocking=*/true);
  if (!slot.copied) slot.copied.emplace(device_.type());
  slot.copied->record(c10::impl::VirtualGuardImpl(device_.type()).getStream(device_));
  for (int64_t i = 0; i < count; ++i) *parts[static_cast<size_t>(i)] = on_device_XBT.select(0, i);
  return loaded;
}

}  // namespace isobath
