// A teacher whose words are kept on disk (train.distill.top): runs learn the same from what was kept and from what it says now.

#include "trainer/train/teaching.h"

#include <ATen/ATen.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <set>

#include "core/error.h"
#include "data/shards/shards.h"
#include "data/tokenizer/tokenizer.h"
#include "tests/fast/scratch.h"
#include "tests/torch/trainer/train/small_training.h"

using namespace isobath;
using namespace isobath::test;
using Catch::Matchers::ContainsSubstring;

namespace {

constexpr int64_t taught_context = 16, taught_top = 5, taught_vocab = 257;

// A text with a teacher of it, whose cache is a file of the scratch folder.
struct TaughtText {
  Scratch scratch;
  std::unique_ptr<Tokenizer> tokenizer = byte_tokenizer();
  std::unique_ptr<TokenStream> stream;
  std::shared_ptr<LanguageModel> teacher;

  TaughtText() {
    std::string text;
    for (int i = 0; i < 12; ++i) text += "one two three four " + std::to_string(i * i) + "; ";
    write_shard(scratch / "x.shard", {tokenizer->encode(text)}, tokenizer->document_end(), std::ssize(text), tokenizer->fingerprint());
    stream = std::make_unique<TokenStream>(std::vector<fs::path>{scratch / "x.shard"});
    teacher = make(11, 24);
    teacher->eval();
  }
  static std::shared_ptr<LanguageModel> make(uint64_t seed, int64_t width) {
    ModelConfig model;
    model.layers = 2;
    model.width = width;
    model.heads = model.kv_heads = 2;
    model.context = taught_context;
    return std::make_shared<LanguageModel>(model, DepthConfig{}, taught_vocab, seed);
  }
  std::shared_ptr<TeacherCache> cache(std::string const& name) const {
    return std::make_shared<TeacherCache>(scratch / name, taught_context, taught_top);
  }
  Loader windows(uint64_t seed) const { return {*stream, taught_context, seed, /*ordered=*/false, /*isolate_documents=*/false}; }
};

// A student that learns from the teacher.
struct Student {
  std::shared_ptr<LanguageModel> model = TaughtText::make(1, 16);
  Optimizers optimizers = make_optimizers(*model, TrainConfig{});
  MetricWindow window{0, at::kCPU};
  StepSettings settings;

  Student(TaughtText const& text, std::shared_ptr<TeacherCache> cache, int64_t micro_sequences = 2) {
    settings.micro_sequences = micro_sequences;
    settings.teaching = {text.teacher, 0.5, 2, taught_top, std::move(cache)};
    model->train();
  }
  void steps(Loader const& windows, int64_t first, int64_t last) {
    DevicePrefetcher to_device(at::kCPU);
    for (int64_t step = first; step < last; ++step) {
      Batch const batch = windows.at(step * 4, 4);
      train_step(*model, optimizers, to_device.load(batch), settings, {step, 0, 0, 1e-2}, window);
    }
  }
  std::string use() const { return settings.teaching.cache->describe_use(one_process()); }
};

bool same_weights(Student const& a, Student const& b) {
  auto const left = stored_copies(*a.model), right = stored_copies(*b.model);
  return std::all_of(left.begin(), left.end(), [&](auto const& entry) { return at::equal(entry.second, right.at(entry.first)); });
}

}  // namespace

TEST_CASE("teaching: a run learns the same without a cache, into an empty one and from a full one", "[teaching]") {
  TaughtText const text;
  Loader const windows = text.windows(1);
  int64_t const n = windows.count(), steps = n / 4 + 2;  // into the second epoch
  REQUIRE(n > 8);
  Student alone(text, nullptr), cold(text, text.cache("kept")), warm(text, text.cache("kept")), untaught(text, nullptr);
  untaught.settings.teaching = {};
  for (Student* student : {&alone, &cold, &warm, &untaught}) student->steps(windows, 0, steps);
  CHECK(same_weights(alone, cold));
  CHECK(same_weights(alone, warm));
  CHECK_FALSE(same_weights(alone, untaught));
  int64_t const all = steps * 4;
  CHECK_THAT(cold.use(),
             ContainsSubstring("ran on " + std::to_string(n) + " windows") && ContainsSubstring(std::to_string(all - n) + " was"));
  CHECK_THAT(warm.use(), ContainsSubstring("ran on 0 windows") && ContainsSubstring(std::to_string(all) + " was read"));
  CHECK(at::equal(alone.window.sums_S, warm.window.sums_S));
}

TEST_CASE("teaching: every seed, micro-batch and part of a run keeps the same of a window", "[teaching]") {
  TaughtText const text;
  Loader const one = text.windows(1), other = text.windows(2);
  int64_t const epoch = (one.count() + 3) / 4;
  Student first(text, text.cache("first")), second(text, text.cache("second"), 4);
  first.steps(one, 0, epoch);
  second.steps(other, 0, epoch);
  CHECK(checksum_file(text.scratch / "first") == checksum_file(text.scratch / "second"));

  // Two at once fill a file between them.
  Student left(text, text.cache("shared")), right(text, text.cache("shared"));
  for (int64_t step = 0; step < epoch; ++step) {
    left.steps(one, step, step + 1);
    right.steps(one, epoch - 1 - step, epoch - step);
  }
  CHECK(checksum_file(text.scratch / "shared") == checksum_file(text.scratch / "first"));
  Student after(text, text.cache("shared"));
  after.steps(one, 0, epoch);
  CHECK(same_weights(first, after));
  CHECK_FALSE(same_weights(first, second));
}

TEST_CASE("teaching: what is damaged or cut short is said again", "[teaching]") {
  TaughtText const text;
  Loader const windows = text.windows(1);
  int64_t const epoch = (windows.count() + 3) / 4;
  fs::path const file = text.scratch / "kept";
  Student first(text, text.cache("kept"));
  first.steps(windows, 0, epoch);
  std::string const whole = read_file(file);
  std::string damaged = whole.substr(0, whole.size() - 3);
  damaged[100] = static_cast<char>(damaged[100] ^ 4);
  write_file_atomic(file, damaged);
  Student second(text, text.cache("kept"));
  second.steps(windows, 0, epoch);
  CHECK(same_weights(first, second));
  CHECK_THAT(second.use(), ContainsSubstring("ran on 2 windows"));
  CHECK(checksum_file(file) == checksum(std::as_bytes(std::span(whole))));
}

TEST_CASE("teaching: FLOPs that the teacher did not spend are a pass for each window that was read", "[teaching]") {
  TaughtText const text;
  Loader const windows = text.windows(1);
  Student student(text, text.cache("kept"));
  Ledger const ledger = make_ledger(student.model->model_config(), DepthConfig{}, taught_vocab, {{}, text.teacher->model_config()});
  auto const spared = [&] { return student.settings.teaching.cache->flops_spared(ledger, causal_pairs(taught_context), one_process()); };
  student.steps(windows, 0, 2);
  CHECK(spared() == 0);
  student.steps(windows, 0, 2);
  CHECK(spared() == 8 * planned_forward_flops(text.teacher->model_config(), DepthConfig{}, taught_vocab, 1, taught_context));
  CHECK(spared() == 0);
}

TEST_CASE("teaching: more tokens than the vocabulary has are refused", "[teaching]") {
  Config config;
  config.train.distill.teacher = config.model;
  config.train.distill.top = 258;
  CHECK_THROWS_WITH(make_teaching(config, 257), ContainsSubstring("train.distill.top = 258") && ContainsSubstring("vocabulary of 257"));
}
