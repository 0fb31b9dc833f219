#include <catch2/catch_test_macros.hpp>

#include "config/io.h"
#include "config/other_names.h"

using namespace isobath;

TEST_CASE("config help finds what people call a key elsewhere") {
  for (auto const& [word, key] : {std::pair{"sequences", "train.batch_tokens"},
                                  {"context length", "model.context"},
                                  {"resume", "isobath train"},
                                  {"gradient_accumulation", "train.micro_batch_tokens"},
                                  {"weight_tying", "model.tie_embeddings"}}) {
    INFO(word);
    CHECK(config_help(word).starts_with(std::string(word) + ": "));
    CHECK(config_help(word).find(key) != std::string::npos);
  }
}

TEST_CASE("config help matches the beginning of words, with or without a hyphen") {
  CHECK(config_help("warm-up").find("train.warmup") != std::string::npos);
  CHECK(config_help("warm-up").substr(config_help("warm-up").find("  train.")) ==
        config_help("warmup").substr(config_help("warmup").find("  train.")));
  CHECK(config_help("amp").find("precision") != std::string::npos);
  CHECK(config_help("amp").find("eval.sample_tokens") == std::string::npos);  // not by chance
  CHECK(config_help("oothed").empty());
  CHECK(config_help("ormali").find("router_input") != std::string::npos);  // inside a word where nothing begins so
}

TEST_CASE("the key that a name stands for") {
  CHECK(key_meant_by("lr") == "train.lr");
  CHECK(key_meant_by("train.lr") == "train.lr");
  CHECK(key_meant_by("learning_rate") == "train.lr");
  CHECK(key_meant_by("nonsense").empty());
}
