#pragma once
// What a comparison will be able to show, said before it runs. Uses no LibTorch.

#include <string>
#include <vector>

#include "trainer/compare/arms.h"

namespace isobath {

// Dense arms that are missing to hold every routed arm against the dense frontier at its own cost of inference, with a number of layers
// that would do: "no dense arm is as cheap as mod (428k forward FLOPs a token): add one, such as model.layers: 2 (376k)".
std::vector<std::string> missing_dense_arms(std::vector<ArmPlan> const& arms);

// How large a difference the seeds of the experiment can find, and how surely sameness within its margin. The scatter of differences
// between seeds is taken from the experiment's folder, where it has finished runs of two seeds or more, else from other experiments in its
// run_dir on the same text with the same model.width.
std::string what_seeds_can_show(Config const& experiment);

// Where arms come in several lengths of the input: what each costs at each, as a share of the baseline in the same size.
std::vector<std::string> costs_by_length(std::vector<ArmPlan> const& arms, std::string const& baseline);

}  // namespace isobath
