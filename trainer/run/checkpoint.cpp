#include "trainer/run/checkpoint.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/log.h"
#include "trainer/report/run_list.h"

namespace isobath {

namespace {

constexpr char const* temporary_prefix = ".tmp-";
constexpr char const* trash_prefix = ".old-";

// An own type, because a checkpoint of a newer program also raises an Error but is undamaged and must be left alone.
struct DamagedCheckpoint : Error {
  DamagedCheckpoint(fs::path const& folder, std::string const& what)
      : Error(ExitCode::checkpoint, "checkpoint " + folder.string() + " is damaged: " + what) {}
};

void rename_folder(fs::path const& from, fs::path const& to) {
  std::error_code error;
  fs::rename(from, to, error);
  if (error) throw Error(ExitCode::disk, "cannot rename " + from.string() + " to " + to.string() + ": " + error.message());
}

// Renames the folder before it deletes it, so that a crash halfway leaves nothing that looks like a checkpoint.
void remove_checkpoint(fs::path const& folder) {
  fs::path const trash = folder_of(folder) / (trash_prefix + folder.filename().string());
  std::error_code ignored;
  fs::remove_all(trash, ignored);
  rename_folder(folder, trash);
  fs::remove_all(trash, ignored);
}

std::string manifest_text(fs::path const& folder) {
  nlohmann::ordered_json files = nlohmann::ordered_json::array();
  std::vector<fs::path> paths;
  for (auto const& entry : fs::directory_iterator(folder)) paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  for (fs::path const& path : paths) {
    files.push_back({{"name", path.filename().string()}, {"size", fs::file_size(path)}, {"xxh3_64", hex(checksum_file(path))}});
  }
  return nlohmann::ordered_json{{"format", "isobath checkpoint"}, {"version", checkpoint_format}, {"files", files}}.dump(2) + "\n";
}

}  // namespace

fs::path unfinished_checkpoint(fs::path const& folder) {
  fs::path const plain = without_last_slash(folder);
  return folder_of(plain) / (temporary_prefix + plain.filename().string());
}

void write_checkpoint_folder(fs::path const& path, std::function<void(fs::path const& temporary)> const& fill) {
  fs::path const folder = without_last_slash(path), parent = folder_of(folder), temporary = unfinished_checkpoint(folder);
  try {
    fs::create_directories(parent);
    fs::remove_all(temporary);
    fs::create_directory(temporary);
    fill(temporary);  // each file is synced by its writer
    write_file_atomic(temporary / "manifest.json", manifest_text(temporary));
    sync_folder(temporary);
  } catch (std::exception const& problem) {
    std::error_code ignored;
    fs::remove_all(temporary, ignored);  // frees the disk space
    auto const* known = dynamic_cast<Error const*>(&problem);
    throw Error(known ? known->code() : ExitCode::disk, "checkpoint " + folder.string() + " was not written: " + problem.what());
  }
  fs::path const trash = parent / (trash_prefix + folder.filename().string());
  std::error_code ignored;
  fs::remove_all(trash, ignored);
  if (fs::exists(folder)) rename_folder(folder, trash);
  rename_folder(temporary, folder);
  sync_folder(parent);
  fs::remove_all(trash, ignored);
}

std::vector<ManifestFile> verify_checkpoint(fs::path const& folder) {
  fs::path const manifest_path = folder / "manifest.json";
  if (!fs::exists(manifest_path)) throw DamagedCheckpoint(folder, "manifest.json is missing");
  std::vector<ManifestFile> files;
  try {
    nlohmann::json const manifest = nlohmann::json::parse(read_file(manifest_path));
    int const version = manifest.at("version").get<int>();
    if (version > checkpoint_format) {
      throw Error(ExitCode::checkpoint, "checkpoint " + folder.string() + " has format version " + std::to_string(version) +
                                            "; this program reads up to " + std::to_string(checkpoint_format));
    }
    for (auto const& item : manifest.at("files")) {
      files.push_back({item.at("name").get<std::string>(), item.at("size").get<int64_t>(), item.at("xxh3_64").get<std::string>()});
    }
  } catch (nlohmann::json::exception const& problem) {
    throw DamagedCheckpoint(folder, std::string("manifest.json cannot be read: ") + problem.what());
  }
  for (ManifestFile const& file : files) {
    fs::path const path = folder / file.name;
    if (!fs::is_regular_file(path)) throw DamagedCheckpoint(folder, file.name + " is missing");
    auto const size = static_cast<int64_t>(fs::file_size(path));
    if (size != file.size) {
      throw DamagedCheckpoint(folder,
                              file.name + " has " + std::to_string(size) + " bytes, its manifest says " + std::to_string(file.size));
    }
    if (hex(checksum_file(path)) != file.checksum)
      throw DamagedCheckpoint(folder, "the content of " + file.name + " does not match its checksum");
  }
  return files;
}

std::string checkpoint_name(int64_t step) {
  std::string digits = std::to_string(step);
  if (digits.size() < 8) digits.insert(0, 8 - digits.size(), '0');
  return "step-" + digits;
}

std::optional<int64_t> checkpoint_step(fs::path const& folder) {
  std::string const name = folder.filename().string();
  if (!name.starts_with("step-") || name.size() < 6 || name.size() > 23) return std::nullopt;
  if (name.find_first_not_of("0123456789", 5) != std::string::npos) return std::nullopt;
  return std::stoll(name.substr(5));
}

std::vector<fs::path> list_checkpoints(fs::path const& checkpoints) {
  std::vector<fs::path> found;
  if (!fs::is_directory(checkpoints)) return found;
  for (auto const& entry : fs::directory_iterator(checkpoints)) {
    if (entry.is_directory() && checkpoint_step(entry.path())) found.push_back(entry.path());
  }
  std::sort(found.begin(), found.end(), [](fs::path const& a, fs::path const& b) { return checkpoint_step(a) < checkpoint_step(b); });
  return found;
}

std::optional<fs::path> recover_newest_checkpoint(fs::path const& checkpoints) {
  std::vector<fs::path> const found = list_checkpoints(checkpoints);
  std::vector<fs::path> damaged;
  std::string reasons;
  for (auto folder = found.rbegin(); folder != found.rend(); ++folder) {
    try {
      verify_checkpoint(*folder);
    } catch (DamagedCheckpoint const& problem) {
      reasons += std::string("\n  ") + problem.what();
      damaged.push_back(*folder);
      continue;
    }
    for (fs::path const& bad : damaged) {
      fs::path aside = bad;
      aside += ".damaged";
      std::error_code ignored;
      fs::remove_all(aside, ignored);
      rename_folder(bad, aside);
    }
    if (!damaged.empty())
      log_warning("going back to the older checkpoint " + folder->string() + ":" + reasons + "\n  (set aside as *.damaged)");
    return *folder;
  }
  if (damaged.empty()) return std::nullopt;
  throw Error(ExitCode::checkpoint, "no whole checkpoint is left in " + checkpoints.string() + ":" + reasons +
                                        "\n  remove them to start this run again from the beginning");
}

void prune_checkpoints(fs::path const& checkpoints, int64_t keep, std::vector<int64_t> const& protected_steps) {
  std::vector<fs::path> found = list_checkpoints(checkpoints);
  if (keep <= 0) return;
  size_t const excess = found.size() > static_cast<size_t>(keep) ? found.size() - static_cast<size_t>(keep) : 0;
  for (size_t i = 0; i < excess; ++i) {
    int64_t const step = *checkpoint_step(found[i]);
    if (std::find(protected_steps.begin(), protected_steps.end(), step) == protected_steps.end()) remove_checkpoint(found[i]);
  }
}

void remove_leftovers(fs::path const& checkpoints) {
  if (!fs::is_directory(checkpoints)) return;
  std::vector<fs::path> leftovers;
  for (auto const& entry : fs::directory_iterator(checkpoints)) {
    std::string const name = entry.path().filename().string();
    if (!name.starts_with(temporary_prefix) && !name.starts_with(trash_prefix)) continue;
    // Restores a replaced checkpoint whose replacement was not completed.
    fs::path const original = checkpoints / name.substr(5);
    if (name.starts_with(trash_prefix) && !fs::exists(original) && fs::exists(checkpoints / (temporary_prefix + name.substr(5)))) {
      rename_folder(entry.path(), original);
      continue;
    }
    leftovers.push_back(entry.path());
  }
  std::error_code ignored;
  for (fs::path const& leftover : leftovers) fs::remove_all(leftover, ignored);
}

namespace {

// The folder of the checkpoint that `path` stands for; nothing is known yet of what is in it.
fs::path locate_checkpoint(fs::path const& given) {
  fs::path const path = followed_link(given);
  if (!fs::exists(path)) throw Error(ExitCode::checkpoint, path.string() + ": no such checkpoint or run folder");
  if (checkpoint_step(fs::canonical(path)) || fs::exists(path / "manifest.json")) return path;
  if (fs::path const latest = followed_link(path / "latest"); fs::is_directory(latest)) return latest;
  if (std::vector<fs::path> const found = list_checkpoints(path / "checkpoints"); !found.empty()) return found.back();
  throw Error(ExitCode::checkpoint,
              path.string() + ": neither a checkpoint (no manifest.json) nor a run folder with a checkpoint" + hint_at_runs(path));
}

}  // namespace

fs::path find_checkpoint(fs::path const& path, std::function<void(fs::path const& folder)> const& read) {
  for (fs::path before;;) {
    fs::path const folder = locate_checkpoint(path);
    try {
      verify_checkpoint(folder);
      if (read) read(folder);
      return folder;
    } catch (std::exception const&) {
      if (fs::exists(folder)) throw;
      if (folder == before || !fs::exists(followed_link(path)))
        throw Error(ExitCode::checkpoint, "checkpoint " + folder.string() + " was deleted while it was read (a run keeps its newest " +
                                              "checkpoints alone, see checkpoint.keep)");
      before = folder;  // a run that trains has deleted it: takes the one that is the latest now
    }
  }
}

fs::path followed_link(fs::path const& link) {
  if (link.filename() != "latest" && link.filename() != "best") return link;
  fs::file_status const status = fs::symlink_status(link);
  if (fs::is_symlink(status)) return folder_of(link) / fs::read_symlink(link);
  if (!fs::is_regular_file(status)) return link;
  std::string target = read_file(link);
  target.erase(target.find_last_not_of(" \r\n") + 1);
  return folder_of(link) / target;
}

void point_link(fs::path const& link, fs::path const& target) {
  fs::path temporary = link, folder = link;
  temporary += ".tmp";
  folder += ".old";
  std::error_code error, ignored;
  fs::remove(temporary, ignored);
  fs::create_symlink(target, temporary, error);
  if (error) {  // a file system without symbolic links
    FileWriter file(temporary);
    file.write(target.string() + "\n");
    file.finish();
  }
  // A copy of the run that followed its links: the copied checkpoint makes room.
  if (fs::is_directory(fs::symlink_status(link))) {
    fs::remove_all(folder, ignored);
    rename_folder(link, folder);
  }
  fs::rename(temporary, link, error);
  if (error) throw Error(ExitCode::disk, "cannot point " + link.string() + " at " + target.string() + ": " + error.message());
  fs::remove_all(folder, ignored);
  sync_folder(folder_of(link));
}

}  // namespace isobath
