#pragma once
// Examples of given lengths in shards, every token another number.

#include <cstdint>
#include <memory>
#include <vector>

#include "data/packed_examples.h"
#include "data/shards/shards.h"
#include "tests/fast/scratch.h"

namespace isobath::test {

struct ExamplesStream {
  // lengths: tokens of each example with its answer, of which `answer` are the answer. Two shards.
  explicit ExamplesStream(std::vector<int64_t> const& lengths, int64_t answer = 2, int32_t end = 100'000, int32_t vocabulary = 1 << 30) {
    std::vector<std::vector<int32_t>> parts[2];
    std::vector<std::vector<bool>> targets[2];
    int32_t next = 0;
    for (size_t i = 0; i < lengths.size(); ++i) {
      std::vector<int32_t>& example = examples.emplace_back();
      std::vector<bool> is_target;
      for (int64_t t = 0; t < lengths[i]; ++t) {
        example.push_back(next++ % vocabulary);
        is_target.push_back(t >= lengths[i] - answer);
      }
      size_t const part = 2 * i >= lengths.size();
      parts[part].push_back(example);
      targets[part].push_back(is_target);
    }
    std::vector<fs::path> paths;
    for (size_t part = 0; part < 2; ++part) {
      if (parts[part].empty()) continue;
      paths.push_back(scratch / std::to_string(part));
      write_shard(paths.back(), parts[part], end, 1, "x", targets[part]);
    }
    stream = std::make_unique<TokenStream>(paths);
  }

  Scratch scratch;
  std::vector<std::vector<int32_t>> examples;
  std::unique_ptr<TokenStream> stream;
};

}  // namespace isobath::test
