#pragma once
// registered.yaml of an experiment's folder: the experiment as it stood before its first run.

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "config/config.h"
#include "core/files.h"

namespace isobath {

struct Registered {
  std::string time;                                           // "2026-11-27T18:30:11Z"
  std::string revision;                                       // of the program that wrote it
  std::string yaml;                                           // the experiment, every key
  std::optional<Config> experiment;                           // nullopt: this program cannot read it, as `changes` says
  std::vector<std::pair<std::string, std::string>> settings;  // keys that are not as by default, and those that every reader looks for
  std::vector<std::string> changes;                           // how the present experiment differs, in words
};

// Writes the file, unless it is there or a run of the experiment has begun: what is written then was not registered beforehand.
void keep_registered(fs::path const& folder, Config const& experiment, std::string const& revision);
// nullopt where there is no such file.
std::optional<Registered> read_registered(fs::path const& folder, Config const& now);

// "arm keep was added", "seeds 3 to 5 were added", "train.lr: 0.002 -> 0.003"
std::vector<std::string> changes_in_words(Config const& registered, Config const& now);

}  // namespace isobath
