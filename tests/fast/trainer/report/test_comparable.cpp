// Verdicts stand only between runs that may be compared.
#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <nlohmann/json.hpp>

#include "tests/fast/report_runs.h"
#include "trainer/report/comparable.h"
#include "trainer/report/report.h"

using namespace isobath;
using Catch::Approx;

namespace {

// Two arms of two seeds; `dense` and `mod` are further keys of their `run` and final validation records.
Report two_arms(Folder const& root, json const& dense, json const& mod) {
  for (int64_t seed : {1, 2}) {
    double const luck = 0.01 * static_cast<double>(seed);
    write_run(root.path, "dense", seed, {.loss = 3.0 + luck, .routing = dense, .start = dense});
    write_run(root.path, "mod", seed, {.loss = 2.4 + luck, .routed = true, .routing = mod, .start = mod});
  }
  return read_report({root.path / "dense/seed-1", root.path / "dense/seed-2", root.path / "mod/seed-1", root.path / "mod/seed-2"});
}

}  // namespace

TEST_CASE("comparable: one tokenizer and one text are compared by loss") {
  Folder const root;
  json const same = {{"tokenizer", "t1"}, {"valid_text", "v1"}, {"eval_bytes", 1000}};
  Report const report = two_arms(root, same, same);
  CHECK(report.ranked_by == "loss_causal");
  CHECK(contains(report.headline, "better by 19.9"));
  CHECK(contains(report.headline, "(causal loss 2.4150 against 3.0150, equal training FLOPs)"));
}

TEST_CASE("comparable: other tokenizers on one text are compared by bits per byte, which may turn the verdict round") {
  Folder const root;
  json const dense = {{"tokenizer", "t1"}, {"valid_text", "v1"}, {"eval_bytes", 1000}, {"bits_per_byte_causal", 2.0}};
  json mod = dense;
  mod["tokenizer"] = "t2";
  mod["bits_per_byte_causal"] = 2.2;  // fewer nats per token, of shorter tokens
  mod["eval_bytes"] = 1003;           // the first piece, which is not predicted, is shorter
  Report const report = two_arms(root, dense, mod);
  CHECK(report.ranked_by == "bits_per_byte_causal");
  Pair const& pair = *report.pair("mod", "dense", "flops");
  CHECK(pair.metric == "bits_per_byte_causal");
  CHECK(pair.difference.percent == Approx(10));
  CHECK(contains(report.headline, "worse by 10.00 %"));
  CHECK(contains(report.headline, "(bits per byte 2.2000 against 2.0000, equal training FLOPs)"));
  CHECK(contains(pair.note, "have different tokenizers, so bits per byte are compared"));
  // On the curve, too: its last point says 2.01 for both.
  CHECK(report.pair("mod", "dense", "time")->difference.percent == Approx(0).margin(1e-9));
}

TEST_CASE("comparable: other validation text leaves no verdict, and the reason in its place") {
  Folder const root;
  json const dense = {{"tokenizer", "t1"}, {"valid_text", "v1"}, {"eval_bytes", 1000}};
  json mod = dense;
  std::string reason;
  SECTION("another text") {
    mod["valid_text"] = "v2";
    reason = "dense seed 1 and mod seed 1 were validated on different text";
  }
  SECTION("another part of it") {
    mod["eval_bytes"] = 500;
    reason = "dense seed 1 was validated on 1000 bytes of text, mod seed 1 on 500 (eval.final_tokens)";
  }
  SECTION("one byte of it, with one tokenizer") {
    mod["eval_bytes"] = 1001;
    reason = "dense seed 1 was validated on 1000 bytes of text, mod seed 1 on 1001 (eval.final_tokens)";
  }
  Report const report = two_arms(root, dense, mod);
  CHECK(report.ranked_by.empty());
  CHECK(report.headline == "no verdict: " + reason);
  CHECK(report.challenger.empty());
  for (Pair const& pair : report.pairs) {
    CHECK_FALSE(pair.compared());
    CHECK(pair.verdict == "no verdict: " + reason);
  }
  CHECK_FALSE(contains(report_table(report), "better by"));
  CHECK(contains(report_table(report), reason));
}

TEST_CASE("comparable: older runs, which recorded no hash, are told apart by their configuration and its length") {
  Folder const root;
  SECTION("alike") { CHECK(two_arms(root, {{"valid_bytes", 1000}}, {{"valid_bytes", 1000}}).ranked_by == "loss_causal"); }
  SECTION("of other length") { CHECK(two_arms(root, {{"valid_bytes", 1000}}, {{"valid_bytes", 900}}).ranked_by.empty()); }
}

TEST_CASE("comparable: times of other machines are not compared") {
  Folder const root;
  json other = json::object();
  std::string reason;
  SECTION("threads") {
    other["threads"] = 8;
    reason = "dense seed 1 used 2 threads, mod seed 1 8";
  }
  SECTION("device") {
    other["device"] = "cuda:0 X";
    reason = "dense seed 1 ran on , mod seed 1 on cuda:0 X";
  }
  Report const report = two_arms(root, json::object(), other);
  CHECK(report.pair("mod", "dense", "flops")->compared());
  CHECK(report.pair("mod", "dense", "time")->verdict == "no verdict: " + reason);
}

TEST_CASE("comparable: the time of a run does not count where its teacher may have run in another one") {
  RunResult alone, taught;
  taught.arm = "taught";
  taught.config.train.distill.from = alone.config.train.distill.from = "runs/teacher";
  CHECK(unequal_machines({&alone, &taught}).empty());
  taught.config.train.distill.top = 64;
  CHECK(unequal_machines({&alone, &taught}).starts_with(taught.label() + " spent no time on what an earlier run"));
  taught.config.train.distill.from.clear();
  alone.config.train.distill.from.clear();
  CHECK(unequal_machines({&alone, &taught}).empty());
}

TEST_CASE("comparable: hints say what more seeds could show") {
  Folder const root;
  write_experiment(root.path, {"dense", "mod"}, {1, 2}, "dense");
  write_run(root.path, "dense", 1, {.loss = 3.0});
  write_run(root.path, "dense", 2, {.loss = 3.0});
  write_run(root.path, "mod", 1, {.loss = 3.03, .routed = true});
  write_run(root.path, "mod", 2, {.loss = 2.97, .routed = true});
  Report const report = read_report({root.path});
  Pair const& pair = *report.pair("mod", "dense", "flops");
  CHECK(pair.hint == "; undecided: 68 more seeds would probably decide");  // differences of +1 % and -1 %: test_equivalence.cpp
  write_experiment(root.path, {"dense", "mod"}, {1}, "dense");
  Report const single = read_report({root.path});
  CHECK(single.pair("mod", "dense", "flops")->hint == "; two seeds or more give a confidence interval (compare.seeds)");
}

TEST_CASE("comparable: what initial weights have cost is no part of a run's compute, so other starts give no verdict") {
  Folder const root;
  write_experiment(root.path, {"dense", "mod"}, {1}, "dense");
  write_run(root.path, "dense", 1, {});
  write_run(root.path, "mod", 1, {.loss = 2.9, .routed = true, .init_from = "big.gguf"});
  Report const report = read_report({root.path});
  std::string const reason = "no verdict: dense seed 1 started from random values, mod seed 1 from the weights of big.gguf";
  CHECK(report.pair("mod", "dense", "flops")->verdict == reason);
  CHECK(report.pair("mod", "dense", "time")->verdict == reason);
  CHECK(report.ranked_by == "loss_causal");  // the losses themselves can be ranked
}

TEST_CASE("comparable: initial weights that have cost the same FLOPs are equal starts") {
  Folder const root;
  write_experiment(root.path, {"dense", "mod", "long"}, {1}, "dense");
  auto const from = [](char const* path, double flops) { return FakeRun{.start = {{"pretraining_flops", flops}}, .init_from = path}; };
  write_run(root.path, "dense", 1, from("runs/books/dense/seed-1", 3e12));
  write_run(root.path, "mod", 1, from("runs/books/mod/seed-1", 3.002e12));
  write_run(root.path, "long", 1, from("runs/books/long/seed-1", 3.1e12));
  Report const report = read_report({root.path});
  CHECK_FALSE(report.pair("mod", "dense", "flops")->verdict.starts_with("no verdict"));
  CHECK(report.pair("long", "dense", "flops")->verdict.starts_with("no verdict: dense seed 1 started from the weights of"));
}
