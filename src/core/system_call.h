#pragma once
// System calls that a signal may interrupt.

#include <cerrno>

namespace isobath {

// Makes the call again for as long as it fails with EINTR.
template <typename Call>
auto uninterrupted(Call const& call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

}  // namespace isobath
