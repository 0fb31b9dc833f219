// Invalid YAML: every problem is reported at its place with a helpful message, and nothing crashes.

#include <catch2/catch_message.hpp>
#include <catch2/catch_test_macros.hpp>

#include "config/fields.h"
#include "config/other_names.h"
#include "tests/fast/config_folder.h"

using namespace isobath;

namespace {

struct Case {
  std::string yaml;
  std::vector<std::string> expected;  // beginnings, or with '*' in front parts, of the problems in order
};

bool matches(std::string const& problem, std::string const& expected) {
  size_t const star = expected.find('*');
  if (star == std::string::npos) return problem.starts_with(expected);
  return problem.starts_with(expected.substr(0, star)) && problem.find(expected.substr(star + 1)) != std::string::npos;
}

void check(std::vector<Case> const& cases) {
  ConfigFolder const folder;
  for (Case const& c : cases) {
    auto const found = folder.problems(c.yaml);
    INFO(c.yaml);
    for (std::string const& problem : found) UNSCOPED_INFO(problem);
    CHECK(found.size() == c.expected.size());
    for (size_t i = 0; i < std::min(found.size(), c.expected.size()); ++i) {
      INFO("expected: " << c.expected[i] << "\nfound: " << found[i]);
      CHECK(matches(found[i], c.expected[i]));
    }
  }
}

}  // namespace

TEST_CASE("all problems at once, in order, with line, caret and nearest name") {
  ConfigFolder const folder;
  auto const found = folder.problems(
      "name: a\n"
      "depth:\n"
      "  kind: mod\n"
      "  capcity: 0.5\n"
      "model: {layers: 010, heads: 0}\n",
      {"train.lr=fast"});
  REQUIRE(found.size() == 4);
  CHECK(found[0] ==
        "x.yaml:4:3: error: unknown key 'depth.capcity' (did you mean 'capacity'?)\n"
        "    capcity: 0.5\n"
        "    ^");
  CHECK(found[1] ==
        "x.yaml:5:17: error: model.layers: '010' has a leading zero, which YAML readers take for octal (integer, 1 to "
        "4096)\n"
        "  model: {layers: 010, heads: 0}\n"
        "                  ^");
  CHECK(found[2].starts_with("x.yaml:5:29: error: model.heads: '0' is too small"));
  CHECK(found[3] ==
        "command line: error: train.lr: 'fast' is not a number (number, above 0, at most 100)\n"
        "  train.lr=fast\n"
        "           ^");
}

TEST_CASE("names that are not known") {
  check({
      {"modle: {layers: 3}\n", {"x.yaml:1:1: error: unknown key 'modle' (did you mean 'model'?)"}},
      {"layers: 3\n", {"x.yaml:1:1: error: unknown key 'layers' (did you mean 'model.layers'?)"}},
      {"model:\n  capacity: 0.5\n", {"x.yaml:2:3: error: unknown key 'model.capacity' (did you mean 'depth.capacity'?)"}},
      {"train: {lerning_rate: 1}\n", {"x.yaml:1:9: error: unknown key 'train.lerning_rate' (here it is train.lr)"}},
      {"train: {budget: 1 epoch}\n",
       {"x.yaml:1:17: error: train.budget: '1 epoch' is not a duration; write for example 500step, 2Mtok, 2e12flop or 3epoch"}},
      {"inclde: y.yaml\n", {"x.yaml:1:1: error: unknown key 'inclde' (did you mean 'include'?)"}},
      {"compare: {arm: {}}\n", {"x.yaml:1:11: error: unknown key 'compare.arm' (did you mean 'arms'?)"}},
      {"model: {qqqqqqqqqqq: 1}\n", {"x.yaml:1:9: error: unknown key 'model.qqqqqqqqqqq'\n"}},
      {"model: {\"\": 1}\n", {"x.yaml:1:9: error: unknown key 'model.'"}},
      {"model: {layers.x: 1}\n", {"x.yaml:1:9: error: unknown key 'model.layers.x'"}},
  });
}

TEST_CASE("keys that stand twice") {
  check({
      {"name: a\nname: b\n", {"x.yaml:2:1: error: duplicate key 'name' (first on line 1)"}},
      {"model: {layers: 3, layers: 3}\n", {"x.yaml:1:20: error: duplicate key 'model.layers' (first on line 1)"}},
      {"model: {layers: 3}\nseed: 1\nmodel: {width: 8}\n", {"x.yaml:3:1: error: duplicate key 'model' (first on line 1)"}},
      {"model.layers: 3\nmodel: {layers: 4}\n", {"x.yaml:2:9: error: duplicate key 'model.layers' (first on line 1)"}},
      {"compare:\n  baseline: a\n  arms:\n    a: {}\n    a: {}\n", {"x.yaml:5:5: error: duplicate key 'compare.arms.a' (first on line 4)"}},
      {"compare:\n  baseline: a\n  arms:\n    a: {set: {model.layers: 1, model: {layers: 2}}}\n",
       {"x.yaml:4:40: error: duplicate key 'compare.arms.a.set.model.layers' (first on line 4)"}},
  });
}

TEST_CASE("values of the wrong type or out of range") {
  check({
      {"seed: -1\n", {"x.yaml:1:7: error: seed: '-1' is too small"}},
      {"seed: 1.5\n", {"x.yaml:1:7: error: seed: '1.5' is not a whole number"}},
      {"seed: 99999999999999999999\n", {"x.yaml:1:7: error: seed: '99999999999999999999' is not"}},
      {"seed: 0x10\n", {"x.yaml:1:7: error: seed: '0x10' is not"}},
      {"seed: 1_000\n", {"x.yaml:1:7: error: seed: '1_000' is not"}},
      {"seed: true\n", {"x.yaml:1:7: error: seed: 'true' is not"}},
      {"seed: [1]\n", {"x.yaml:1:7: error: seed: a list is not"}},
      {"seed: {a: 1}\n", {"x.yaml:1:7: error: seed: a map is not"}},
      {"seed:\n", {"x.yaml:1:1: error: seed: no value (integer"}},
      {"name: ~\n", {"x.yaml:1:1: error: name: no value (text)"}},
      {"name: \"\"\n", {"x.yaml:1:7: error: name: an empty text"}},
      {"model: {layers: 64Ki}\n", {"x.yaml:1:17: error: model.layers: '64Ki' is not"}},
      {"model: {layers: auto}\n", {"x.yaml:1:17: error: model.layers: 'auto' is not"}},
      {"model: {mlp_width: 0}\n", {"x.yaml:1:20: error: model.mlp_width: '0' is too small (integer, 1 to 4194304, or auto)"}},
      {"model: {tie_embeddings: yes}\n", {"x.yaml:1:25: error: model.tie_embeddings: 'yes' is not true or false"}},
      {"model: {rope_theta: .inf}\n", {"x.yaml:1:21: error: model.rope_theta: '.inf' is not a finite number"}},
      {"model: {rope_theta: -.INF}\n", {"x.yaml:1:21: error: model.rope_theta: '-.INF' is not a finite number"}},
      {"model: {rope_theta: .nan}\n", {"x.yaml:1:21: error: model.rope_theta: '.nan' is not a finite number"}},
      {"model: {rope_theta: 1e999}\n", {"x.yaml:1:21: error: model.rope_theta: '1e999' is not"}},
      {"model: {rope_theta: 0}\n", {"x.yaml:1:21: error: model.rope_theta: '0' is too small (number, above 0)"}},
      {"model: {context: 0.3Ki}\n", {"x.yaml:1:18: error: model.context: '0.3Ki' is not"}},
      {"model: {mlp: swiglo}\n", {"x.yaml:1:14: error: model.mlp: 'swiglo' is not one of swiglu, gelu (did you mean 'swiglu'?)"}},
      {"depth: {capacity: 0}\n", {"x.yaml:1:19: error: depth.capacity: '0' is too small"}},
      {"depth: {capacity: 101%}\n", {"x.yaml:1:19: error: depth.capacity: '101%' is too large"}},
      {"depth: {capacity: 1.01}\n", {"x.yaml:1:19: error: depth.capacity: '1.01' is too large"}},
      {"train: {min_lr: 0.1}\n", {"x.yaml:1:17: error: train.min_lr: '0.1' needs its % sign: 10%, or 0.1%"}},
      {"train: {min_lr: 110%}\n", {"x.yaml:1:17: error: train.min_lr: '110%' is too large"}},
      {"train: {budget: 500}\n", {"x.yaml:1:17: error: train.budget: '500' needs a unit (duration (500step, 2Mtok, 2e12flop, 3epoch))"}},
      {"train: {budget: 5%}\n", {"x.yaml:1:17: error: train.budget: '5%' is not"}},
      {"train: {budget: 0step}\n", {"x.yaml:1:17: error: train.budget: '0step' is too small"}},
      {"train: {budget: 5hours}\n", {"x.yaml:1:17: error: train.budget: '5hours' is not"}},
      {"eval: {every: 120%}\n", {"x.yaml:1:15: error: eval.every: '120%' is more than the whole run"}},
      {"train: {betas: [0.9, 1]}\n", {"x.yaml:1:22: error: train.betas: '1' is too large"}},
      {"train: {betas: [0.9, [1]]}\n", {"x.yaml:1:22: error: train.betas: a list is not"}},
      {"train: {betas: []}\n", {"x.yaml:1:16: error: train.betas: an empty list"}},
      {"train: {betas: [0.9]}\n", {"x.yaml:1:16: error: train.betas has 1 values; AdamW takes two"}},
      {"eval: {tokens: 0}\n", {"x.yaml:1:16: error: eval.tokens: '0' is too small (count (64Ki, 2M), at least 1, or all)"}},
      {"data: {sources: []}\n", {"x.yaml:1:17: error: data.sources: an empty list"}},
      {"data: {sources: [a, ~]}\n", {"x.yaml:1:21: error: data.sources: no value"}},
      {"model: 3\n", {"x.yaml:1:8: error: 'model' holds keys (model: {...}), not '3'"}},
      {"depth: mod\n", {"x.yaml:1:8: error: 'depth' holds keys (depth: {kind: mod}), not 'mod'"}},
      {"model: [1]\n", {"x.yaml:1:8: error: 'model' holds keys (model: {...}), not a list"}},
      {"tokenizer: {kind: bpee}\n",
       {"x.yaml:1:19: error: tokenizer.kind: 'bpee' is not bpe, byte or the path of a tokenizer (did you mean "
        "'bpe'?)"}},
      {"tokenizer: {kind: no/tokenizer.model}\n", {"x.yaml:1:19: error: tokenizer.kind: no such file: no/tokenizer.model"}},
  });
}

TEST_CASE("keys that contradict each other") {
  check({
      {"model: {width: 66}\n", {"x.yaml:1:16: error: model.heads (4) does not divide model.width (66)"}},
      {"model: {width: 12}\n", {"x.yaml:1:16: error: model.width / model.heads is 3; rotary embeddings need an even head size"}},
      {"model:\n  width: 96\n  heads: 6\n", {}},  // kv_heads: auto
      {"model:\n  width: 96\n  heads: 6\n  kv_heads: 4\n", {"x.yaml:4:13: error: model.kv_heads (4) does not divide model.heads (6)"}},
      {"model: {heads: x, width: 66}\n", {"x.yaml:1:16: error: model.heads: 'x' is not"}},  // what follows from it is not said
      {"depth: {kind: mod, layers: [1, 4]}\n", {"x.yaml:1:28: error: depth.layers names block 4, the model has 0 to 3"}},
      {"depth: {kind: mod, layers: [2, 1]}\n", {"x.yaml:1:28: error: depth.layers names routed blocks in ascending order, each once"}},
      {"depth: {kind: mod, layers: [2], capacity: [0.5, 0.25]}\n",
       {"x.yaml:1:43: error: depth.capacity has 2 entries for 1 routed blocks"}},
      {"train: {lora: {rank: 4, targets: [heads]}}\n",
       {"x.yaml:1:34: error: train.lora.targets: 'heads' is no half of a block (attention, mlp)"}},
      {"train: {lora: {rank: 4}, freeze: [blocks]}\n",
       {"x.yaml:1:22: error: train.freeze: [blocks] keeps the matrices of blocks as they are"}},
      {"train: {init_layers: [0, 1]}\n",
       {"x.yaml:1:22: error: train.init_layers chooses among the layers of train.init_from, which is not given",
        "x.yaml:1:22: error: train.init_layers names 2 layers, model.layers is 4"}},
      {"depth: {kind: mod, offset: 4}\n", {"x.yaml:1:28: error: depth.offset (4) is past the last of 4 layers"}},
      {"depth: {kind: dense, offset: 4}\n", {}},
      {"depth: {kind: mod, gate: none}\n", {"x.yaml:1:26: error: with gate none, only `causal: bce` gives the linear router a gradient"}},
      {"depth: {kind: mod, gate: none, causal: bce}\n", {}},
      {"depth: {kind: mod, router: random}\n", {"x.yaml:1:28: error: a random router leaves nothing to learn"}},
      {"depth: {kind: mod, router: random, causal: bce}\n", {"x.yaml:1:44: error: a random router leaves nothing to learn"}},
      {"depth: {kind: mod, router: random, causal: none, gate: none}\n", {}},
      {"train: {batch_tokens: 1000}\n", {"x.yaml:1:23: error: train.batch_tokens (1000) is no multiple of model.context (128)"}},
      {"train: {micro_batch_tokens: 384}\n",
       {"x.yaml:1:29: error: train.micro_batch_tokens (384) does not divide train.batch_tokens (1024)"}},
      {"train: {micro_batch_tokens: 64}\n", {"x.yaml:1:29: error: train.micro_batch_tokens (64) is no multiple of model.context (128)"}},
      {"train: {schedule: wsd, warmup: 50%, decay: 51%}\n",
       {"x.yaml:1:32: error: train.warmup (50%) and train.decay (51%) are longer than the run"}},
      {"train: {schedule: cosine, warmup: 50%, decay: 51%}\n", {}},
      {"train: {budget: 100step, warmup: 101step}\n",
       {"x.yaml:1:34: error: train.warmup (101step) is longer than the run (100step); write a share of it, such as 5%, or give a larger "
        "train.budget"}},
      {"name: ../x\n", {"x.yaml:1:7: error: name '../x' is no folder below run_dir"}},
      {"name: /x\n", {"x.yaml:1:7: error: name '/x' is no folder"}},
      {"name: a//b\n", {"x.yaml:1:7: error: name 'a//b' is no folder"}},
      {"name: a/b..c\n", {}},
      {"name: .\n", {"x.yaml:1:7: error: name '.' is no folder"}},
  });
}

TEST_CASE("experiments that make no sense") {
  check({
      {"compare: {baseline: x}\n", {"x.yaml:1:21: error: compare.baseline 'x' is none of the arms"}},
      {"compare: {baseline: a, seeds: [1, 2, 1], arms: {a: {}}}\n", {"x.yaml:1:31: error: seed 1 stands twice"}},
      {"compare: {baseline: a, seeds: 3, arms: {a: {}}}\n", {"x.yaml:1:31: error: compare.seeds: '3' is not"}},
      {"compare: {baseline: a, arms: {a: {}, \"b c\": {}}}\n", {"x.yaml:1:38: error: arm name 'b c': letters, digits"}},
      {"compare: {baseline: a, arms: {a: {}, ../b: {}}}\n", {"x.yaml:1:38: error: arm name '../b'"}},
      {"compare: {baseline: a, arms: {a: 3}}\n", {"x.yaml:1:34: error: an arm is {set:"}},
      {"compare: {baseline: a, arms: [a]}\n", {"x.yaml:1:21: error: compare.baseline", "x.yaml:1:30: error: 'compare.arms' holds keys"}},
      {"compare: {baseline: a, arms: {a: {sets: {}}}}\n",
       {"x.yaml:1:35: error: unknown key 'compare.arms.a.sets' (an arm has set, match, size and reference) (did you mean 'set'?)"}},
      {"compare: {baseline: a, arms: {a: {set: {depth: {capcity: 1}}}}}\n",
       {"x.yaml:1:49: error: unknown key 'depth.capcity' (did you mean 'capacity'?)"}},
      {"compare: {baseline: a, arms: {a: {set: {model.layers: 0}}}}\n", {"x.yaml:1:55: error: model.layers: '0' is too small"}},
      {"compare: {baseline: a, arms: {a: {set: {seed: 1}}}}\n", {"x.yaml:1:41: error: an arm cannot set 'seed'"}},
      {"compare: {baseline: a, arms: {a: {set: {train: {budget: 1step}}}}}\n", {"x.yaml:1:49: error: an arm cannot set 'train.budget'"}},
      {"compare: {baseline: a, arms: {a: {set: {data.max_bytes: 1}}}}\n", {"x.yaml:1:41: error: an arm cannot set 'data.max_bytes'"}},
      {"compare: {baseline: a, arms: {a: {set: {depth: mod}}}}\n", {"x.yaml:1:41: error: 'depth' holds keys: depth: {kind: mod}"}},
      {"compare: {baseline: a, arms: {a: {set: {model.heads: 3}}}}\n", {"x.yaml:1:54: error: arm 'a': model.heads (3) does not divide"}},
      {"compare: {baseline: a, arms: {a: {}, b: {match: {forward_flops_of: c}}}}\n",
       {"x.yaml:1:68: error: forward_flops_of 'c' is none of the arms"}},
      {"compare: {baseline: a, arms: {a: {}, b: {match: {forward_flops_of: b}}}}\n",
       {"x.yaml:1:68: error: forward_flops_of 'b' is the arm itself"}},
      {"compare: {baseline: a, arms: {a: {}, b: {match: {forward_flops_of: a}}, c: {match: {forward_flops_of: b}}}}\n",
       {"x.yaml:1:103: error: forward_flops_of 'b' has a match of its own"}},
      {"compare: {baseline: a, arms: {a: {}, b: {match: {adjust: layers}}}}\n",
       {"x.yaml:1:50: error: match: needs forward_flops_of: or tokens_of:"}},
      {"compare: {baseline: a, arms: {a: {}, b: {match: {tokens_of: a}}}}\n",
       {"x.yaml:1:61: error: tokens_of makes an arm spend other FLOPs"}},
      {"compare: {arms: {a: {reference: true}, b: {}}}\n", {"x.yaml:1:33: error: the baseline 'a' cannot be a reference"}},
      {"compare: {arms: {a: {}, b: {reference: true, match: {tokens_of: d}}}}\n",
       {"x.yaml:1:65: error: tokens_of 'd' is none of the arms"}},
      {"compare: {arms: {a: {}, b: {reference: perhaps}}}\n", {"x.yaml:1:40: error: compare.arms.b.reference: 'perhaps'"}},
      {"compare: {arms: {a: {}, b: {reference: true, match: {tokens_of: a, forward_flops_of: a}}}}\n",
       {"x.yaml:1:65: error: match has forward_flops_of or tokens_of, not both"}},
      {"compare: {baseline: a, arms: {a: {}, b: {match: {forward_flops_of: a, ajust: layers}}}}\n",
       {"x.yaml:1:71: error: unknown key 'compare.arms.b.match.ajust' (did you mean 'adjust'?)"}},
      {"compare: {baseline: a, arms: {a: {}, b: {match: {forward_flops_of: a, adjust: width}}}}\n",
       {"x.yaml:1:79: error: compare.arms.b.match.adjust: 'width' is not one of layers, mlp_width"}},
  });
}

TEST_CASE("YAML that other readers would take for something else") {
  check({
      {"name: a\n---\nname: b\n", {"x.yaml:3:1: error: a second YAML document"}},
      {"name: a\n---\n", {"x.yaml:*a second YAML document"}},
      {"data:\n\tmax_bytes: 1\n", {"x.yaml:2:1: error: a tab in the indentation; YAML wants spaces\n   max_bytes: 1\n  ^"}},
      {"data:\n \tmax_bytes: 1\n\tsplit: tail\n", {"x.yaml:2:2: error: a tab", "x.yaml:3:1: error: a tab"}},
      {"name: a\t# fine\n\t# fine as well\n", {}},
      {"model: &m {layers: 3}\n", {"x.yaml:1:8: error: YAML anchors (&name) are not supported"}},
      {"model:\n  <<: {layers: 3}\n", {"x.yaml:2:3: error: YAML merge keys (<<) are not supported"}},
      {"name: &n a\nrun_dir: *n\n", {"x.yaml:1:7: error: YAML anchors", "x.yaml:2:10: error: YAML aliases"}},
      {"data: {sources: [*.txt]}\n", {"x.yaml:1:18: error: text that starts with * must be quoted"}},
      {"name: !!str a\n", {"x.yaml:1:7: error: YAML tags are not supported"}},
      {"? [a, b]\n: 3\n", {"x.yaml:1:3: error: a key must be a word"}},
      {"~: 3\n", {"x.yaml:1:1: error: a key must be a word"}},
      {"[1, 2]\n", {"x.yaml:1:1: error: a configuration is a map"}},
      {"quickstart\n", {"x.yaml:1:1: error: a configuration is a map"}},
  });
}

TEST_CASE("YAML that does not parse") {
  check({
      {"name: \"abc\n", {"x.yaml:1:7: error: this quote is not closed"}},
      {"name: 'it''s\n", {"x.yaml:1:7: error: this quote is not closed"}},
      {"data: {sources: [a}\n", {"x.yaml:1:19: error: a '[' or '{' is closed by the wrong bracket"}},
      {"data: {sources: [a, b]\nname: c\n", {"x.yaml:*is not closed"}},
      {"model:\n   layers: 3\n  width: 4\n", {"x.yaml:3:3: error: this line does not fit the map it stands in"}},
      {"model:\n  layers: 3 width: 4\n", {"x.yaml:2:18: error: a ':' that makes no sense here"}},
      {"name: @x\n", {"x.yaml:1:7: error: text that starts with this character must be quoted"}},
      {"name: \xff\xfe\n", {"x.yaml:1:7: error: not UTF-8 text"}},
      {"seed: 1\nname: \"\xc3\"\n", {"x.yaml:2:8: error: not UTF-8 text"}},
      {std::string("name: a\0b\n", 10), {"x.yaml:1:8: error: not UTF-8 text"}},
      {std::string(100000, '['), {"x.yaml:1:1: error: nested too deeply"}},
      {std::string(100000, '{'), {"x.yaml:1:1: error: nested too deeply"}},
      {"x: " + std::string(1 << 20, 'y'), {"x.yaml:1:1: error: too long for a configuration"}},
  });
  std::string dashes;
  for (int i = 0; i < 50000; ++i) dashes += "- ";
  check({{dashes, {"x.yaml:1:1: error: nested too deeply"}}});
}

TEST_CASE("columns count characters, not bytes; carets stand below them") {
  ConfigFolder const folder;
  auto const found = folder.problems("\xef\xbb\xbfname: \"\xc3\xbc\xe2\x82\xac\"\r\nmodel: {\"\xc3\xbc\xc3\xbc\": 1, layers: x}\r\n");
  REQUIRE(found.size() == 2);
  CHECK(found[0].starts_with("x.yaml:2:9: error: unknown key 'model.\xc3\xbc\xc3\xbc'"));
  CHECK(found[1].starts_with("x.yaml:2:26: error: model.layers"));
  CHECK(found[1].ends_with("\n  " + std::string(25, ' ') + "^"));
}

TEST_CASE("a long line and many problems are shown in part") {
  ConfigFolder const folder;
  std::string text = "model: {";
  for (int i = 0; i < 5000; ++i) text += "x" + std::to_string(i) + ": 1, ";
  auto const found = folder.problems(text + "}\n");
  REQUIRE(found.size() == 101);
  CHECK(found.back() == "and 4900 more problems");
  for (std::string const& problem : found) CHECK(problem.size() < 500);
}

TEST_CASE("random bytes never do worse than a list of problems") {
  std::string const letters = "{}[]:,-?&*!|>'\"%@`#~ \n\tabmodel0.1<=\\\r";
  ConfigFolder const folder;
  uint64_t state = 1;
  for (int i = 0; i < 3000; ++i) {
    std::string text = i % 2 == 0 ? "model:\n  " : "";
    for (int k = 0; k < 24; ++k) {
      state = state * 6364136223846793005ULL + 1442695040888963407ULL;
      text += letters[(state >> 33) % letters.size()];
    }
    INFO(text);
    CHECK_NOTHROW(folder.problems(text, {"name=" + text, "model.layers=" + text}));
  }
}

TEST_CASE("names of other trainers are answered with keys that there are") {
  ConfigFolder const folder;
  for (char const* name : {"learning_rate", "batch_size", "n_layer", "d_model", "max_steps", "num_epochs", "block_size", "grad_clip",
                           "warmup_steps", "beta2", "hidden_act", "eval_steps", "save_total_limit", "output_dir", "dtype"}) {
    CAPTURE(name);
    std::string const here = known_elsewhere(name);
    REQUIRE(here.starts_with("here it is "));
    std::string const key = here.substr(11, here.find_first_of(",: ", 11) - 11);
    CHECK(find_field(key));
  }
  CHECK(folder.problems("train: {learning_rate: 0.1}\n")[0].starts_with(
      "x.yaml:1:9: error: unknown key 'train.learning_rate' (here it is train.lr)"));
  CHECK(folder.problems("model: {dropout: 0.1}\n")[0].find("there is no dropout") != std::string::npos);
  CHECK(known_elsewhere("lr").empty());
}

TEST_CASE("tasks to train on: contradictions") {
  check({{"data: {tasks: [a.yaml], sources: [b.txt]}\n", {"x.yaml:1:34: error: data.sources and data.tasks exclude each other"}},
         {"data: {tasks: [a.yaml], valid_sources: [b.txt]}\n", {"x.yaml:1:40: error: data.valid_sources has no meaning"}},
         {"data: {task_weights: [1]}\n", {"x.yaml:1:22: error: data.task_weights needs data.tasks"}},
         {"data: {tasks: [folder], task_weights: [1, 2]}\n", {}},
         {"data: {tasks: [a.yaml], task_weights: [0]}\n", {"*'0' is too small"}},
         {"checkpoint: {best: accuracy}\n", {"*checkpoint.best: accuracy needs"}},
         {"train: {patience: -1}\n", {"*train.patience"}}});
}

TEST_CASE("an override that is not UTF-8 is refused: config.yaml could not hold it") {
  ConfigFolder const folder;
  for (std::string const text :
       {"name=caf\xe9", "data.sources=caf\xe9", "data.sources=[a, caf\xe9]", "compare.arms.caf\xe9.set.model.layers=3"}) {
    INFO(text);
    try {
      folder.load("model: {layers: 4}\n", {text});
      FAIL("was taken");
    } catch (ConfigError const& error) {
      CHECK(std::string(error.what()).find("byte " + std::to_string(text.find('\xe9') + 1) + " of this argument is not UTF-8") !=
            std::string::npos);
    }
  }
}
