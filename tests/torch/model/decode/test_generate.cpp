// Generated texts: they do not depend on the batch, and they end where they should.

#include <catch2/catch_test_macros.hpp>
#include <set>

#include "model/decode/generate.h"
#include "tests/torch/model/decode/cases.h"

using namespace isobath;
using namespace isobath::test;

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
