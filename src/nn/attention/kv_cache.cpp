#include "nn/attention/kv_cache.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/stack.h>
#include <ATen/record_function.h>

#include <algorithm>

#include "core/error.h"
#include "core/units.h"
#include "nn/backend/backend.h"

namespace isobath {

namespace {

constexpr int64_t slab_blocks = 64;

}  // namespace

KvCache::KvCache(int64_t layers, int64_t kv_heads, int64_t head_dim, int64_t most_bytes)
    : layers_(layers), kv_heads_(kv_heads), head_dim_(head_dim), most_bytes_(most_bytes) {}

int64_t KvCache::add() {
  if (free_slots_.empty()) {
    texts_.emplace_back(static_cast<size_t>(layers_));
    return static_cast<int64_t>(texts_.size()) - 1;
  }
  int64_t const slot = free_slots_.back();
  free_slots_.pop_back();
  return slot;
}

int64_t KvCache::copy(int64_t slot) {
  int64_t const target = add();
  for (size_t layer = 0; layer < static_cast<size_t>(layers_); ++layer) {
    Stored& to = texts_[static_cast<size_t>(target)][layer];
    Stored const& from = texts_[static_cast<size_t>(slot)][layer];
    to.rows = from.rows;
    for (int64_t const block : from.blocks) {
      to.blocks.push_back(take_block(slabs_.front().options()));
      slab_of(to.blocks.back())[to.blocks.back() % slab_blocks].copy_(slab_of(block)[block % slab_blocks]);
    }
    use_.stored += from.rows * row_bytes_;
  }
  if (auto const found = prefixes_.find(slot); found != prefixes_.end()) prefixes_[target] = found->second;
  return target;
}

void KvCache::remove(int64_t slot) {
  for (Stored& text : texts_[static_cast<size_t>(slot)]) {
    use_.stored -= text.rows * row_bytes_;
    use_.reserved -= static_cast<int64_t>(text.blocks.size()) * block_bytes_;
    free_blocks_.insert(free_blocks_.end(), text.blocks.begin(), text.blocks.end());
    text = {};
  }
  prefixes_.erase(slot);
  free_slots_.push_back(slot);
}

int64_t KvCache::take_block(at::TensorOptions const& options) {
  if (free_blocks_.empty()) {
    int64_t const first = static_cast<int64_t>(slabs_.size()) * slab_blocks;
    slabs_.push_back(at::empty({slab_blocks, 2, kv_heads_ * block_rows * head_dim_}, options));
    for (int64_t index = first + slab_blocks; index-- > first;) free_blocks_.push_back(index);
    use_.allocated += slab_blocks * block_bytes_;
  }
  int64_t const index = free_blocks_.back();
  free_blocks_.pop_back();
  use_.reserved += block_bytes_;
  return index;
}

at::Tensor const& KvCache::slab_of(int64_t index) const { return slabs_[static_cast<size_t>(index / slab_blocks)]; }

float* KvCache::block_floats(int64_t index) const {
  return slab_of(index).mutable_data_ptr<float>() + index % slab_blocks * (block_bytes_ / static_cast<int64_t>(sizeof(float)));
}

at::Tensor KvCache::keys(int64_t index) const { return slab_of(index)[index % slab_blocks][0].view({kv_heads_, head_dim_, block_rows}); }

at::Tensor KvCache::values(int64_t index) const { return slab_of(index)[index % slab_blocks][1].view({kv_heads_, block_rows, head_dim_}); }

void KvCache::append(at::Tensor const& k_RGE, at::Tensor const& v_RGE, Rows const& rows) {
  row_bytes_ = 2 * kv_heads_ * head_dim_ * static_cast<int64_t>(k_RGE.element_size());
  block_bytes_ = block_rows * row_bytes_;
  at::Tensor const slots_R = rows.slots_R.cpu().contiguous();
  int64_t const* slots = slots_R.const_data_ptr<int64_t>();
  int64_t const count = rows.count;
  int64_t blocks = 0, longest = 0;  // blocks to take, most rows of one text
  for (int64_t first = 0, last; first < count; first = last) {
    last = std::find_if(slots + first, slots + count, [&](int64_t slot) { return slot != slots[first]; }) - slots;
    longest = std::max(longest, last - first);
    Stored const& text = stored(slots[first]);
    blocks += (text.rows + last - first + block_rows - 1) / block_rows - static_cast<int64_t>(text.blocks.size());
  }
  if (most_bytes_ > 0 && use_.reserved + blocks * block_bytes_ > most_bytes_)
    throw Error(ExitCode::allocation, "the key-value cache would take " +
                                          format_bytes(static_cast<double>(use_.reserved + blocks * block_bytes_)) +
                                          ", more than its limit of " + format_bytes(static_cast<double>(most_bytes_)) +
                                          ": fewer texts at a time, shorter ones, or a higher --max-cache");
  appended_.clear();
  at::Tensor const positions_R = longest > 1 ? rows.positions_R.cpu().contiguous() : at::Tensor();
  at::Tensor const k = k_RGE.contiguous(), v = v_RGE.contiguous();
  bool const on_cpu = &backend_for(k) == &cpu_backend();
  int64_t const row_floats = kv_heads_ * head_dim_;
  for (int64_t r = 0; r < count; ++r) {
    Stored& text = stored(slots[r]);
    int64_t const place = text.rows % block_rows;
    if (place == 0) text.blocks.push_back(take_block(k.options()));
    text.rows += 1;
    if (longest > 1) appended_.push_back({slots[r], positions_R.const_data_ptr<int64_t>()[r], text.rows});
    use_.stored += row_bytes_;
    int64_t const index = text.blocks.back();
    if (!on_cpu) {
      keys(index).select(2, place).copy_(k[r]);
      values(index).select(1, place).copy_(v[r]);
      continue;
    }
    float* const to_keys = block_floats(index);
    float* const to_values = to_keys + block_rows * row_floats;
    float const *from_keys = k.const_data_ptr<float>() + r * row_floats, *from_values = v.const_data_ptr<float>() + r * row_floats;
    for (int64_t i = 0; i < row_floats; ++i) to_keys[i * block_rows + place] = from_keys[i];
    for (int64_t g = 0; g < kv_heads_; ++g)
      std::copy_n(from_values + g * head_dim_, head_dim_, to_values + (g * block_rows + place) * head_dim_);
  }
}

std::vector<int64_t> KvCache::visible_keys(int64_t const* slots, Rows const& rows) const {
  std::vector<int64_t> visible;
  if (appended_.empty()) {
    for (int64_t r = 0; r < rows.count; ++r) visible.push_back(stored(slots[r]).rows);
    return visible;
  }
  at::Tensor const positions_R = rows.positions_R.cpu().contiguous();
  auto row = appended_.begin();  // the queries are some of the appended rows, in their order
  for (int64_t r = 0; r < rows.count; ++r) {
    int64_t const position = positions_R.const_data_ptr<int64_t>()[r];
    row = std::find_if(row, appended_.end(), [&](Appended const& one) { return one.slot == slots[r] && one.position == position; });
    visible.push_back(row->keys);
  }
  return visible;
}

at::Tensor KvCache::attend(at::Tensor const& q_RHE, Rows const& rows) const {
  RECORD_FUNCTION("KvCache::attend", c10::ArrayRef<c10::IValue const>());
  at::Tensor const q = q_RHE.contiguous(), slots_R = rows.slots_R.cpu().contiguous();
  int64_t const* slots = slots_R.const_data_ptr<int64_t>();
  int64_t const heads = q.size(1);
  std::vector<int64_t> const visible = visible_keys(slots, rows);
  if (&backend_for(q) == &cpu_backend() && head_dim_ % kernels::decode_head_dim_step == 0) {
    std::vector<std::vector<float const*>> blocks(static_cast<size_t>(rows.count));
    std::vector<kernels::BlockedKeys> texts;
    int64_t all_rows = 0;
    for (int64_t r = 0; r < rows.count; ++r) {
      Stored const& text = stored(slots[r]);
      auto& of_text = blocks[static_cast<size_t>(r)];
      for (int64_t const index : text.blocks) of_text.push_back(block_floats(index));
      texts.push_back({of_text.data(), visible[static_cast<size_t>(r)]});
      all_rows += texts.back().rows;
    }
    at::Tensor const out = at::empty_like(q);
    kernels::DecodeShape const shape{heads, kv_heads_, head_dim_, block_rows * kv_heads_ * head_dim_};
    // A few microseconds of work per thread.
    constexpr int64_t floats_of_a_thread = 32768;
    int64_t const items_of_a_thread = 1 + floats_of_a_thread * rows.count / (2 * all_rows * head_dim_ + 1);
    at::parallel_for(0, rows.count * kv_heads_, items_of_a_thread, [&](int64_t first, int64_t last) {
      kernels::decode_attention(shape, texts.data(), q.const_data_ptr<float>(), out.mutable_data_ptr<float>(), first, last);
    });
    return out.flatten(1);
  }
  std::vector<at::Tensor> outs;
  for (int64_t r = 0; r < rows.count; ++r) {
    Stored const& text = stored(slots[r]);
    std::vector<at::Tensor> k, v;
    for (int64_t const index : text.blocks) {
      k.push_back(keys(index).transpose(1, 2));
      v.push_back(values(index));
    }
    auto const whole = [&](std::vector<at::Tensor> const& parts) {  // [1, H, rows, E]
      return at::cat(parts, 1).narrow(1, 0, visible[static_cast<size_t>(r)]).repeat_interleave(heads / kv_heads_, 0).unsqueeze(0);
    };
    outs.push_back(at::scaled_dot_product_attention(q[r].view({1, heads, 1, head_dim_}), whole(k), whole(v)).flatten());
  }
  return at::stack(outs);
}

}  // namespace isobath
