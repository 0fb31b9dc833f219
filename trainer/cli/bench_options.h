#pragma once
// Command-line options that several benchmarks share.

#include <string>
#include <vector>

#include "trainer/bench/train.h"

namespace CLI {
class App;
}

namespace isobath {

constexpr char const* bench_config_help = "Experiment file; without compare.arms it is measured beside its dense twin";

// Adds --peer NAME=COMMAND, which may be given several times. `peers` must outlive the parsing; script: an example for the help.
void add_peers(CLI::App& command, std::vector<BenchSettings::Peer>& peers, std::string const& script);

}  // namespace isobath
