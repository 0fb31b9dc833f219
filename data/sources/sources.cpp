#include "data/sources/sources.h"

#include <fnmatch.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <functional>
#include <set>

#include "core/error.h"

namespace isobath {
namespace {

constexpr char const* headers_source = "libtorch-headers";
constexpr int64_t largest_header = 256 << 10;  // larger headers are generated code

[[noreturn]] void bad_source(std::string const& source, std::string const& why) {
  throw Error(ExitCode::data, "data source '" + source + "': " + why);
}

// The file at the end of links. Throws Error(data) for what cannot be read again and again as a regular file.
SourceFile source_file(fs::path const& path) {
  fs::file_status const status = fs::status(path);
  if (!fs::exists(status)) bad_source(path.string(), "this link points to nothing");
  if (!fs::is_regular_file(status)) {
    std::string const what = fs::is_fifo(status)
                                 ? "a pipe, and text is read from files, more than once: write what comes out of it to a file"
                             : fs::is_socket(status) ? "a socket, not a regular file"
                                                     : "a device, not a regular file: write the text to a file";
    bad_source(path.string(), "this is " + what);
  }
  SourceFile file;
  file.path = path;
  file.stamp = stamp_of(path);
  return file;
}

bool is_hidden(fs::path const& path) { return path.filename().string().starts_with('.'); }

// Names of what is not hidden in `folder`, sorted. Throws fs::filesystem_error where it cannot be read.
std::vector<fs::path> names_in(fs::path const& folder) {
  std::vector<fs::path> names;
  for (auto const& entry : fs::directory_iterator(folder.empty() ? "." : folder))
    if (!is_hidden(entry.path())) names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

using MayEnter = std::function<bool(fs::path const& folder)>;

// Adds `folder` and all folders below it, links followed, each once: a link may lead to a folder that is there already, or above itself.
void add_folders(fs::path const& folder, MayEnter const& may_enter, std::set<fs::path>& seen, std::vector<fs::path>& found) {
  if (!seen.insert(fs::canonical(folder.empty() ? "." : folder)).second) return;
  found.push_back(folder);
  for (fs::path const& name : names_in(folder))
    if (fs::is_directory(folder / name) && may_enter(folder / name)) add_folders(folder / name, may_enter, seen, found);
}

std::vector<fs::path> folders_below(
    fs::path const& folder, MayEnter const& may_enter = [](fs::path const&) { return true; }) {
  std::set<fs::path> seen;
  std::vector<fs::path> found;
  add_folders(folder, may_enter, seen, found);
  return found;
}

// Everything in these folders that is no folder, sorted by path.
std::vector<fs::path> files_in(std::vector<fs::path> const& folders) {
  std::vector<fs::path> files;
  for (fs::path const& folder : folders)
    for (fs::path const& name : names_in(folder))
      if (!fs::is_directory(folder / name)) files.push_back(folder / name);
  std::sort(files.begin(), files.end(), [](fs::path const& a, fs::path const& b) { return a.native() < b.native(); });
  return files;
}

// Adds the paths below `base` that match the components [begin, end) of a pattern.
void match_glob(fs::path const& base, fs::path::iterator begin, fs::path::iterator end, std::vector<fs::path>& found) {
  if (begin == end) {
    found.push_back(base);
    return;
  }
  std::string const component = begin->string();
  fs::path::iterator const rest = std::next(begin);
  if (component.find_first_of("*?[") == std::string::npos) {
    fs::path const next = base / component;
    if (fs::exists(next) || fs::is_symlink(next)) match_glob(next, rest, end, found);
  } else if (!base.empty() && !fs::is_directory(base)) {
    return;
  } else if (component == "**") {
    for (fs::path const& folder : folders_below(base)) match_glob(folder, rest, end, found);
  } else {
    for (auto const& entry : fs::directory_iterator(base.empty() ? "." : base)) {
      std::string const name = entry.path().filename().string();
      if (::fnmatch(component.c_str(), name.c_str(), FNM_PERIOD) == 0) match_glob(base / name, rest, end, found);
    }
  }
}

std::vector<fs::path> glob_files(fs::path const& pattern) {
  std::vector<fs::path> matches, files;
  match_glob("", pattern.begin(), pattern.end(), matches);
  for (fs::path const& match : matches) {
    if (match.empty() || fs::is_directory(match)) {
      auto const below = files_in(folders_below(match));
      files.insert(files.end(), below.begin(), below.end());
    } else {
      files.push_back(match);
    }
  }
  std::sort(files.begin(), files.end());
  files.erase(std::unique(files.begin(), files.end()), files.end());  // `**` matches a folder and the folders in it
  return files;
}

fs::path headers_folder() {
  char const* const chosen = std::getenv("ISOBATH_TORCH_INCLUDE_DIR");
  return chosen && *chosen ? chosen : ISOBATH_TORCH_INCLUDE_DIR;
}

// Lists only hand-written headers: generated ones are near-duplicates, so that training text would reappear in the validation text.
std::vector<SourceFile> list_headers() {
  static constexpr std::array<char const*, 5> extensions{".h", ".hpp", ".cuh", ".hh", ".inl"};
  fs::path const folder = headers_folder();
  if (!fs::is_directory(folder / "ATen")) {
    bad_source(headers_source, "no LibTorch headers in " + folder.string() +
                                   "; set the environment variable ISOBATH_TORCH_INCLUDE_DIR to the include folder of a LibTorch, or give "
                                   "data.sources text of your own");
  }
  auto const hand_written = [&](fs::path const& below) { return below != folder / "ATen" / "ops" && below.filename() != "generated"; };
  std::vector<SourceFile> files;
  for (fs::path const& path : files_in(folders_below(folder, hand_written))) {
    if (std::find(extensions.begin(), extensions.end(), path.extension()) == extensions.end()) continue;
    SourceFile file = source_file(path);
    if (file.stamp.bytes > largest_header) continue;
    file.header = true;
    files.push_back(std::move(file));
  }
  return files;
}

std::vector<SourceFile> list_source(std::string const& source) {
  if (source == headers_source) return list_headers();
  fs::path const path = expand_user(source);
  std::vector<fs::path> paths;
  bool named = false;
  if (fs::is_directory(path)) {
    paths = files_in(folders_below(path));
  } else if (fs::exists(path) || fs::is_symlink(path)) {
    paths = {path};
    named = true;
  } else if (source.find_first_of("*?[") != std::string::npos) {
    paths = glob_files(path);
  } else {
    bad_source(source, "there is no such file or folder" + (path.is_absolute() ? "" : " in " + fs::current_path().string()));
  }
  std::vector<SourceFile> files;
  for (fs::path const& each : paths) {
    files.push_back(source_file(each));
    files.back().named = named;
  }
  return files;
}

}  // namespace

std::vector<SourceFile> list_sources(std::vector<std::string> const& sources) {
  std::vector<SourceFile> all;
  for (std::string const& source : sources) {
    std::vector<SourceFile> files;
    try {
      files = list_source(source);
    } catch (fs::filesystem_error const& error) {
      bad_source(source, "cannot read " + error.path1().string() + ": " + error.code().message());
    }
    if (files.empty()) bad_source(source, "it matches no file");
    all.insert(all.end(), std::make_move_iterator(files.begin()), std::make_move_iterator(files.end()));
  }
  return all;
}

}  // namespace isobath
