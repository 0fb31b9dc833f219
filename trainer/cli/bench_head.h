#pragma once
// What every table of a benchmark says besides its numbers: what was measured on which machine, and what its columns mean.

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "trainer/bench/train.h"

namespace isobath {

struct BenchSubject {
  std::vector<BenchArm> arms;
  int64_t vocab_size = 0;
  std::string batch;  // "8192 tokens a step"
  at::Device device = at::kCPU;
  std::vector<BenchSettings::Peer> peers;
  std::string weights = {};  // where they come from; empty: it does not matter
};

// Sizes of the models, batch, device, threads, precision and build, one a line: a pasted table means something alone.
void print_bench_head(BenchSubject const& subject);
// The same facts in JSON: "environment", "device", "precision" and "models" by name.
nlohmann::ordered_json bench_head_json(BenchSubject const& subject);

struct ColumnMeaning {
  std::string column, meaning;
};
void print_meanings(std::vector<ColumnMeaning> const& columns);
// Says that `arm` is measured alone, where a table of several arms shows ratios.
void print_alone(BenchArm const& arm);

}  // namespace isobath
