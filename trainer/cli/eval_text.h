#pragma once
// The text that `eval` and `analyze` read.

#include <memory>
#include <string>
#include <vector>

#include "data/encoded_text.h"
#include "data/prepare.h"
#include "trainer/evaluate/evaluate.h"
#include "trainer/run/saved_model.h"

namespace isobath {

// Text that the call names, whole; or the run's validation text, and the training text that decisions are calibrated on.
struct EvalText {
  std::unique_ptr<EncodedText> named;
  PreparedData prepared;
  std::unique_ptr<TokenStream> train_stream, valid_stream;
  std::unique_ptr<Windows> windows;  // that losses are measured in
  TokenStream const& valid() const { return named ? named->stream() : *valid_stream; }
};

// The checkpoint's configuration with overrides, which may change what is evaluated but not the model.
Config eval_config(Checkpoint const& checkpoint, std::vector<std::string> const& overrides);

// The checkpoint's model at config's context, on its device.
std::shared_ptr<LanguageModel> load_evaluated_model(Checkpoint const& checkpoint, Config const& config);

// A model on its device and the text it is evaluated on. files: as data.sources, each document on its own and whole (RollingWindows);
// empty: the run's validation text.
struct EvalSubject {
  EvalSubject(Checkpoint const& checkpoint, Config const& config, std::vector<std::string> const& files);
  EvalText text;
  std::shared_ptr<LanguageModel> model;
  EvalSettings settings;
};

}  // namespace isobath
