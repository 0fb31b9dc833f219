#include "trainer/run/tensor_parts.h"

#include <ATen/core/grad_mode.h>

#include <nlohmann/json.hpp>
#include <set>

#include "core/error.h"
#include "model/weights.h"

namespace isobath {
namespace {

// The tensors of which the ranks hold parts, each once, in the order in which rank 0 meets them.
std::vector<TensorPlace> places_of(std::vector<std::string> const& listings) {
  std::vector<TensorPlace> places;
  std::set<std::string> seen;
  for (std::string const& listing : listings)
    for (auto const& [name, dtype, shape] :
         nlohmann::json::parse(listing).get<std::vector<std::tuple<std::string, std::string, std::vector<int64_t>>>>())
      if (seen.insert(name).second) places.push_back({name, dtype, shape});
  return places;
}

}  // namespace

void write_parts(fs::path const& path, std::vector<TensorPart> const& own, Metadata const& metadata, Ranks const& ranks) {
  nlohmann::json listing = nlohmann::json::array();
  for (TensorPart const& part : own) listing.push_back({part.name, dtype_name(part.values.scalar_type()), part.shape});
  std::vector<std::string> const listings = ranks.collect(listing.dump());
  if (ranks.is_first()) reserve_safetensors(path, places_of(listings), metadata);
  ranks.wait_for_all();
  SafetensorsFile const file(path);
  FilePatcher patcher(path);
  for (TensorPart const& part : own) {
    at::Tensor const values = part.values.detach().cpu().contiguous();
    size_t const begin = file.offset(*file.find(part.name)) + static_cast<size_t>(part.first) * values.element_size();
    patcher.write(begin, {static_cast<std::byte const*>(values.const_data_ptr()), static_cast<size_t>(values.nbytes())});
  }
  patcher.finish();
  ranks.wait_for_all();
}

void read_part(SafetensorsFile const& file, std::string const& stored_name, TensorPart const& part) {
  at::NoGradGuard const no_grad;
  at::Tensor const stored = read_tensor(file, stored_name);
  if (stored.sizes() != at::IntArrayRef(part.shape) || stored.scalar_type() != part.values.scalar_type())
    throw Error(ExitCode::checkpoint, "tensor '" + stored_name + "' has the wrong shape or type");
  at::Tensor(part.values).copy_(stored.reshape({-1}).narrow(0, part.first, part.values.numel()).view_as(part.values));
}

}  // namespace isobath
