// A kind of depth that only this file defines: in the layers that depth.stride and depth.offset name, only every other token runs. It is
// planned, matched, trained, stopped, resumed, generated from and reported like the shipped kinds.

#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros.h>

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <nlohmann/json.hpp>

#include "config/io.h"
#include "config/sections/depth_kinds.h"
#include "model/decode/generate.h"
#include "model/depth/block_rows.h"
#include "model/depth/kind.h"
#include "model/ledger/ledger.h"
#include "model/ledger/match.h"
#include "nn/ops/ops.h"
#include "tests/fast/scratch.h"
#include "trainer/compare/arms.h"
#include "trainer/report/report.h"
#include "trainer/run/checkpoint.h"
#include "trainer/run/saved_model.h"
#include "trainer/train/trainer.h"

using namespace isobath;

namespace {

class AlternatePlan : public DepthPlan {
 public:
  using DepthPlan::DepthPlan;
  std::string describe() const override { return std::to_string(routed_layers().size()) + " for every other token"; }
  std::vector<int64_t> routed_layers() const override {
    std::vector<int64_t> layers;
    for (int64_t layer = depth_.offset; layer < model_.layers; layer += depth_.stride) layers.push_back(layer);
    return layers;
  }
  std::vector<double> capacities() const override { return std::vector<double>(routed_layers().size(), 0.5); }
  int64_t fewest_layers() const override { return depth_.offset + 1; }
};

struct AlternateModule : DepthModule {
  AlternateModule(ModelConfig const& model, DepthConfig const& depth)
      : layers(model.layers), routed(AlternatePlan(model, depth).routed_layers()) {}
  std::unique_ptr<DepthPass> begin(ForwardContext const& context) override;

  int64_t layers;
  std::vector<int64_t> routed;
};

class AlternatePass : public DepthPass {
 public:
  AlternatePass(ForwardContext const& context, AlternateModule const& module) : DepthPass(context), module_(module) {}

  at::Tensor layer(int64_t index, BlockImpl& block, at::Tensor const& x_ND) override {
    if (std::find(module_.routed.begin(), module_.routed.end(), index) == module_.routed.end())
      return block.forward(x_ND, context.rows, context.rotary);
    at::Tensor const even_BT = context.rows.positions_R.remainder(2).eq(0).view({context.rows.sequences, context.rows.longest});
    at::Tensor const replay_BT = context.replay(ran_.size()), executed_BT = replay_BT.defined() ? replay_BT : even_BT;
    ran_.push_back({executed_BT, even_BT, even_BT, at::zeros(executed_BT.sizes(), ops::wide_options(x_ND))});
    at::Tensor index_R;
    Rows const selected = select_ragged(context.rows, executed_BT, index_R);
    if (selected.count == 0) return x_ND;
    return ops::scatter_add_rows(x_ND, index_R, selected_delta(block, RoutedPart::block, false, x_ND, context, {index_R, selected}), {});
  }
  void report(ModelOutput& output) override { report_layers(output, context, module_.layers, false, std::move(ran_)); }

 private:
  AlternateModule const& module_;
  std::vector<RoutedLayer> ran_;
};

std::unique_ptr<DepthPass> AlternateModule::begin(ForwardContext const& context) { return std::make_unique<AlternatePass>(context, *this); }

void check_alternate(Config const& config, std::vector<Contradiction>& found) {
  if (config.depth.offset >= config.model.layers)
    found.push_back({{"depth.offset", "model.layers"}, "no layer is left for every other token"});
}

// Once for the whole program.
void register_alternate() {
  static bool const registered = [] {
    add_depth_kind({"alternate", "some layers run every other token", check_alternate});
    add_depth_plan("alternate",
                   [](ModelConfig const& model, DepthConfig const& depth) { return std::make_unique<AlternatePlan>(model, depth); });
    add_depth_module("alternate", [](ModelConfig const& model, DepthConfig const& depth, int64_t) {
      return std::make_shared<AlternateModule>(model, depth);
    });
    return true;
  }();
  (void)registered;
}

LoadedConfig alternate_config(Scratch const& scratch, std::vector<std::string> const& overrides = {}) {
  std::string text;
  for (int i = 0; i < 400; ++i) text += "line " + std::to_string(i * i) + " of a text that nobody reads; ";
  scratch.write("text.txt", text);
  std::string const folder = scratch.path().string();
  scratch.write("alternate.yaml",
                "name: alternate\nrun_dir: " + folder + "/runs\ndata: {sources: [" + folder +
                    "/text.txt], split: tail, valid_fraction: 20%, cache_dir: " + folder +
                    "/cache}\ntokenizer: {kind: byte}\nmodel: {layers: 4, width: 16, heads: 2, kv_heads: 2, context: 16}\n"
                    "depth: {kind: alternate, stride: 2, offset: 1}\n"
                    "train: {budget: 12step, batch_tokens: 64, log_every: 1step, threads: 1}\n"
                    "eval: {every: 50%, tokens: 128, final_tokens: 128, sample_tokens: off}\n");
  return load_config(scratch / "alternate.yaml", overrides);
}

}  // namespace

TEST_CASE("own kind: its configuration is read, checked and listed", "[own_kind]") {
  register_alternate();
  Scratch const scratch;
  CHECK(alternate_config(scratch).config.depth.kind == "alternate");
  CHECK_THROWS_AS(alternate_config(scratch, {"depth.offset=9"}), std::exception);
  CHECK(config_json_schema().find("alternate") != std::string::npos);
}

TEST_CASE("own kind: the plan's FLOPs are those that run, and match uses them", "[own_kind]") {
  register_alternate();
  Scratch const scratch;
  Config const config = alternate_config(scratch).config;
  LanguageModel model(config.model, config.depth, 257, 1);
  ModelOutput const output = model.forward({at::zeros({2, 16}, at::kLong), {}, {}}, Routing::causal, {});
  std::vector<RoutedWork> const planned = planned_work(config.model, config.depth, 2, 16);
  REQUIRE(planned.size() == 2);
  for (int64_t i = 0; i < 2; ++i) {
    CHECK(output.routing_NC[i][routing_rows].item<int64_t>() == planned[static_cast<size_t>(i)].rows);
    CHECK(output.routing_NC[i][routing_pairs].item<int64_t>() == planned[static_cast<size_t>(i)].pairs);
  }
  ArmPlan const plan = plan_arm("alternate", config, 257, {}, 64);
  CHECK(plan.routed == std::vector<int64_t>{1, 3});
  int64_t const dense = planned_forward_flops(config.model, {}, 257, 1, 16);
  CHECK(planned_forward_flops(config.model, config.depth, 257, 1, 16) < dense);
  MatchConfig match;
  match.forward_flops_of = "dense";
  ModelConfig const grown = match_forward_flops(config.model, config.depth, 257, dense, match);
  auto const flops = static_cast<double>(planned_forward_flops(grown, config.depth, 257, 1, 16));
  CHECK(flops == Catch::Approx(static_cast<double>(dense)).epsilon(0.005));
}

TEST_CASE("own kind: trained, resumed, generated from and reported", "[own_kind]") {
  register_alternate();
  Scratch const scratch;
  REQUIRE(train(alternate_config(scratch, {"name=whole"}).config, "test") == 0);
  REQUIRE(train(alternate_config(scratch, {"name=parts", "train.budget=6step", "train.schedule=wsd", "train.decay=0step"}).config,
                "test") == 0);
  REQUIRE(train(alternate_config(scratch, {"name=parts", "train.schedule=wsd", "train.decay=0step"}).config, "test") == 0);
  REQUIRE(train(alternate_config(scratch, {"name=straight", "train.schedule=wsd", "train.decay=0step"}).config, "test") == 0);
  RunResult const parts = read_run(scratch.path() / "runs" / "parts", "parts"),
                  straight = read_run(scratch.path() / "runs" / "straight", "straight");
  CHECK(parts.metrics["steps"] == 12);
  CHECK(parts.metrics["loss_topk"] == Catch::Approx(straight.metrics["loss_topk"]).epsilon(0.02));  // its warm-up ended at another step

  Checkpoint const checkpoint = open_checkpoint(find_checkpoint(scratch.path() / "runs" / "whole"));
  auto const model = load_model(checkpoint);
  GenerateSettings settings;
  settings.max_tokens = 6;
  Generated const generated = generate(*model, {{10, 11, 12}, {13}}, settings);
  CHECK(generated.texts[0].size() == 6);
  CHECK(generated.blocks < 4 * generated.read_tokens);  // some were skipped

  Report const report = read_report({scratch.path() / "runs" / "whole", scratch.path() / "runs" / "parts"});
  CHECK(report_html(report).find("2 for every other token") != std::string::npos);
  CHECK(report_json(report).dump().find("\"alternate\"") != std::string::npos);
  CHECK_FALSE(report_table(report).empty());
}
