#pragma once
// Checkpoint folders (docs/checkpoints.md): whole or not there. No LibTorch.

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/files.h"

namespace isobath {

constexpr int checkpoint_format = 1;

// Writes the folder `path` so that it never exists half-written: `fill` puts files into a temporary neighbour, each is synced and listed
// with size and checksum in manifest.json, then one rename makes the folder appear. An older folder of the same name is replaced.
// Throws Error(disk); whatever was there before stays whole.
void write_checkpoint_folder(fs::path const& path, std::function<void(fs::path const& temporary)> const& fill);

struct ManifestFile {
  std::string name;
  int64_t size = 0;
  std::string checksum;  // 16 hex digits of XXH3-64
};

// Compares every file with manifest.json. Throws Error(checkpoint) naming the first file that is missing, cut short or changed.
std::vector<ManifestFile> verify_checkpoint(fs::path const& folder);

std::string checkpoint_name(int64_t step);                            // "step-00002000"
std::optional<int64_t> checkpoint_step(fs::path const& folder);       // nullopt when it is no such name
std::vector<fs::path> list_checkpoints(fs::path const& checkpoints);  // ascending by step, not verified

// The newest whole checkpoint. A damaged newer one is reported and set aside as NAME.damaged, for a person to look at. nullopt when
// there is none at all; throws Error(checkpoint) when there are some and none is whole, or when one is of a newer format.
std::optional<fs::path> recover_newest_checkpoint(fs::path const& checkpoints);

// Deletes all but the newest `keep` and those of `protected_steps`, and what crashes left behind.
void prune_checkpoints(fs::path const& checkpoints, int64_t keep, std::vector<int64_t> const& protected_steps);
void remove_leftovers(fs::path const& checkpoints);

// The checkpoint a person means by `path`: itself, or a run folder's latest. Verified. Throws Error(checkpoint).
fs::path find_checkpoint(fs::path const& path);

// Points the symbolic link `link` at `target` (relative to the link's folder), atomically.
void point_link(fs::path const& link, fs::path const& target);

}  // namespace isobath
