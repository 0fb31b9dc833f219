#pragma once
// The loss of a nested model if every token took its best branch, chosen in hindsight: the head-room of its depth network.

#include <optional>
#include <vector>

#include "data/loader.h"
#include "trainer/evaluate/evaluate.h"

namespace isobath {

// Computes the oracle of a nested model on the first tokens (2^20 at most) of a text; nullopt for other kinds of depth.
// mean_depth: the model's own, in layers. The result is a rough bound: the loss of a branch is measured while all tokens of the text take
// that branch, so a token attends to other keys than it would among mixed branches.
std::optional<Oracle> measure_branch_oracle(LanguageModel& model, Windows const& text, double mean_depth, EvalSettings const& settings);

}  // namespace isobath
