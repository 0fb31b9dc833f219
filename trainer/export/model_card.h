#pragma once
// README.md of an exported model: what it is, what it was trained on, how good it is. Uses no LibTorch.

#include "config/config.h"
#include "core/int128.h"
#include "trainer/export/exported_model.h"

namespace isobath {

struct CardFacts {
  Config config;  // of the run
  int64_t step = 0, tokens = 0;
  Int128 train_flops;
  std::string text_key;  // of the prepared text
  std::string class_name, dtype, export_command;
  fs::path run_folder;  // may not exist: then losses and commands are left out
};

std::string model_card(ExportedModel const& model, CardFacts const& facts);

}  // namespace isobath
