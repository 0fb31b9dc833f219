#pragma once
// The start of a run from a pretrained model (train.init_from).

#include <string>

#include "core/files.h"
#include "data/tokenizer/tokenizer.h"
#include "model/language_model.h"

namespace isobath {

// Puts the weights at train.init_from, of train.init_layers alone, into `model` and says so in the log. What they lack of the kind of depth
// and of updates of low rank keeps its fresh values. Returns the FLOPs that they were trained with; NaN: not known. Throws
// Error(checkpoint) where weights do not fit, and Error(data) where they were trained with another tokenizer.
double take_initial_weights(TrainConfig const& train, LanguageModel& model, Tokenizer const& tokenizer);

}  // namespace isobath
