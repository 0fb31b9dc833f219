// Texts token by token from the cache against one causal forward pass over the whole text, for every kind of routing.

#include <ATen/ATen.h>

#include <catch2/catch_test_macros.hpp>
#include <cmath>
#include <limits>
#include <set>

#include "core/error.h"
#include "model/decode/decoding_check.h"
#include "model/decode/generate.h"
#include "tests/torch/reference.h"

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
  for (char const* target : {"block", "attention", "mlp"}) {
    DepthConfig one = mod;
    one.router = "random";
    one.causal = "none";
    one.target = target;
    all.push_back({std::string("random none ") + target + " drop", one});
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
  nested.router = "random";
  for (char const* choice : {"token", "sequence"}) {
    nested.choice = choice;
    nested.prefix = choice == std::string("sequence") ? 4 : 0;
    all.push_back({std::string("nested ") + choice + " random", nested});
  }
  nested.choice = "expert";
  nested.causal = "none";
  all.push_back({"nested expert random", nested});
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

std::vector<int32_t> some_text(int64_t length) {
  at::Tensor const tokens = random_tokens(1, length + 2, 11, static_cast<uint64_t>(length));
  std::vector<int32_t> text;
  for (int64_t t = 0; t < length; ++t) text.push_back(static_cast<int32_t>(tokens[0][t].item<int64_t>()));
  return text;
}

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
  c.model->harden();
  c.model->eval();
  c.model->calibrate({{sample, {}, {}}}, {});
  for (int64_t length : {40, 1, 23}) c.texts.push_back(some_text(length));
  return c;
}

at::Tensor one_text(std::vector<int32_t> const& text) { return at::tensor(std::vector<int64_t>(text.begin(), text.end())).unsqueeze(0); }

}  // namespace

TEST_CASE("decoder: token by token as in one causal pass, in batches of texts of different length", "[decoder]") {
  at::NoGradGuard const no_grad;
  for (Kind const& kind : kinds()) {
    INFO(kind.label);
    Case const c = make_case(kind.depth, at::kDouble, 4);
    DecodingCheck const check = check_decoding(*c.model, c.texts, {7, 1, 2});
    ModelOutput const whole = c.model->forward({one_text(c.texts[0]), {}, {}}, Routing::causal, {0, 0, 0, NoiseStream::decoding});
    CHECK(check.tokens == 34 + 1 + 22);
    CHECK(check.decisions == (40 + 1 + 23) * std::ssize(whole.routed_layers));
    CHECK(check.flips == 0);
    CHECK(check.largest_flip_margin == 0);
    CHECK(check.largest_difference < 1e-10);

    // Without a flip what is replayed is what would have been decided.
    at::Tensor const logits_TV = c.model->logits(whole.x_ND);
    Decoder decoder(*c.model);
    Decoder::Read read;
    int64_t const text = decoder.start({c.texts[0].begin(), c.texts[0].begin() + 7}, read);
    double worst = 0;
    int64_t other_depths = 0;
    for (int64_t t = 6;;) {
      worst = std::max(worst, largest_relative_difference(read.logits_BV[0], logits_TV[t]));
      other_depths += read.depth_BT[0][-1].item<int64_t>() != whole.depth_BT[0][t].item<int64_t>();
      if (++t == 40) break;
      read = decoder.next({text}, {c.texts[0][static_cast<size_t>(t)]});
    }
    CHECK(worst < 1e-10);
    CHECK(other_depths == 0);
  }
}

TEST_CASE("decoder: the CPU's kernel, several blocks of keys, one text or many", "[decoder]") {
  for (char const* label : {"dense", "linear predictor block drop", "linear bce block keep", "random none block drop",
                            "nested token weight drop", "nested sequence weight drop", "nested expert weight keep", "scaled token"}) {
    INFO(label);
    for (Kind const& kind : kinds()) {
      if (kind.label != label || kind.depth.exit_norms) continue;
      Case c = make_case(kind.depth, at::kFloat, 16);
      std::vector<int64_t> prompts{1};
      DecodingCheck const alone = check_decoding(*c.model, {c.texts[0]}, prompts);
      CHECK(alone.tokens == 40);
      c.texts.resize(1);
      int64_t tokens = 40;
      for (int64_t i = 1; i < 16; ++i) {
        int64_t const length = 1 + 11 * i % 40;
        c.texts.push_back(some_text(length));
        prompts.push_back(1 + 7 * i % length);
        tokens += length - prompts.back() + 1;
      }
      DecodingCheck const many = check_decoding(*c.model, c.texts, prompts);
      CHECK(many.tokens == tokens);
      for (DecodingCheck const& check : {alone, many}) {
        CHECK(check.largest_difference < 1e-4);
        CHECK(check.largest_flip_margin < 1e-4);  // rounding may turn a decision that close
        CHECK(check.flips <= check.decisions / 1000);
      }
    }
  }
}

TEST_CASE("decoder: random routers draw by seed and place, whatever the batch and the reads", "[decoder]") {
  at::NoGradGuard const no_grad;
  for (Kind const& kind : kinds()) {
    if (kind.depth.router != "random") continue;
    INFO(kind.label);
    Case const c = make_case(kind.depth, at::kDouble, 4);
    auto const at_once = [&](uint64_t seed) {
      Decoder decoder(*c.model, seed);
      Decoder::Read read;
      decoder.start(c.texts[0], read);
      return read.depth_BT[0];
    };
    Decoder decoder(*c.model, 5);
    Decoder::Read read;
    std::vector<int64_t> const texts{decoder.start({c.texts[2].begin(), c.texts[2].begin() + 9}, read),
                                     decoder.start({c.texts[0].begin(), c.texts[0].begin() + 1}, read)};
    std::vector<at::Tensor> depths{read.depth_BT[0]};
    for (size_t t = 1; t < 24; ++t) depths.push_back(decoder.next(texts, {3, c.texts[0][t]}).depth_BT[1]);
    CHECK(at::cat(depths).equal(at_once(5).narrow(0, 0, 24)));
    int64_t others = 0;
    for (uint64_t seed = 6; seed < 16; ++seed) others += !at_once(seed).equal(at_once(5));
    CHECK(others > 0);
  }
}

TEST_CASE("decoder: a decision that rounding turns is a flip with its margin, and hides nothing behind it", "[decoder]") {
  at::NoGradGuard const no_grad;
  DepthConfig mod;
  mod.kind = "mod";
  mod.stride = 1;
  mod.capacity = {0.5};
  mod.causal = "bce";
  Case const c = make_case(mod, at::kFloat, 16);
  at::Tensor const cuts_N = c.model->cuts();
  int64_t const last = cuts_N.numel() - 1;
  int64_t flips = 0;
  for (size_t t = 1; t < 40; ++t) {
    // The last layer's cut is where the decoder's logit lies, so that the token is not let through; the whole pass's lies beside it.
    c.model->set_cuts(cuts_N);
    Decoder decoder(*c.model);
    Decoder::Read read;
    int64_t const text = decoder.start({c.texts[0].begin(), c.texts[0].begin() + 1}, read);
    for (size_t next = 1; next <= t; ++next) read = decoder.next({text}, {c.texts[0][next]});
    at::Tensor const moved_N = cuts_N.clone();
    moved_N[last].copy_(read.routed_layers.back().score_BT[0][0]);
    c.model->set_cuts(moved_N);
    DecodingCheck const check = check_decoding(*c.model, {c.texts[0]}, {1});
    CHECK(check.flips <= 1);
    CHECK((check.largest_flip_margin > 0) == (check.flips > 0));
    CHECK(check.largest_flip_margin < 1e-5);
    CHECK((check.largest_difference > 0 && check.largest_difference < 1e-4));
    flips += check.flips;
  }
  CHECK(flips > 0);
}

TEST_CASE("decoder: a check that finds a difference says so", "[decoder]") {
  DepthConfig mod;
  mod.kind = "mod";
  mod.stride = 1;
  mod.capacity = {0.5};
  mod.causal = "bce";
  Case const c = make_case(mod, at::kDouble, 4);
  CHECK(check_decoding(*c.model, {}, {}).tokens == 0);
  CHECK_THROWS_AS(check_decoding(*c.model, c.texts, {7, 2, 2}), Error);
  CHECK_THROWS_AS(check_decoding(*c.model, c.texts, {7, 0, 2}), Error);
  // Weights that are not finite make no decision and no logit that could agree.
  at::NoGradGuard const no_grad;
  for (auto const& stored : c.model->stored())
    if (stored.name == "model.layers.3.mlp.down_proj.weight") at::Tensor(stored.tensor).fill_(std::numeric_limits<double>::quiet_NaN());
  CHECK(std::isinf(check_decoding(*c.model, c.texts, {7, 1, 2}).largest_difference));
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
        depth.router != "random" && ((depth.kind == "mod" && (depth.causal.name() == "none" || depth.causal.name() == "threshold")) ||
                                     (depth.kind == "scaled" && depth.scale.name() == "token"));
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
    finish_step(*trained, trained->forward({sample, {}, {}}, Routing::topk, {}));
    CHECK(refusal(*trained).empty());
    calibrated->eval();
    at::NoGradGuard const no_grad;
    calibrated->forward({sample, {}, {}}, Routing::topk, {});
    CHECK(!refusal(*calibrated).empty());
    calibrated->calibrate({{sample, {}, {}}}, {});
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
    ModelOutput const output = c.model->forward({one_text(c.texts[0]), {}, {}}, Routing::causal, {0, 0, 0, NoiseStream::decoding});
    bool const all = kind.depth.skipped_kv.name() == "keep" || kind.depth.target.name() == "mlp";
    bool const gone = kind.depth.kind == "scaled" && kind.depth.scale.name() != "token";
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
  // Text after text, the cache grows no further.
  {
    Case const c = make_case({}, at::kDouble, 4);
    Decoder decoder(*c.model);
    int64_t most = 0;
    for (int round = 0; round < 12; ++round) {
      Decoder::Read read;
      std::vector<int64_t> texts;
      for (int i = 0; i < 5; ++i) texts.push_back(decoder.start(c.texts[i % 3], read));
      if (round == 0) most = decoder.use().allocated;
      for (int64_t const text : texts) decoder.finish(text);
    }
    CHECK(most >= 5 * 4 * 16 * 2 * 2 * 4 * 8);
    CHECK(decoder.use().allocated == most);
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
  CHECK(together.texts[0] != together.texts[3]);  // the same prompt twice has two texts
  CHECK(together.texts[0].size() == 12);
  CHECK(together.blocks == blocks[0] + blocks[1] + blocks[2] + blocks[3]);
  CHECK(together.read_tokens == 12 + 4 * 11);
  settings.sampler.seed = 6;
  CHECK(generate(*c.model, prompts, settings).texts != alone.texts);

  // What is drawn is what whole passes give.
  at::NoGradGuard const no_grad;
  std::vector<int32_t> known = prompts[2];
  for (size_t i = 0; i < 12; ++i) {
    at::Tensor const x = c.model->forward({one_text(known), {}, {}}, Routing::causal, {0, 0, 0, NoiseStream::decoding}).x_ND;
    at::Tensor const logits = c.model->logits(x)[-1].to(at::kFloat).contiguous();
    settings.sampler.seed = 5;
    CHECK(draw_token({logits.const_data_ptr<float>(), 11}, settings.sampler, i, {2, 0}).id == alone.texts[2][i]);
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

TEST_CASE("generate: samples of a prompt differ, in any batch, alone or among others", "[decoder]") {
  DepthConfig mod;
  mod.kind = "mod";
  mod.stride = 1;
  mod.capacity = {0.5};
  Case const c = make_case(mod, at::kDouble, 4);
  std::vector<std::vector<int32_t>> const prompts{{1, 2, 3}, {4}, {1, 2, 3}};
  GenerateSettings settings;
  settings.max_tokens = 12;
  settings.samples = 3;
  settings.batch = 4;
  std::vector<size_t> ended;
  auto const texts = generate(*c.model, prompts, settings, {}, [&](size_t text) { ended.push_back(text); }).texts;
  REQUIRE(texts.size() == 9);
  CHECK(std::set(texts.begin(), texts.end()).size() == 9);
  CHECK(std::set(ended.begin(), ended.end()).size() == 9);
  settings.batch = 1;
  CHECK(generate(*c.model, prompts, settings).texts == texts);
  settings.samples = 1;
  auto const first = generate(*c.model, prompts, settings).texts;
  for (size_t prompt = 0; prompt < 3; ++prompt) {
    CHECK(first[prompt] == texts[3 * prompt]);
    for (size_t sample = 0; sample < 3; ++sample) {
      settings.first = {prompt, sample};
      CHECK(generate(*c.model, {prompts[prompt]}, settings).texts[0] == texts[3 * prompt + sample]);
    }
  }
  settings.samples = 2;
  settings.first = {1, 1};
  CHECK(generate(*c.model, {prompts[1]}, settings).texts == std::vector{texts[4], texts[5]});
}

TEST_CASE("decoder: a model that has generated first can be trained", "[decoder]") {
  Shape shape = tiny_shape();
  shape.depth = {};
  auto const model = make_model(shape, at::kFloat);
  {
    Decoder decoder(*model);
    Decoder::Read read;
    decoder.start({1, 2, 3}, read);
  }
  CHECK(model->is_training());
  ModelOutput output = model->forward({random_tokens(2, 8, shape.vocab, 1), {}, {}}, Routing::topk, {});
  model->training_loss_sum(output, random_tokens(2, 8, shape.vocab, 2).view({-1})).backward();
  for (auto const& parameter : model->trained()) CHECK(parameter.tensor.grad().defined());
}
