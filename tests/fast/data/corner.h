#pragma once
// A folder of stories with its own cache, and the data prepared from it.

#include <catch2/catch_test_macros.hpp>
#include <chrono>

#include "core/error.h"
#include "data/prepare.h"
#include "tests/fast/scratch.h"

namespace isobath::test {

template <typename Call>
std::string error_of(Call const& call, ExitCode code = ExitCode::data) {
  try {
    call();
  } catch (Error const& error) {
    CHECK(error.code() == code);
    return error.what();
  }
  return "no error";
}

inline std::string story(int i) {
  std::string text = "Story " + std::to_string(i) + ".\n";
  for (int j = 0; j < 20 + i % 7; ++j) text += "Once upon a time there were " + std::to_string(i * j % 97) + " dragons in the valley.\n";
  return text;
}

struct Corner {
  Scratch scratch;
  DataConfig data;
  TokenizerConfig tokenizer;
  explicit Corner(int stories = 40) {
    for (int i = 0; i < stories; ++i) scratch.write("text/" + std::to_string(100 + i) + ".txt", story(i));
    data.sources = {(scratch / "text").string()};
    data.valid_fraction = 0.1;
    data.cache_dir = (scratch / "cache").string();
    tokenizer.vocab_size = 300;
    rest();
  }
  // Makes the files old enough for the index of unchanged sources.
  void rest() {
    auto const old = fs::file_time_type::clock::now() - std::chrono::seconds(60);
    for (auto const& entry : fs::recursive_directory_iterator(scratch / "text")) fs::last_write_time(entry.path(), old);
  }
  Config config() const {
    Config config;
    config.data = data;
    config.tokenizer = tokenizer;
    return config;
  }
  PreparedData prepare() { return prepare_data(config()); }
};

inline std::string text_of(PreparedData const& data, std::vector<fs::path> const& shards) {
  TokenStream const stream(shards);
  std::vector<int64_t> tokens(static_cast<size_t>(stream.size()));
  stream.copy(0, tokens);
  std::string text;
  for (int64_t const token : tokens) {
    text += token == data.tokenizer->document_end() ? "\x01" : data.tokenizer->piece(static_cast<int32_t>(token));
  }
  return text;
}

}  // namespace isobath::test
