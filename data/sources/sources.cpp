#include "data/sources/sources.h"

#include <fnmatch.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <optional>

#include "core/error.h"

namespace isobath {
namespace {

constexpr char const* headers_source = "libtorch-headers";
constexpr int64_t largest_header = 256 << 10;  // larger headers are generated code

[[noreturn]] void bad_source(std::string const& source, std::string const& why) {
  throw Error(ExitCode::data, "data source '" + source + "': " + why);
}

std::optional<SourceFile> stat_file(fs::path const& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0 || S_ISDIR(status.st_mode)) return std::nullopt;
  SourceFile file;
  file.path = path;
  file.bytes = status.st_size;
  file.modified = int64_t{status.st_mtim.tv_sec} * 1'000'000'000 + status.st_mtim.tv_nsec;
  return file;
}

bool is_hidden(fs::path const& path) { return path.filename().string().starts_with('.'); }

// Regular files below `folder`, sorted by relative path. `enter` says whether to look into a folder, given its path relative to `folder`.
std::vector<fs::path> walk(fs::path const& folder, std::function<bool(fs::path const&)> const& enter) {
  std::vector<fs::path> files;
  for (fs::recursive_directory_iterator it(folder, fs::directory_options::skip_permission_denied), end; it != end; ++it) {
    if (is_hidden(it->path())) {
      it.disable_recursion_pending();
    } else if (it->is_directory()) {
      if (!enter(it->path().lexically_relative(folder))) it.disable_recursion_pending();
    } else if (it->is_regular_file()) {
      files.push_back(it->path());
    }
  }
  std::sort(files.begin(), files.end(), [](fs::path const& a, fs::path const& b) { return a.native() < b.native(); });
  return files;
}

std::vector<fs::path> walk_all(fs::path const& folder) {
  return walk(folder, [](fs::path const&) { return true; });
}

// Adds the paths below `base` that match the components [begin, end) of a pattern.
void match_glob(fs::path const& base, fs::path::iterator begin, fs::path::iterator end, std::vector<fs::path>& found) {
  if (begin == end) {
    found.push_back(base);
    return;
  }
  std::string const component = begin->string();
  fs::path::iterator const rest = std::next(begin);
  std::error_code ignored;
  if (component == "**") {
    match_glob(base, rest, end, found);
    for (auto const& entry : fs::directory_iterator(base.empty() ? "." : base, fs::directory_options::skip_permission_denied, ignored)) {
      if (entry.is_directory(ignored) && !entry.is_symlink(ignored) && !is_hidden(entry.path())) {
        match_glob(base / entry.path().filename(), begin, end, found);
      }
    }
  } else if (component.find_first_of("*?[") == std::string::npos) {
    if (fs::exists(base / component, ignored)) match_glob(base / component, rest, end, found);
  } else {
    for (auto const& entry : fs::directory_iterator(base.empty() ? "." : base, fs::directory_options::skip_permission_denied, ignored)) {
      std::string const name = entry.path().filename().string();
      if (::fnmatch(component.c_str(), name.c_str(), FNM_PERIOD) == 0) match_glob(base / name, rest, end, found);
    }
  }
}

std::vector<fs::path> glob_files(fs::path const& pattern) {
  std::vector<fs::path> matches, files;
  match_glob("", pattern.begin(), pattern.end(), matches);
  for (fs::path const& match : matches) {
    if (fs::is_directory(match)) {
      auto const below = walk_all(match);
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
  auto const hand_written = [](fs::path const& below) { return below != fs::path("ATen") / "ops" && below.filename() != "generated"; };
  std::vector<SourceFile> files;
  for (fs::path const& path : walk(folder, hand_written)) {
    if (std::find(extensions.begin(), extensions.end(), path.extension()) == extensions.end()) continue;
    auto file = stat_file(path);
    if (!file || file->bytes > largest_header) continue;
    file->header = true;
    files.push_back(*file);
  }
  return files;
}

std::vector<SourceFile> list_source(std::string const& source) {
  if (source == headers_source) return list_headers();
  fs::path const path = expand_user(source);
  std::vector<fs::path> paths;
  bool named = false;
  if (fs::is_directory(path)) {
    paths = walk_all(path);
  } else if (fs::exists(path)) {
    paths = {path};
    named = true;
  } else if (source.find_first_of("*?[") != std::string::npos) {
    paths = glob_files(path);
  } else {
    bad_source(source, "there is no such file or folder" + (path.is_absolute() ? "" : " in " + fs::current_path().string()));
  }
  std::vector<SourceFile> files;
  for (fs::path const& each : paths) {
    if (auto file = stat_file(each)) {
      file->named = named;
      files.push_back(*file);
    }
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
