#pragma once
// Configurations that start from a pretrained model.

#include "config/io.h"

namespace isobath {

// load_config, or for a model of another program in place of `file` the default configuration started from it. With `train.init_from`, the
// keys of `model` that nobody wrote, and tokenizer.kind, have the values of the model there. Throws Error(config) as load_config does, and
// lists the keys that were written and disagree with the weights; Error(checkpoint) when the model cannot be read.
LoadedConfig load_experiment(std::filesystem::path const& file, std::vector<std::string> const& overrides);

}  // namespace isobath
