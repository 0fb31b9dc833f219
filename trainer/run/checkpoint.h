#pragma once
// Checkpoint folders (docs/checkpoints.md). A crash never leaves a partly written one. Uses no LibTorch.

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/files.h"

namespace isobath {

constexpr int checkpoint_format = 1;

// Writes the folder `path` so that it never exists half-written: `fill` puts files into a temporary folder beside it, each file is synced
// and listed with size and checksum in manifest.json, then one rename makes the folder appear. An older folder of the same name is
// replaced. Throws Error(disk), or with the code of an Error that `fill` threw; an older folder then stays as it was.
void write_checkpoint_folder(fs::path const& path, std::function<void(fs::path const& temporary)> const& fill);

fs::path unfinished_checkpoint(fs::path const& folder);  // that temporary folder

struct ManifestFile {
  std::string name;
  int64_t size = 0;
  std::string checksum;  // 16 hex digits of XXH3-64
};

// Compares every file with manifest.json. Throws Error(checkpoint) naming the first file that is missing, cut short or changed.
std::vector<ManifestFile> verify_checkpoint(fs::path const& folder);

std::string checkpoint_name(int64_t step);                            // "step-00002000"
std::optional<int64_t> checkpoint_step(fs::path const& folder);       // nullopt when the name has another form
std::vector<fs::path> list_checkpoints(fs::path const& checkpoints);  // ascending by step, not verified

// Returns the newest undamaged checkpoint. Newer, damaged ones are reported and renamed to NAME.damaged. nullopt when there are no
// checkpoints; throws Error(checkpoint) when all are damaged or one has a newer format.
std::optional<fs::path> recover_newest_checkpoint(fs::path const& checkpoints);

// Deletes all checkpoints but the newest `keep` and those of `protected_steps`; keep 0 deletes none. remove_leftovers deletes what crashes
// left behind, and restores a checkpoint whose replacement was not completed.
void prune_checkpoints(fs::path const& checkpoints, int64_t keep, std::vector<int64_t> const& protected_steps);
void remove_leftovers(fs::path const& checkpoints);

// Finds and verifies a checkpoint, `path` itself or the latest one of a run folder, and has `read` read it. Where a run that trains deletes
// it meanwhile, the then latest one is taken and read. Throws Error(checkpoint), or what `read` throws.
fs::path find_checkpoint(fs::path const& path, std::function<void(fs::path const& folder)> const& read = {});

// Points `link` (latest, best) at `target`, relative to the link's folder, atomically: a symbolic link, or on a file system without them a
// file that holds the target's path. followed_link gives what a link of either form points at, and any other path as it is.
void point_link(fs::path const& link, fs::path const& target);
fs::path followed_link(fs::path const& link);

}  // namespace isobath
