#include "config/settings.h"

#include <algorithm>
#include <fstream>

#include "config/fields.h"
#include "config/other_names.h"
#include "config/values.h"
#include "core/files.h"
#include "core/utf8.h"

namespace isobath {
namespace {

constexpr int most_files = 64;
constexpr size_t most_bytes = (1 << 20) + 1;

std::string joined(std::string const& prefix, std::string const& key) { return prefix.empty() ? key : prefix + "." + key; }

std::string last_part(std::string const& path) { return path.substr(path.rfind('.') + 1); }

// "did you mean": the key of the same section by its last part, any other by its whole path.
std::string suggestion(std::string const& path, std::string const& section) {
  std::vector<std::string> paths, parts;
  for (ConfigField const& field : config_fields()) {
    paths.push_back(field.path);
    std::string const own(section_of(field.path));
    if (!own.empty() && std::find(paths.begin(), paths.end(), own) == paths.end()) paths.push_back(own);
    if (own == section) parts.push_back(last_part(field.path));
    if (own == path) return "";
  }
  if (section == "compare") parts.insert(parts.end(), {"arms", "tune", "keys", "as"});
  if (section.empty()) paths.push_back("include");
  std::string const last = last_part(path);
  if (std::string const here = known_elsewhere(last); !here.empty()) return " (" + here + ")";
  std::string near = section.empty() ? nearest(path, paths) : nearest(last, parts);
  if (near.empty()) near = nearest(path, paths);
  if (near.empty()) {
    // The right name in the wrong section.
    std::vector<std::string> lasts;
    for (ConfigField const& field : config_fields()) lasts.push_back(last_part(field.path));
    std::string const word = nearest(last, lasts);
    for (ConfigField const& field : config_fields()) {
      if (!word.empty() && last_part(field.path) == word) {
        near = field.path;
        break;
      }
    }
  }
  if (near.empty()) {
    // A misspelling of a name that other trainers use.
    std::string const other = last.size() < 6 ? "" : nearest(last, names_elsewhere());
    if (!other.empty()) return " (" + known_elsewhere(other) + ")";
  }
  return near.empty() ? "" : " (did you mean '" + near + "'?)";
}

bool is_at_or_below(std::string const& path, std::string const& top) { return path == top || path.starts_with(top + "."); }

bool read_up_to(fs::path const& file, size_t limit, std::string& text) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream) return false;
  text.resize(limit);
  stream.read(text.data(), static_cast<std::streamsize>(limit));
  text.resize(static_cast<size_t>(stream.gcount()));
  return !stream.bad();
}

}  // namespace

void SettingsReader::read_file(fs::path const& file) { include(file, nullptr); }

void SettingsReader::include(fs::path const& file, Place const* from) {
  // A problem with an included file is reported at the place that includes it.
  auto const complain = [&](std::string const& message) {
    if (from != nullptr) {
      problems_.add(*from, "include: " + file.string() + ": " + message);
    } else {
      problems_.add(file.string() + ": error: " + message);
    }
  };
  std::error_code error;
  fs::path const canonical = fs::weakly_canonical(file, error);
  if (std::find(open_files_.begin(), open_files_.end(), canonical) != open_files_.end()) {
    std::string chain;
    for (fs::path const& open : open_files_) chain += open.filename().string() + " -> ";
    return complain("files include each other in a circle (" + chain + canonical.filename().string() + ")");
  }
  if (++files_read_ > most_files) return complain("more than " + std::to_string(most_files) + " files in one configuration");
  if (!fs::exists(file, error)) return complain("no such file");
  if (fs::is_directory(file, error)) {
    return complain(fs::exists(file / "config.yaml", error) ? "is a folder; its configuration is " + (file / "config.yaml").string()
                                                            : "is a folder, not a YAML file");
  }
  if (fs::is_fifo(file, error) || fs::is_socket(file, error))
    return complain("is a pipe, and a configuration is read more than once: write it to a file");
  std::string text;
  if (!read_up_to(file, most_bytes, text)) return complain("cannot be read");
  text.erase(0, byte_order_mark(text));

  auto const source = std::make_shared<Source const>(Source{file.string(), split_lines(text)});
  Tree const tree = parse_tree(text, source, problems_);
  if (tree.kind == Tree::Kind::null) return;  // empty, or refused as a whole
  if (tree.kind != Tree::Kind::map) {
    problems_.add(tree.place, "a configuration is a map of keys (name: ..., model: ...)");
    return;
  }
  open_files_.push_back(canonical);
  for (auto const& [key, value] : tree.entries) {
    if (key.text == "include") read_includes(file.parent_path(), value);
  }
  Seen seen;
  read_map("", tree, seen);
  open_files_.pop_back();
}

void SettingsReader::read_includes(fs::path const& folder, Tree const& value) {
  auto const one = [&](Tree const& name) {
    if (name.kind != Tree::Kind::scalar || name.text.empty()) {
      problems_.add(name.place, "include: names a YAML file or a list of them");
      return;
    }
    fs::path const path = expand_user(name.text);
    include(path.is_absolute() || folder.empty() ? path : (folder / path).lexically_normal(), &name.place);
  };
  if (value.kind != Tree::Kind::list) return one(value);
  for (Tree const& item : value.items) one(item);
}

void SettingsReader::read_override(std::string const& text) {
  auto const source = std::make_shared<Source const>(Source{"command line", {text}, false});
  size_t const equals = text.find('=');
  Place const key{source, 1, 1};
  if (size_t const valid = utf8_prefix(text); valid < text.size()) {
    problems_.add("command line: error: " + text.substr(0, std::min(equals, valid)) + ": byte " + std::to_string(valid + 1) +
                  " of this argument is not UTF-8, and config.yaml is: rename the file or folder, or make a link to it");
    return;
  }
  if (equals == std::string::npos || equals == 0) {
    problems_.add(key, "'" + text + "' does not read key.path=value");
    return;
  }
  std::string const path = text.substr(0, equals), value = text.substr(equals + 1);
  auto const column = static_cast<int>(equals) + 2;
  Tree tree;
  ConfigField const* const field = find_field(path);
  bool const is_text = field != nullptr && (field->kind == Kind::text || field->kind == Kind::text_list || field->kind == Kind::choice);
  char const first = value.empty() ? '\0' : value[0];
  if (is_text && first != '"' && first != '\'' && !(field->kind == Kind::text_list && first == '[')) {
    // Words from the command line are taken as they are: no YAML in "eval.sample_prompt=Once upon: a time".
    tree.kind = Tree::Kind::scalar;
    tree.place = {source, 1, column};
    tree.text = value;
    tree.quoted = true;
  } else {
    Problems own;
    tree = parse_tree(value, source, own, column);
    if (!own.empty()) {
      for (std::string const& problem : own.sorted()) problems_.add(problem);
      return;
    }
    if (tree.kind == Tree::Kind::null) tree.place = {source, 1, column};
  }
  if (path == "include") {
    problems_.add(key, "include: belongs in a file");
    return;
  }
  Seen seen;
  overriding_ = true;
  read_entry(path, key, tree, seen);
  overriding_ = false;
}

void SettingsReader::read_map(std::string const& prefix, Tree const& map, Seen& seen) {
  for (auto const& [key, value] : map.entries) read_entry(joined(prefix, key.text), key.place, value, seen);
}

bool SettingsReader::is_duplicate(std::string const& path, Place const& key, Seen& seen) {
  auto const [first, fresh] = seen.emplace(path, key);
  if (!fresh) problems_.add(key, "duplicate key '" + path + "' (first on line " + std::to_string(first->second.line) + ")");
  return !fresh;
}

void SettingsReader::no_map(std::string const& path, Tree const& value, std::string const& example) {
  problems_.add(value.place, "'" + path + "' holds keys (" + last_part(path) + ": " + example + "), not " +
                                 (value.kind == Tree::Kind::list ? "a list" : "'" + value.text + "'"));
}

void SettingsReader::unknown_key(std::string const& path, Place const& key, std::string const& section) {
  problems_.add(key, "unknown key '" + path + "'" + (problems_.is_plenty() ? "" : suggestion(path, section)));
}

void SettingsReader::read_entry(std::string const& path, Place const& key, Tree const& value, Seen& seen) {
  if (is_duplicate(path, key, seen)) return;
  if (path == "include") return;  // read before everything else
  if (ConfigField const* field = find_field(path)) {
    settings_.values[field->path] = {path, value, key};
    return;
  }
  if (is_at_or_below(path, "compare.arms")) return read_arms(path, key, value, seen);
  if (is_at_or_below(path, "compare.tune.keys")) return read_tuned_key(path, key, value, seen);
  if (is_at_or_below(path, "compare.tune.as")) return read_choice_of(path, key, value, seen);
  if (is_section(path)) {
    if (value.kind == Tree::Kind::null) return;
    if (value.kind == Tree::Kind::map) return read_map(path, value, seen);
    return no_map(path, value, path == "depth" ? "{kind: mod}" : "{...}");
  }
  unknown_key(path, key, std::string(section_of(path)));
}

}  // namespace isobath
