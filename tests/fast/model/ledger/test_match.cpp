#include <catch2/catch_test_macros.hpp>

#include <cmath>
#include <string>

#include "core/error.h"
#include "model/ledger/ledger.h"
#include "model/ledger/match.h"

using namespace isobath;

namespace {

int64_t forward_of(ModelConfig const& model, DepthConfig const& depth, int64_t vocab = 512) {
  return planned_forward_flops(model, depth, vocab, 1, model.context);
}

double off_by(ModelConfig const& model, DepthConfig const& depth, int64_t target) {
  return std::abs(static_cast<double>(forward_of(model, depth)) / static_cast<double>(target) - 1);
}

DepthConfig routed(double capacity = 0.125) {
  DepthConfig depth;
  depth.kind = "mod";
  depth.capacity = {capacity};
  return depth;
}

}  // namespace

TEST_CASE("match: every routed arm comes within half a per cent of the dense one") {
  for (int64_t layers : {3, 4, 6, 8, 12})
    for (int64_t width : {64, 128, 256})
      for (double capacity : {0.05, 0.125, 0.5}) {
        ModelConfig model;
        model.layers = layers;
        model.width = width;
        int64_t const target = forward_of(model, DepthConfig{});
        ModelConfig const grown = match_forward_flops(model, routed(capacity), 512, target, {"dense", MatchAdjust::layers});
        CAPTURE(layers, width, capacity, grown.layers, grown.mlp_width);
        CHECK(off_by(grown, routed(capacity), target) <= 0.005);
        CHECK(grown.layers >= layers);
        CHECK(grown.width == width);
      }
}

TEST_CASE("match: picks the layer count that changes the MLP least") {
  ModelConfig model;
  int64_t const target = forward_of(model, DepthConfig{});
  ModelConfig const chosen = match_forward_flops(model, routed(), 512, target, {"dense", MatchAdjust::layers});
  auto const asked = static_cast<double>(resolved_mlp_width(model));
  double const change = std::abs(std::log(static_cast<double>(resolved_mlp_width(chosen)) / asked));
  for (int64_t layers = 2; layers < 20; ++layers) {
    ModelConfig other = model;
    other.layers = layers;
    try {
      ModelConfig const fitted = match_forward_flops(other, routed(), 512, target, {"dense", MatchAdjust::mlp_width});
      CAPTURE(layers);
      CHECK(change <= std::abs(std::log(static_cast<double>(resolved_mlp_width(fitted)) / asked)));
    } catch (Error const&) {
      continue;  // this many layers cannot be made to fit
    }
  }
}

TEST_CASE("match: what already fits stays as it is") {
  ModelConfig model;
  model.layers = 5;
  ModelConfig const same = match_forward_flops(model, DepthConfig{}, 512, forward_of(model, DepthConfig{}), {"dense", MatchAdjust::layers});
  CHECK(same.layers == 5);
  CHECK(same.mlp_width == model.mlp_width);
  ModelConfig fewer = model;
  fewer.layers = 2;
  CHECK(match_forward_flops(fewer, DepthConfig{}, 512, forward_of(model, DepthConfig{}), {"dense", MatchAdjust::layers}).layers == 5);
}

TEST_CASE("match: mlp_width alone leaves the layers") {
  ModelConfig model;
  model.layers = 6;
  int64_t const target = forward_of(model, DepthConfig{});
  ModelConfig const fitted = match_forward_flops(model, routed(), 512, target, {"dense", MatchAdjust::mlp_width});
  CHECK(fitted.layers == 6);
  CHECK(fitted.mlp_width > resolved_mlp_width(model));
  CHECK(off_by(fitted, routed(), target) <= 0.005);
}

TEST_CASE("match: the impossible is refused, naming the arm and the nearest") {
  ModelConfig model;
  try {
    match_forward_flops(model, routed(), 512, 1000, {"tiny", MatchAdjust::layers});
    FAIL("accepted");
  } catch (Error const& error) {
    CHECK(error.code() == ExitCode::config);
    CHECK(std::string(error.what()).find("'tiny'") != std::string::npos);
    CHECK(std::string(error.what()).find("nearest is") != std::string::npos);
  }
}

TEST_CASE("match: recursion keeps its stacks equal, and other layers would not") {
  ModelConfig model;
  model.layers = 5;
  DepthConfig depth;
  depth.kind = "nested";
  depth.exits = {1, 3};
  depth.recursion = true;
  int64_t const target = forward_of(model, DepthConfig{});
  try {
    match_forward_flops(model, depth, 512, target, {"dense", MatchAdjust::layers});
    FAIL("no error");
  } catch (Error const& error) {
    CHECK(std::string(error.what()).find("adjust: mlp_width") != std::string::npos);
  }
  ModelConfig const wider = match_forward_flops(model, depth, 512, target, {"dense", MatchAdjust::mlp_width});
  CHECK(wider.layers == 5);
  CHECK(off_by(wider, depth, target) <= 0.005);
}

TEST_CASE("match: a scaled arm keeps more layers than its mean depth") {
  DepthConfig depth;
  depth.kind = "scaled";
  depth.mean_depth = 4;
  ModelConfig dense, scaled;
  dense.layers = 4;
  scaled.layers = 5;
  int64_t const target = forward_of(dense, DepthConfig{});
  ModelConfig const matched = match_forward_flops(scaled, depth, 512, target, {"dense", MatchAdjust::layers});
  CHECK(matched.layers == 5);
  CHECK(std::abs(static_cast<double>(forward_of(matched, depth)) / static_cast<double>(target) - 1) <= 0.005);
}
