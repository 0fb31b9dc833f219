// Loading a Config from files and the command line, and writing it back as YAML.

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "config/fields.h"
#include "config/values.h"
#include "core/files.h"
#include "core/random.h"
#include "tests/fast/config_folder.h"

using namespace isobath;

namespace {

std::string const experiment =
    "name: e\n"
    "model: {layers: 4}\n"
    "compare:\n"
    "  baseline: dense\n"
    "  seeds: [3, 4]\n"
    "  arms:\n"
    "    dense:\n"
    "    mod:\n"
    "      set:\n"
    "        depth: {kind: mod, capacity: 12.5%}\n"
    "        model.layers: 6\n"
    "        train:\n"
    "          betas: [0.8, 0.9]\n"
    "      match: {forward_flops_of: dense}\n";

}  // namespace

TEST_CASE("values arrive where they belong") {
  ConfigFolder const folder;
  Config const c = folder
                       .load(
                           "name: a/b\n"
                           "data: {sources: ~/books, max_bytes: 16Mi, valid_fraction: 2%, isolate_documents: true}\n"
                           "model: {mlp_width: auto, context: 1Ki, rope_theta: 1e6, tie_embeddings: false}\n"
                           "train: {budget: 2e12flop, batch_tokens: 4Ki, min_lr: 12.5%, betas: [0.9, 0.99], clip_norm: "
                           "off, warmup: 50step}\n"
                           "eval: {tokens: all, sample_prompt: \"Once: \\\"upon\\\"\", sample_tokens: 0}\n")
                       .config;
  CHECK(c.name == "a/b");
  CHECK(c.data.sources == std::vector<std::string>{"~/books"});
  CHECK(c.data.max_bytes == 16 << 20);
  CHECK(c.data.valid_fraction == 0.02);
  CHECK(c.data.isolate_documents);
  CHECK(c.model.mlp_width == 0);
  CHECK(c.model.context == 1024);
  CHECK(c.model.rope_theta == 1e6);
  CHECK_FALSE(c.model.tie_embeddings);
  CHECK(c.train.budget == Duration{2e12, Unit::flop});
  CHECK(c.train.min_lr == 0.125);
  CHECK(c.train.betas == std::vector<double>{0.9, 0.99});
  CHECK(c.train.clip_norm == 0);
  CHECK(c.train.warmup == Duration{50, Unit::step});
  CHECK(c.eval.tokens == 0);
  CHECK(c.eval.sample_prompt == "Once: \"upon\"");
  CHECK(c.eval.sample_tokens == 0);
}

TEST_CASE("empty files and empty sections are defaults") {
  ConfigFolder const folder;
  std::string const defaults = to_yaml(Config{});
  for (char const* text : {"", "# nothing\n", "---\n", "{}\n", "model:\ndata: {}\n", "name: run\n...\n", "%YAML 1.2\n---\nname: run\n"}) {
    INFO(text);
    CHECK(to_yaml(folder.load(text).config) == defaults);
  }
  CHECK(to_yaml(load_config("", {}).config) == defaults);
}

TEST_CASE("every value survives being written and read") {
  ConfigFolder const folder;
  Config config = folder.load(experiment).config;
  config.data.sources = {"a b", "x: y", "# no comment", "*",    "it's \"quoted\"", "null", "~", "\xc3\xbc", "tab\there", "-",
                         "[a]", "0",    "a,b",          "C:\\x"};
  config.eval.sample_prompt = "two\nlines and \x01 a control character";
  config.train.clip_norm = 0;
  for (uint64_t i = 0; i < 300; ++i) {
    config.train.min_lr = random_uniform(1, i);
    config.train.lr = random_uniform(2, i) * 1e-3;
    config.train.betas = {random_uniform(3, i), random_uniform(4, i)};
    config.data.valid_fraction = random_uniform(5, i);
    config.data.max_bytes = static_cast<int64_t>(random_bits(6, i) >> 2) + 1;
    config.train.budget = {random_uniform(7, i) * 1e15, Unit::flop};
    config.seed = static_cast<int64_t>(random_bits(8, i) >> 11);
    std::string const text = to_yaml(config);
    Config const again = folder.load(text).config;
    INFO(text);
    REQUIRE(to_yaml(again) == text);
    REQUIRE(diff_configs(config, again).empty());
    REQUIRE(again.data.sources == config.data.sources);
    REQUIRE(again.eval.sample_prompt == config.eval.sample_prompt);
    REQUIRE(again.train.lr == config.train.lr);
    REQUIRE(again.train.betas == config.train.betas);
    REQUIRE(again.data.max_bytes == config.data.max_bytes);
    REQUIRE(again.seed == config.seed);
  }
}

TEST_CASE("a single key changed is a single difference, of its class") {
  ConfigFolder const folder;
  Config const before = folder.load(experiment).config;
  CHECK(diff_configs(before, folder.load(experiment, {"name=e"}).config).empty());
  auto const one = [&](std::string const& override) {
    auto const differences = diff_configs(before, folder.load(experiment, {override}).config);
    REQUIRE(differences.size() == 1);
    return differences[0];
  };
  auto const layers = one("model.layers=5");
  CHECK(layers.path == "model.layers");
  CHECK(layers.before == "4");
  CHECK(layers.after == "5");
  CHECK(layers.resume == ResumeClass::identity);
  CHECK(one("train.lr=1e-4").resume == ResumeClass::schedule);
  // What `auto` stands for is no other value.
  auto const resumes = [&](char const* then, char const* now) {
    return resume_differences(folder.load(experiment, {then}).config, folder.load(experiment, {now}).config).empty();
  };
  CHECK(resumes("model.kv_heads=auto", "model.kv_heads=4"));
  CHECK_FALSE(resumes("model.kv_heads=auto", "model.kv_heads=2"));
  CHECK(resumes("model.mlp_width=auto", "model.mlp_width=176"));
  CHECK_FALSE(resumes("model.mlp_width=auto", "model.mlp_width=168"));
  CHECK(resumes("data.split=auto", "data.split=document"));
  CHECK_FALSE(resumes("data.split=tail", "data.split=document"));
  CHECK(one("eval.every=10%").resume == ResumeClass::free);
  CHECK(one("compare.arms.mod.set.model.layers=7").path == "compare.arms");
}

TEST_CASE("later wins: include, file, command line; origins tell which") {
  ConfigFolder const folder;
  folder.file("base.yaml", "model: {layers: 1, width: 8, heads: 2, kv_heads: 2}\nname: base\n");
  folder.file("more.yaml", "model: {layers: 2}\nname: more\n");
  fs::path const file = folder.file("top.yaml", "name: top\ninclude: [base.yaml, more.yaml]\n");
  LoadedConfig const loaded = load_config(file, {"model.width=16", "model.width=32"});
  CHECK(loaded.config.name == "top");
  CHECK(loaded.config.model.layers == 2);
  CHECK(loaded.config.model.heads == 2);
  CHECK(loaded.config.model.width == 32);
  CHECK(loaded.origins.at("name") == file.string() + ":1:7");
  CHECK(loaded.origins.at("model.layers") == (folder.path() / "more.yaml").string() + ":1:17");
  CHECK(loaded.origins.at("model.width") == "command line");
  CHECK_FALSE(loaded.origins.contains("model.context"));

  std::string const shown = show_config(loaded);
  CHECK(shown.find("# command line") != std::string::npos);
  CHECK(shown.find("# default") != std::string::npos);
  CHECK(to_yaml(folder.load(shown).config) == to_yaml(loaded.config));
}

TEST_CASE("arms of an included experiment can be extended") {
  ConfigFolder const folder;
  folder.file("base.yaml", experiment);
  fs::path const file =
      folder.file("top.yaml", "include: base.yaml\ncompare: {arms: {mod: {set: {model.layers: 8}}, wide: {set: {model.width: 128}}}}\n");
  LoadedConfig const loaded = load_config(file, {"compare.arms.mod.set.depth.capacity=0.25"});
  REQUIRE(loaded.config.compare.arms.size() == 3);
  Config const mod = arm_config(loaded, {"mod", 3}).config;
  CHECK(mod.model.layers == 8);
  CHECK(mod.depth.capacity == std::vector{0.25});
  CHECK(mod.depth.kind == "mod");
  CHECK(arm_config(loaded, {"wide", 3}).config.model.width == 128);
  LoadedConfig each = loaded;
  each.config.train.init_from = "runs/{arm}/seed-{seed}/{arm}";
  CHECK(arm_config(each, {"wide", 3}).config.train.init_from == "runs/wide/seed-3/wide");
}

TEST_CASE("includes that lead nowhere") {
  ConfigFolder const folder;
  CHECK(folder.problems("include: none.yaml\n") ==
        std::vector<std::string>{"x.yaml:1:10: error: include: none.yaml: no such file\n  include: none.yaml\n           ^"});
  CHECK(folder.problems("include: 3\n").at(0).starts_with("x.yaml:1:10: error: include: 3: no such file"));
  CHECK(folder.problems("include: {a: b}\n").at(0).starts_with("x.yaml:1:10: error: include: names a YAML file"));
  CHECK(folder.problems("include: .\n").at(0).find("is a folder") != std::string::npos);
  CHECK(folder.problems("include: x.yaml\n").at(0).find("include each other in a circle (x.yaml -> x.yaml)") != std::string::npos);

  folder.file("a.yaml", "include: b.yaml\nmodel: {layers: 0}\n");
  folder.file("b.yaml", "include: a.yaml\nmodel: {width: 0}\n");
  auto const found = folder.problems_of(folder.path() / "a.yaml");
  CHECK(found.size() == 3);  // the circle, and what is wrong in each
  folder.file("bomb0.yaml", "name: x\n");
  for (int i = 1; i < 30; ++i) {
    std::string const inner = "bomb" + std::to_string(i - 1) + ".yaml";
    folder.file("bomb" + std::to_string(i) + ".yaml", "include: [" + inner + ", " + inner + "]\n");
  }
  CHECK_FALSE(folder.problems_of(folder.path() / "bomb29.yaml").empty());
}

TEST_CASE("files that cannot be read") {
  ConfigFolder const folder;
  CHECK(folder.problems_of(folder.path() / "none.yaml") == std::vector<std::string>{"none.yaml: error: no such file"});
  auto const found = folder.problems_of(folder.path());
  REQUIRE(found.size() == 1);
  CHECK(found[0].ends_with("error: is a folder, not a YAML file"));
  folder.file("config.yaml", "");
  CHECK(folder.problems_of(folder.path()).at(0).find("its configuration is config.yaml") != std::string::npos);
}

TEST_CASE("overrides") {
  ConfigFolder const folder;
  auto const load = [&](std::vector<std::string> const& overrides) { return folder.load(experiment, overrides).config; };
  CHECK(load({"data.sources=[~/a, \"b c\"]"}).data.sources == std::vector<std::string>{"~/a", "b c"});
  CHECK(load({"data.sources=*.txt"}).data.sources == std::vector<std::string>{"*.txt"});
  CHECK(load({"eval.sample_prompt=Once: upon #1 [a"}).eval.sample_prompt == "Once: upon #1 [a");
  CHECK(load({"eval.sample_prompt="}).eval.sample_prompt.empty());
  CHECK(load({"eval.sample_prompt=\"a\\nb\""}).eval.sample_prompt == "a\nb");
  CHECK(load({"name=a=b"}).name == "a=b");
  CHECK(load({"depth={kind: mod, capacity: 50%}"}).depth.capacity == std::vector{0.5});
  CHECK(load({"compare.seeds=[7]"}).compare.seeds == std::vector<int64_t>{7});

  auto const first = [&](std::string const& override) {
    auto const found = folder.problems(experiment, {override});
    REQUIRE(found.size() == 1);
    return found[0].substr(0, found[0].find('\n'));
  };
  CHECK(first("model.capcity=1") == "command line: error: unknown key 'model.capcity' (did you mean 'depth.capacity'?)");
  CHECK(first("nonsense") == "command line: error: 'nonsense' does not read key.path=value");
  CHECK(first("=1") == "command line: error: '=1' does not read key.path=value");
  CHECK(first("model.layers=") == "command line: error: model.layers: no value (integer, 1 to 4096)");
  CHECK(first("include=a.yaml") == "command line: error: include: belongs in a file");
  CHECK(first("compare.arms.mid.set.model.layers=1") == "command line: error: there is no arm 'mid' (did you mean 'mod'?)");
  CHECK(first("data.sources=[a") == "command line: error: a '[' is not closed, or a ',' is missing");
  CHECK(first("model.heads=3\nmodel.layers=1").starts_with("command line: error: model.heads: "));
}

TEST_CASE("a reference arm is read, printed and read again") {
  ConfigFolder const folder;
  Config const read = folder.load("compare: {arms: {mod: {}, deep: {reference: true, match: {tokens_of: mod}}}}\n").config;
  Config const again = folder.load(to_yaml(read)).config;
  for (Config const& config : {read, again}) {
    ArmConfig const& deep = config.compare.arms.at(1);
    CHECK(deep.reference);
    CHECK(deep.match.tokens_of == "mod");
    CHECK(deep.match.forward_flops_of.empty());
    CHECK_FALSE(config.compare.arms.at(0).reference);
    CHECK(arm_text(deep) == "{match: {adjust: layers, tokens_of: mod}, reference: true}");
  }
}

TEST_CASE("an arm is the experiment with its own settings") {
  ConfigFolder const folder;
  LoadedConfig const loaded = folder.load(experiment);
  REQUIRE(loaded.config.compare.arms.size() == 2);
  CHECK(loaded.config.compare.arms[1].match.forward_flops_of == "dense");
  CHECK(loaded.config.compare.arms[1].match.adjust == MatchAdjust::layers);

  LoadedConfig const mod = arm_config(loaded, {"mod", 4});
  CHECK(mod.config.name == "e/mod/seed-4");
  CHECK(mod.config.seed == 4);
  CHECK(mod.config.depth.kind == "mod");
  CHECK(mod.config.depth.capacity == std::vector{0.125});
  CHECK(mod.config.model.layers == 6);
  CHECK(mod.config.train.betas == std::vector<double>{0.8, 0.9});
  CHECK(mod.config.compare.arms.empty());
  CHECK(mod.origins.at("model.layers") == "arm mod (" + (folder.path() / "x.yaml").string() + ":11:23)");

  LoadedConfig const dense = arm_config(loaded, {"dense", 3});
  CHECK(dense.config.depth.kind == "dense");
  CHECK(dense.config.model.layers == 4);
  CHECK_THROWS_AS(arm_config(loaded, {"mode", 1}), ConfigError);
}

TEST_CASE("a config made in code is checked like one from a file") {
  Config config;
  CHECK_NOTHROW(check_config(config));
  config.model.heads = 3;
  CHECK_THROWS_AS(check_config(config), ConfigError);
  config = {};
  config.depth.capacity = {2};
  config.model.layers = 0;
  try {
    check_config(config);
    FAIL("accepted");
  } catch (ConfigError const& error) {
    CHECK(error.code() == ExitCode::config);
    REQUIRE(error.problems().size() == 2);
    CHECK(error.problems()[0].starts_with("config: error: model.layers: '0' is too small"));
  }
}

TEST_CASE("a checkpoint's configuration loads wherever its tokenizer came from") {
  ConfigFolder const folder;
  std::string const text = "tokenizer: {kind: /gone/tokenizer.model}\n";
  CHECK(folder.problems(text).size() == 1);
  folder.file("tokenizer.model", "");
  CHECK(folder.problems(text).empty());
}

TEST_CASE("what auto stands for") {
  ModelConfig model;
  CHECK(resolved_mlp_width(model) == 176);  // 8/3 of 64 is 170.7
  model.mlp = "gelu";
  CHECK(resolved_mlp_width(model) == 256);
  model.mlp_width = 100;
  CHECK(resolved_mlp_width(model) == 100);
  CHECK(resolved_init_std(model) == 0.0625);
  CHECK(resolved_predictor_width(model, {}) == 16);
}

TEST_CASE("paths name the same files from every folder, and files that have moved are the same run") {
  ConfigFolder const folder;
  fs::path const before = fs::current_path();
  std::vector<std::string> const keys{"data.sources=[text/, libtorch-headers]", "run_dir=here", "tokenizer.kind=byte"};
  Config const config = folder.load(experiment, keys).config;
  Config const absolute = with_absolute_paths(config);
  CHECK(absolute.data.sources == std::vector<std::string>{(before / "text").string(), "libtorch-headers"});
  CHECK(absolute.run_dir == (before / "here").string());
  CHECK(absolute.tokenizer.kind == "byte");
  CHECK(absolute.data.cache_dir == "auto");
  CHECK(absolute.train.init_from.empty());
  CHECK(resume_differences(absolute, config).empty());
  Config unnamed = config;
  unnamed.run_dir = "caf\xe9/runs";
  CHECK_THROWS_WITH(with_absolute_paths(unnamed),
                    Catch::Matchers::ContainsSubstring("run_dir: ") && Catch::Matchers::ContainsSubstring("is not UTF-8"));

  auto const starts_from = [&](std::string const& path) {
    Config other = config;
    other.train.init_from = path;
    return other;
  };
  CHECK_FALSE(resume_differences(starts_from("/usr"), starts_from("/etc")).empty());
  CHECK(resume_differences(starts_from("/nowhere"), starts_from("/etc")).empty());
  // Whether text that moved is the same is not known here.
  auto const moved = resume_differences(folder.load(experiment, {"data.sources=[/nowhere/text]"}).config,
                                        folder.load(experiment, {"data.sources=[/etc]"}).config);
  REQUIRE(moved.size() == 1);
  CHECK(moved[0].resume == ResumeClass::content);
}
