#pragma once
// Decoding speed of a model that has weights already: a checkpoint, or a file of another program.

#include <functional>
#include <string>
#include <vector>

#include "trainer/bench/decode.h"

namespace isobath {

struct StoredArm {
  BenchArm subject;
  DecodeArm decode;  // its text is random
  int64_t vocab_size = 0;
  double load_s = 0;  // from opening the files until a first token can be asked for, tokenizer included
};

// Whether `path` with these overrides names a model's own weights: a checkpoint, a run folder, or a model of another program, of which the
// overrides change nothing that its weights depend on.
bool names_weights(std::string const& path, std::vector<std::string> const& overrides);

// Loads it with the overrides (model.context may be shorter), once `place` has set device and threads. Throws Error(checkpoint),
// Error(config), and Error(data) where there is no tokenizer.
StoredArm open_stored_arm(std::string const& path, std::vector<std::string> const& overrides, std::function<void(Config&)> const& place);

}  // namespace isobath
