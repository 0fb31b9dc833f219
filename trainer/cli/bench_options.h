#pragma once
// Options that several benches have.

#include <string>
#include <vector>

#include "trainer/bench/train.h"

namespace CLI {
class App;
}

namespace isobath {

// --peer NAME=COMMAND, as often as one likes. `peers` outlives the parsing; script: an example for the help.
void add_peers(CLI::App& command, std::vector<BenchSettings::Peer>& peers, std::string const& script);

}  // namespace isobath
