#pragma once
// What each section declares: its rows of the table of keys, and the checks of what must hold between its keys.

#include <vector>

#include "config/contradiction.h"
#include "config/fields.h"
#include "config/sections/depth_kinds.h"

namespace isobath {

std::vector<ConfigField> run_fields();
std::vector<ConfigField> data_fields();
std::vector<ConfigField> tokenizer_fields();
std::vector<ConfigField> model_fields();
std::vector<ConfigField> depth_fields();  // all keys of `depth`: depth.kind, then the four lists that follow
std::vector<ConfigField> mod_fields();
std::vector<ConfigField> router_fields();
std::vector<ConfigField> nested_fields();
std::vector<ConfigField> scaled_fields();
std::vector<ConfigField> train_fields();
std::vector<ConfigField> eval_fields();
std::vector<ConfigField> checkpoint_fields();
std::vector<ConfigField> parallel_fields();
std::vector<ConfigField> compare_fields();
std::vector<ConfigField> tune_fields();  // compare.tune
std::vector<MatchField> match_rows();
std::vector<ArmField> arm_rows();

void check_run(Config const& config, std::vector<Contradiction>& found);
void check_data(Config const& config, std::vector<Contradiction>& found);
void check_model(Config const& config, std::vector<Contradiction>& found);
void check_depth(Config const& config, std::vector<Contradiction>& found);  // runs the check of the chosen depth.kind
void check_train(Config const& config, std::vector<Contradiction>& found);
void check_compare(Config const& config, std::vector<Contradiction>& found);

// Checks the router keys, for mod and for nested with expert choice.
void check_router(DepthConfig const& depth, std::vector<Contradiction>& found);

// The kinds of depth that are built in, beside dense.
DepthKindOptions mod_kind();
DepthKindOptions nested_kind();
DepthKindOptions scaled_kind();

}  // namespace isobath
