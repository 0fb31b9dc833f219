// Texts token by token from the cache against one causal forward pass over the whole text, for every kind of routing.

#include <ATen/ATen.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <limits>

#include "core/error.h"
#include "model/generate.h"
#include "reference.h"

using namespace isobath;
using namespace isobath::test;

namespace {

struct Kind {
  std::string label;
  DepthConfig depth;
};

std::vector<Kind> kinds() {
  std::vector<Kind> all;
  DepthConfig dense;
  all.push_back({"dense", dense});
  DepthConfig mod;
  mod.kind = "mod";
  mod.stride = 1;
  mod.capacity = {0.5, 0.25};
  mod.router_width = mod.predictor_width = 6;
  for (char const* router : {"linear", "mlp", "position", "token", "norm", "cosine"})
    for (char const* causal : {"bce", "predictor", "threshold", "none"})
      for (char const* target : {"block", "attention", "mlp"})
        for (char const* kv : {"drop", "keep"}) {
          if (target == std::string("mlp") && kv == std::string("keep")) continue;
          DepthConfig one = mod;
          one.router = router;
          one.causal = causal;
          one.target = target;
          one.skipped_kv = kv;
          one.skip_path = causal == std::string("bce") ? "linear" : "identity";
          one.gate = causal == std::string("bce") ? "sigmoid" : "raw";
          all.push_back({std::string(router) + " " + causal + " " + target + " " + kv, one});
        }
  DepthConfig nested;
  nested.kind = "nested";
  nested.exits = {1, 2};
  nested.mean_depth = 2.4;
  nested.router_width = 6;
  for (char const* choice : {"token", "sequence", "expert"})
    for (char const* training : {"weight", "gumbel", "hindsight"})
      for (char const* kv : {"drop", "keep"})
        for (bool norms : {false, true}) {
          if (choice == std::string("expert") && training != std::string("weight")) continue;
          DepthConfig one = nested;
          one.choice = choice;
          one.prefix = choice == std::string("sequence") ? 4 : 0;
          one.gate_training = training;
          one.skipped_kv = kv;
          one.exit_norms = norms;
          one.causal = "bce";
          all.push_back({std::string("nested ") + choice + " " + training + " " + kv, one});
        }
  DepthConfig scaled;
  scaled.kind = "scaled";
  scaled.mean_depth = 2;
  scaled.scale_init = 0.6;
  for (char const* scale : {"layer", "channel", "token"}) {
    scaled.scale = scale;
    all.push_back({std::string("scaled ") + scale, scaled});
  }
  scaled.skipped_kv = "keep";
  all.push_back({"scaled token keep", scaled});
  return all;
}

struct Case {
  std::shared_ptr<LanguageModel> model;
  std::vector<std::vector<int32_t>> texts;
};

Case make_case(DepthConfig const& depth, at::ScalarType type, int64_t head_dim) {
  Shape shape = tiny_shape();
  shape.model.layers = 4;
  shape.model.width = 4 * head_dim;
  shape.model.heads = 4;
  shape.model.kv_heads = 2;
  shape.model.context = 40;
  shape.depth = depth;
  Case c;
  c.model = make_model(shape, type);
  at::NoGradGuard const no_grad;
  for (auto const& stored : c.model->stored())
    if (stored.name.ends_with("scale.weight") || stored.name == "model.depth_gate.weight") at::Tensor(stored.tensor).mul_(4);
  at::Tensor const sample = random_tokens(6, 40, shape.vocab, 9);
  c.model->forward({sample, {}, {}}, Routing::topk, {});  // thresholds of scaled tokens
  c.model->harden();
  c.model->eval();
  c.model->forward({sample, {}, {}}, Routing::calibrate, {});
  for (int64_t length : {40, 1, 23}) {
    at::Tensor const tokens = random_tokens(1, length + 2, shape.vocab, static_cast<uint64_t>(length));
    std::vector<int32_t>& text = c.texts.emplace_back();
    for (int64_t t = 0; t < length; ++t) text.push_back(static_cast<int32_t>(tokens[0][t].item<int64_t>()));
  }
  return c;
}

at::Tensor one_text(std::vector<int32_t> const& text) { return at::tensor(std::vector<int64_t>(text.begin(), text.end())).unsqueeze(0); }

// Reads `prompts[i]` tokens of each text at once and the others one by one, all texts in one batch while they last. Calls
// check(text, place, logits_V, depth) for what is known behind each token read.
template <typename Check>
void decode_all(Decoder& decoder, Case const& c, std::vector<size_t> const& prompts, Check const& check) {
  std::vector<int64_t> numbers;
  std::vector<size_t> at;
  for (size_t i = 0; i < c.texts.size(); ++i) {
    Decoder::Read read;
    numbers.push_back(decoder.start({c.texts[i].begin(), c.texts[i].begin() + static_cast<std::ptrdiff_t>(prompts[i])}, read));
    at.push_back(prompts[i]);
    check(i, at[i] - 1, read.logits_BV[0], read.depth_BT[0][-1].item<int64_t>());
  }
  for (;;) {
    std::vector<size_t> active;
    std::vector<int64_t> texts;
    std::vector<int32_t> tokens;
    for (size_t i = 0; i < c.texts.size(); ++i) {
      if (at[i] >= c.texts[i].size()) continue;
      active.push_back(i);
      texts.push_back(numbers[i]);
      tokens.push_back(c.texts[i][at[i]++]);
    }
    if (active.empty()) break;
    Decoder::Read const read = decoder.next(texts, tokens);
    for (size_t j = 0; j < active.size(); ++j) {
      auto const row = static_cast<int64_t>(j);
      check(active[j], at[active[j]] - 1, read.logits_BV[row], read.depth_BT[row][0].template item<int64_t>());
    }
  }
  for (int64_t const number : numbers) decoder.finish(number);
}

}  // namespace

TEST_CASE("decoder: token by token as in one causal pass, in batches of texts of different length", "[decoder]") {
  at::NoGradGuard const no_grad;
  for (Kind const& kind : kinds()) {
    INFO(kind.label);
    Case const c = make_case(kind.depth, at::kDouble, 4);
    std::vector<at::Tensor> logits, depths;
    for (auto const& text : c.texts) {
      ModelOutput const output = c.model->forward({one_text(text), {}, {}}, Routing::causal, {});
      logits.push_back(c.model->logits(output.x_ND));
      depths.push_back(output.depth_BT[0]);
    }
    Decoder decoder(*c.model);
    double worst = 0;
    int64_t other_depths = 0, compared = 0;
    decode_all(decoder, c, {7, 1, 2}, [&](size_t text, size_t place, at::Tensor const& logits_V, int64_t depth) {
      auto const t = static_cast<int64_t>(place);
      other_depths += depths[text][t].item<int64_t>() != depth;
      worst = std::max(worst, largest_relative_difference(logits_V, logits[text][t]));
      ++compared;
    });
    CHECK(compared == 34 + 1 + 22);
    CHECK(other_depths == 0);
    CHECK(worst < 1e-10);
    CHECK(decoder.use().stored == 0);
    CHECK(decoder.use().reserved == 0);
  }
}

TEST_CASE("decoder: the CPU's kernel, several blocks of keys, one text or many", "[decoder]") {
  at::NoGradGuard const no_grad;
  for (char const* label : {"dense", "linear predictor block drop", "linear bce block keep", "nested token weight drop", "scaled token"}) {
    INFO(label);
    for (Kind const& kind : kinds()) {
      if (kind.label != label || kind.depth.exit_norms) continue;
      Case c = make_case(kind.depth, at::kFloat, 16);
      bool const alone = GENERATE(false, true);
      if (alone) c.texts.resize(1);
      Decoder decoder(*c.model);
      int64_t flips = 0, compared = 0;
      decode_all(decoder, c, {7, 1, 2}, [&](size_t text, size_t place, at::Tensor const& logits_V, int64_t depth) {
        std::vector<int32_t> const so_far(c.texts[text].begin(), c.texts[text].begin() + static_cast<std::ptrdiff_t>(place) + 1);
        ModelOutput const output = c.model->forward({one_text(so_far), {}, {}}, Routing::causal, {});
        flips += output.depth_BT[0][-1].item<int64_t>() != depth;
        CHECK(largest_relative_difference(logits_V, c.model->logits(output.x_ND)[-1]) < 1e-4);
        ++compared;
      });
      CHECK(flips == 0);  // no score of these lies within rounding of its threshold
      CHECK(compared == (alone ? 34 : 57));
    }
  }
}

TEST_CASE("decoder: a model that has no causal decision is refused", "[decoder]") {
  at::Tensor const sample = random_tokens(2, 16, 11);
  auto const refusal = [](LanguageModel& model) -> std::string {
    try {
      Decoder const decoder(model);
      return "";
    } catch (Error const& error) {
      CHECK(error.code() == ExitCode::config);
      return error.what();
    }
  };
  for (Kind const& kind : kinds()) {
    INFO(kind.label);
    DepthConfig const& depth = kind.depth;
    Shape shape = tiny_shape();
    shape.model.layers = 4;
    shape.depth = depth;
    auto const fresh = [&] {
      auto model = make_model(shape);
      model->harden();
      return model;
    };
    bool const by_threshold =
        depth.router != "random" && ((depth.kind == "mod" && (depth.causal == "none" || depth.causal == "threshold")) ||
                                     (depth.kind == "scaled" && depth.scale == "token"));
    auto const model = fresh();
    CHECK(refusal(*model).empty() != by_threshold);
    if (!by_threshold) continue;
    CHECK(refusal(*model).starts_with(depth.kind == "mod" ? "layer 1 cannot" : "layer 0 cannot"));
    CHECK(refusal(*model).find("eval CHECKPOINT --save NEW eval.calibration_tokens=16Ki") != std::string::npos);
    CHECK((refusal(*model).find("depth.causal") != std::string::npos) == (depth.kind == "mod"));
    if (depth.kind == "mod") {
      model->set_capacities({1, 1, 1});
      CHECK(refusal(*model).empty());
      model->set_capacities({1, 0.5, 1});
      CHECK(refusal(*model).starts_with("layer 2 cannot"));
    } else {
      CHECK(refusal(*make_model(shape)).empty());  // not hardened: no layer is skipped
    }
    auto const trained = fresh(), calibrated = fresh();
    trained->forward({sample, {}, {}}, Routing::topk, {});
    CHECK(refusal(*trained).empty());
    calibrated->eval();
    at::NoGradGuard const no_grad;
    calibrated->forward({sample, {}, {}}, Routing::topk, {});
    CHECK(!refusal(*calibrated).empty());
    calibrated->forward({sample, {}, {}}, Routing::calibrate, {});
    CHECK(refusal(*calibrated).empty());
  }
  Shape expert = tiny_shape();
  expert.depth = {};
  expert.depth.kind = "nested";
  expert.depth.choice = "expert";
  expert.depth.exits = {2};
  expert.depth.causal = "none";
  CHECK(refusal(*make_model(expert)).starts_with("layer 2 cannot"));
  expert.depth.causal = "bce";
  CHECK(refusal(*make_model(expert)).empty());
}

TEST_CASE("decoder: the cache holds what ran, in blocks, and no more than it may", "[decoder]") {
  at::NoGradGuard const no_grad;
  for (Kind const& kind : kinds()) {
    INFO(kind.label);
    Case const c = make_case(kind.depth, at::kDouble, 4);
    ModelOutput const output = c.model->forward({one_text(c.texts[0]), {}, {}}, Routing::causal, {});
    bool const all = kind.depth.skipped_kv == "keep" || kind.depth.target == "mlp";
    bool const gone = kind.depth.kind == "scaled" && kind.depth.scale != "token";
    int64_t const rows = all && !gone ? 40 * 4 : output.depth_BT.sum().item<int64_t>();
    Decoder decoder(*c.model);
    Decoder::Read read;
    int64_t const text = decoder.start(c.texts[0], read);
    int64_t const row_bytes = 2 * 2 * 4 * 8;
    CHECK(decoder.use().stored == rows * row_bytes);
    CHECK(decoder.use().reserved >= decoder.use().stored);
    CHECK(decoder.use().reserved <= decoder.use().stored + 4 * (KvCache::block_rows - 1) * row_bytes);
    CHECK_THROWS_AS(decoder.next({text}, {1}), Error);  // the context is full
    int64_t const before = decoder.use().reserved;
    decoder.finish(text);
    CHECK(decoder.use().reserved == 0);
    // Another text takes the blocks over.
    decoder.start(c.texts[0], read);
    CHECK(decoder.use().reserved == before);
  }
  Case const c = make_case({}, at::kDouble, 4);
  Decoder decoder(*c.model, 0, 4 * 2 * 16 * 2 * 2 * 4 * 8);  // two blocks a layer: 32 tokens
  Decoder::Read read;
  CHECK_THROWS_AS(decoder.start(c.texts[0], read), Error);
  CHECK(decoder.use().reserved == 0);
  std::vector<int32_t> const prompt(c.texts[0].begin(), c.texts[0].begin() + 31);
  int64_t const text = decoder.start(prompt, read);
  decoder.next({text}, {3});
  CHECK_THROWS_AS(decoder.next({text}, {3}), Error);
  CHECK_THROWS_AS(decoder.start({}, read), Error);
  CHECK_THROWS_AS(decoder.start(std::vector<int32_t>(41, 1), read), Error);
}

TEST_CASE("generate: the same text whatever the batch, to its own end", "[decoder]") {
  DepthConfig mod;
  mod.kind = "mod";
  mod.stride = 1;
  mod.capacity = {0.5};
  Case const c = make_case(mod, at::kDouble, 4);
  std::vector<std::vector<int32_t>> const prompts{{1, 2, 3}, {4}, {5, 6, 7, 8, 9}, {1, 2, 3}};
  GenerateSettings settings;
  settings.max_tokens = 12;
  settings.sampler.seed = 5;
  settings.batch = 1;
  Generated const alone = generate(*c.model, prompts, settings);
  settings.batch = 3;
  std::vector<std::vector<int32_t>> seen(4);
  std::vector<int64_t> blocks(4);
  Generated const together = generate(*c.model, prompts, settings, [&](NewToken const& token) {
    seen[token.text].push_back(token.drawn.id);
    for (int64_t const depth : token.depths) blocks[token.text] += depth;
    return true;
  });
  CHECK(together.texts == alone.texts);
  CHECK(together.texts == seen);
  CHECK(together.texts[0] == together.texts[3]);
  CHECK(together.texts[0].size() == 12);
  CHECK(together.blocks == blocks[0] + blocks[1] + blocks[2] + blocks[3]);
  CHECK(together.read_tokens == 12 + 4 * 11);
  settings.sampler.seed = 6;
  CHECK(generate(*c.model, prompts, settings).texts != alone.texts);

  // What is drawn is what whole passes give.
  at::NoGradGuard const no_grad;
  std::vector<int32_t> known = prompts[2];
  for (size_t i = 0; i < 12; ++i) {
    at::Tensor const x = c.model->forward({one_text(known), {}, {}}, Routing::causal, {}).x_ND;
    at::Tensor const logits = c.model->logits(x)[-1].to(at::kFloat).contiguous();
    settings.sampler.seed = 5;
    CHECK(draw_token({logits.const_data_ptr<float>(), 11}, settings.sampler, i).id == alone.texts[2][i]);
    known.push_back(alone.texts[2][i]);
  }

  // A stop token, a callback that has enough, a full context.
  settings.stop_token = alone.texts[0][4];
  Generated const stopped = generate(*c.model, {prompts[0]}, settings);
  CHECK(stopped.texts[0].size() <= 4);
  settings.stop_token = -1;
  CHECK(generate(*c.model, {prompts[0]}, settings, [](NewToken const&) { return false; }).texts[0].size() == 1);
  settings.max_tokens = 100;
  CHECK(generate(*c.model, {prompts[0]}, settings).texts[0].size() == 40 - 3 + 1);
  CHECK_THROWS_AS(generate(*c.model, {std::vector<int32_t>(40, 1)}, settings), Error);
  settings.window = true;
  CHECK(generate(*c.model, {prompts[0], std::vector<int32_t>(50, 1)}, settings).texts[1].size() == 100);
}
