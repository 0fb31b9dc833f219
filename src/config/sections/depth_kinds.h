#pragma once
// Which kinds of depth there are: the values of depth.kind, with what help says about them and what must hold when one is chosen.

#include <cstddef>
#include <string>
#include <vector>

#include "config/config.h"
#include "config/contradiction.h"

namespace isobath {

struct DepthKindOptions {
  std::string name;                                           // the value of depth.kind
  std::string doc;                                            // half a sentence, without a full stop
  void (*check)(Config const&, std::vector<Contradiction>&);  // for configurations of this kind; null: nothing to check
};

// In the order in which help lists them.
std::vector<DepthKindOptions> const& depth_kind_options();
DepthKindOptions const* find_depth_kind(std::string const& name);  // null when there is none

// Adds a kind that configurations may name from now on. Call it before other threads read configurations. Throws Error(config) when the
// name is empty or taken.
void add_depth_kind(DepthKindOptions options);
void remove_depth_kind(std::string const& name);  // so that a test leaves no kind behind for the next one
size_t depth_kind_changes();                      // additions and removals so far; what was made from an older list is out of date

}  // namespace isobath
