#include "data/tokenizer/word_cache.h"

#include "core/files.h"

namespace isobath {
namespace {
constexpr size_t fewest_slots = size_t{1} << 12, most_slots = size_t{1} << 19;  // table sizes, powers of two; at most half full
}

void WordCache::clear() {
  entries_.assign(fewest_slots, {});
  words_.clear();
  ids_.clear();
  used_ = 0;
}

void WordCache::grow() {
  std::vector<Entry> const old = std::move(entries_);
  entries_.assign(old.size() * 2, {});
  for (Entry const& entry : old) {
    if (entry.word_size == 0) continue;
    size_t slot = entry.hash & (entries_.size() - 1);
    while (entries_[slot].word_size != 0) slot = (slot + 1) & (entries_.size() - 1);
    entries_[slot] = entry;
  }
}

void WordCache::belong_to(uint64_t owner) {
  if (owner_ == owner && !entries_.empty()) return;
  owner_ = owner;
  clear();
}

std::span<int32_t const> const* WordCache::find(std::string_view word) {
  hash_ = checksum(std::as_bytes(std::span(word)));
  for (slot_ = first_slot(); entries_[slot_].word_size != 0; slot_ = (slot_ + 1) & (entries_.size() - 1)) {
    Entry const& entry = entries_[slot_];
    if (entry.hash != hash_ || std::string_view(words_).substr(entry.word, entry.word_size) != word) continue;
    found_ = std::span<int32_t const>(ids_).subspan(entry.ids, entry.ids_size);
    return &found_;
  }
  return nullptr;
}

void WordCache::insert(std::string_view word, std::span<int32_t const> ids) {
  if (2 * used_ == entries_.size()) {
    entries_.size() < most_slots ? grow() : clear();
    for (slot_ = first_slot(); entries_[slot_].word_size != 0;) slot_ = (slot_ + 1) & (entries_.size() - 1);
  }
  entries_[slot_] = {hash_, static_cast<uint32_t>(words_.size()), static_cast<uint32_t>(ids_.size()), static_cast<uint16_t>(word.size()),
                     static_cast<uint16_t>(ids.size())};
  words_.append(word);
  ids_.insert(ids_.end(), ids.begin(), ids.end());
  ++used_;
}

}  // namespace isobath
