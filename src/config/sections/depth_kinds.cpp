#include "config/sections/depth_kinds.h"

#include <algorithm>
#include <utility>

#include "config/sections/sections.h"
#include "core/error.h"

namespace isobath {
namespace {

std::vector<DepthKindOptions>& kinds() {
  static std::vector<DepthKindOptions> all{{"dense", "every token through every block", nullptr}, mod_kind(), nested_kind(), scaled_kind()};
  return all;
}

size_t changes = 0;

}  // namespace

std::vector<DepthKindOptions> const& depth_kind_options() { return kinds(); }

DepthKindOptions const* find_depth_kind(std::string const& name) {
  auto const found = std::find_if(kinds().begin(), kinds().end(), [&](DepthKindOptions const& kind) { return kind.name == name; });
  return found == kinds().end() ? nullptr : &*found;
}

void add_depth_kind(DepthKindOptions options) {
  if (options.name.empty()) throw Error(ExitCode::config, "a kind of depth needs a name");
  if (find_depth_kind(options.name) != nullptr) throw Error(ExitCode::config, "there is a kind of depth '" + options.name + "' already");
  kinds().push_back(std::move(options));
  ++changes;
}

void remove_depth_kind(std::string const& name) {
  std::erase_if(kinds(), [&](DepthKindOptions const& kind) { return kind.name == name; });
  ++changes;
}

size_t depth_kind_changes() { return changes; }

}  // namespace isobath
