// Decoding token by token with the cache, compared with one causal forward pass over the whole text, for every kind of routing.

#include <ATen/ATen.h>

#include <catch2/catch_test_macros.hpp>
#include <cmath>
#include <limits>
#include <set>

#include "model/decode/decoder.h"
#include "model/decode/decoding_check.h"
#include "tests/torch/model/decode/cases.h"

using namespace isobath;
using namespace isobath::test;

namespace {

struct Kind {
  std::string label;
  DepthConfig depth;
};

// Each router with each causal decision and at each place, each decision at each place.
void add_routers(std::vector<Kind>& all, DepthConfig const& mod) {
  constexpr char const *causals[] = {"predictor", "bce", "threshold", "none"},
                       *places[][2] = {{"block", "drop"}, {"block", "keep"}, {"attention", "drop"}, {"attention", "keep"}, {"mlp", "drop"}};
  size_t row = 0;
  for (char const* router : {"linear", "mlp", "position", "token", "norm", "cosine"}) {
    for (size_t place = 0; place < std::size(places); ++place) {
      DepthConfig one = mod;
      std::string const causal = causals[(row + place) % std::size(causals)], target = places[place][0], kv = places[place][1];
      one.router = router;
      one.causal = causal;
      one.target = target;
      one.skipped_kv = kv;
      one.skip_path = causal == "bce" ? "linear" : "identity";
      one.gate = causal == "bce" ? "sigmoid" : "raw";
      all.push_back({std::string(router) + " " + causal + " " + target + " " + kv, one});
    }
    ++row;
  }
}

// Norms of their own at the exits with each choice, training and kind of keys, in turn.
void add_nested(std::vector<Kind>& all, DepthConfig const& nested) {
  size_t turn = 0;
  for (char const* choice : {"token", "sequence", "expert"})
    for (char const* training : {"weight", "gumbel", "hindsight"}) {
      if (choice == std::string("expert") && training != std::string("weight")) continue;
      for (char const* kv : {"drop", "keep"}) {
        DepthConfig one = nested;
        one.choice = choice;
        one.prefix = choice == std::string("sequence") ? 4 : 0;
        one.gate_training = training;
        one.skipped_kv = kv;
        one.exit_norms = (turn % 3 + (kv == std::string("keep"))) % 2 == 1;
        one.causal = "bce";
        all.push_back({std::string("nested ") + choice + " " + training + " " + kv, one});
      }
      ++turn;
    }
}

std::vector<Kind> kinds() {
  std::vector<Kind> all;
  DepthConfig dense;
  all.push_back({"dense", dense});
  DepthConfig mod;
  mod.kind = "mod";
  mod.stride = 1;
  mod.capacity = {0.5, 0.25};
  mod.router_width = mod.predictor_width = 6;
  add_routers(all, mod);
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
  add_nested(all, nested);
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

    // The rest of the text at once, in one batch with a copy of its beginning that goes on with fewer tokens.
    int64_t const begin = decoder.start({c.texts[0].begin(), c.texts[0].begin() + 7}, read), copied = decoder.copy(begin);
    std::vector<int64_t> texts(33, begin);
    std::vector<int32_t> tokens(c.texts[0].begin() + 7, c.texts[0].end());
    texts.insert(texts.end(), 5, copied);
    tokens.insert(tokens.end(), c.texts[0].begin() + 7, c.texts[0].begin() + 12);
    at::Tensor const logits_RV = decoder.next(texts, tokens).logits_BV;
    CHECK(largest_relative_difference(logits_RV.narrow(0, 0, 33), logits_TV.narrow(0, 7, 33)) < 1e-10);
    CHECK(largest_relative_difference(logits_RV.narrow(0, 33, 5), logits_TV.narrow(0, 7, 5)) < 1e-10);
    CHECK(decoder.length(copied) == 12);
    CHECK_THROWS_AS(decoder.next({copied, begin}, {0, 0}), Error);  // the whole text fills the context
  }
}

TEST_CASE("decoder: the CPU's kernel, several blocks of keys, one text or many", "[decoder]") {
  for (char const* label : {"dense", "linear predictor block drop", "linear bce block keep", "random none block drop",
                            "nested token weight drop", "nested sequence weight drop", "nested expert weight keep", "scaled token"}) {
    INFO(label);
    bool found = false;
    for (Kind const& kind : kinds()) {
      if (kind.label != label) continue;
      found = true;
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
    CHECK(found);
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
  at::Tensor const cuts_N = c.model->offsets();
  int64_t const last = cuts_N.numel() - 1;
  int64_t flips = 0;
  for (size_t t = 1; t < 40; ++t) {
    // The last layer's cut is where the decoder's logit lies, so that the token is not let through; the whole pass's lies beside it.
    c.model->set_offsets(cuts_N);
    Decoder decoder(*c.model);
    Decoder::Read read;
    int64_t const text = decoder.start({c.texts[0].begin(), c.texts[0].begin() + 1}, read);
    for (size_t next = 1; next <= t; ++next) read = decoder.next({text}, {c.texts[0][next]});
    at::Tensor const moved_N = cuts_N.clone();
    moved_N[last].copy_(read.routed_layers.back().score_BT[0][0]);
    c.model->set_offsets(moved_N);
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
