#include "config/choice.h"

#include <algorithm>

#include "core/error.h"

namespace isobath {

void AnyChoice::set(std::string_view name) {
  auto const found = std::find(names_.begin(), names_.end(), name);
  if (found == names_.end()) {
    std::string allowed;
    for (char const* const known : names_) allowed += (allowed.empty() ? "" : ", ") + std::string(known);
    throw Error(ExitCode::config, "'" + std::string(name) + "' is not one of " + allowed);
  }
  index_ = static_cast<size_t>(found - names_.begin());
}

}  // namespace isobath
