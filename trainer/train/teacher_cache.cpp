#include "trainer/train/teacher_cache.h"

#include <ATen/ops/tensor.h>
#include <fmt/format.h>

#include <bit>
#include <cmath>

#include "config/fields.h"
#include "config/values.h"
#include "core/log.h"
#include "core/units.h"
#include "data/shards/cache.h"
#include "trainer/parallel/agreement.h"

namespace isobath {
namespace {

// Part of every key: increase it when a new version of the program cuts other windows, has a teacher say something else of the same window,
// or keeps it in another form.
constexpr int kept_format = 1;

size_t kept_bytes(int64_t context, int64_t top) { return static_cast<size_t>(2 * context * top) * sizeof(int32_t); }

std::span<std::byte> bytes_of_record(at::Tensor const& record_X) {
  return {static_cast<std::byte*>(record_X.mutable_data_ptr()), record_X.nbytes()};
}

// All that decides what the teacher says of window number n: which tokens it has, and how they are read.
std::string cache_key(Config const& config, std::string const& teacher, PreparedData const& data, at::Device device) {
  DistillConfig const& distill = config.train.distill;
  KeyText key;
  key.add(kept_format).add(data.folder.filename().string()).add(data.tokenizer->fingerprint());
  key.add(config.model.context).add(config.data.isolates());
  key.add(teacher);
  Config sizes;
  sizes.model = *distill.teacher;
  for (ConfigField const& field : config_fields())
    if (section_of(field.path) == "model") key.add(field.path).add(format_value(field, field.at(sizes)));
  key.add(distill.top).add(std::bit_cast<int64_t>(distill.temperature));
  return key.add(config.precision.name()).add(kind_of(device)).key();
}

}  // namespace

TeacherCache::TeacherCache(fs::path const& file, int64_t context, int64_t top) : file_(file, kept_bytes(context, top)), context_(context) {}

bool TeacherCache::read(int64_t window, at::Tensor const& record_X) {
  bool const kept = file_.read(window, bytes_of_record(record_X));
  (kept ? read_ : ran_) += 1;
  return kept;
}

void TeacherCache::write(int64_t window, at::Tensor const& record_X) { file_.write(window, bytes_of_record(record_X)); }

Int128 TeacherCache::flops_spared(Ledger const& ledger, double pairs, Ranks const& ranks) {
  at::Tensor const read = at::tensor({read_ - read_before_}, at::kLong);
  read_before_ = read_;
  ranks.sum(read);
  double const flops = static_cast<double>(context_ * ledger.teacher_row) + pairs * static_cast<double>(ledger.teacher_pair);
  return static_cast<Int128>(read.item<int64_t>()) * static_cast<Int128>(std::llround(flops));
}

std::string TeacherCache::describe_use(Ranks const& ranks) const {
  at::Tensor const windows = at::tensor({ran_, read_}, at::kLong);
  ranks.sum(windows);
  return fmt::format("the teacher ran on {} windows; what it says of {} was read from {}", windows[0].item<int64_t>(),
                     windows[1].item<int64_t>(), file_.path().string());
}

std::shared_ptr<TeacherCache> open_teacher_cache(Config const& config, std::string const& teacher, PreparedData const& data,
                                                 at::Device device, int64_t windows) {
  DistillConfig const& distill = config.train.distill;
  if (!distill.teacher || distill.top == 0) return nullptr;
  fs::path const file = writable_cache_root(config.data) / "teachers" / cache_key(config, teacher, data, device);
  auto cache = std::make_shared<TeacherCache>(file, config.model.context, distill.top);
  double const bytes = static_cast<double>(windows) * static_cast<double>(kept_bytes(config.model.context, distill.top));
  log_info(fmt::format("what the teacher says of the {} likeliest tokens is kept in {}: {} for all {} windows of the text", distill.top,
                       file.string(), format_bytes(bytes), windows));
  return cache;
}

}  // namespace isobath
