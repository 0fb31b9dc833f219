#pragma once
// `data`: which text, and how validation text is taken from it.

#include <cstdint>
#include <string>
#include <vector>

#include "config/choice.h"

namespace isobath {

enum class Split { document, tail, automatic };
template <>
struct ChoiceNames<Split> {
  static constexpr std::array names{"document", "tail", "auto"};
};

// What a row without text does: end the program, or be left out and counted.
enum class BadRows { stop, skip };
template <>
struct ChoiceNames<BadRows> {
  static constexpr std::array names{"stop", "skip"};
};

struct DataConfig {
  std::vector<std::string> sources{"libtorch-headers"};
  std::vector<std::string> valid_sources;  // empty: split from `sources`
  Choice<Split> split = Split::automatic;
  double valid_fraction = 0.02;
  int64_t max_bytes = 0;  // 0: all
  std::string text_key = "text";
  Choice<BadRows> bad_rows = BadRows::stop;
  bool isolate_documents = false;
  std::string cache_dir = "auto";
  std::vector<std::string> tasks;    // task files, folders or globs; empty: text from `sources`
  std::vector<double> task_weights;  // one a task; empty: 1

  bool isolates() const { return isolate_documents || !tasks.empty(); }  // examples never see each other
};

}  // namespace isobath
