#pragma once
// What files and command line say, before it becomes a Config: every value with its place; later values replace earlier ones.

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "config/tree.h"

namespace isobath {

struct Setting {
  std::string path;
  Tree value;
  Place key;
};

struct SizeSettings {
  std::string name;
  Place place;
  std::vector<Setting> set;
};

struct ArmSettings {
  std::string name;
  Place place;
  std::vector<Setting> set;  // in order of appearance
  std::vector<SizeSettings> sizes;
  std::map<std::string, Setting> match;     // "forward_flops_of" -> ...
  std::map<std::string, Setting> own = {};  // of arm_fields
};

struct Settings {
  std::map<std::string, Setting> values;  // by path
  std::vector<ArmSettings> arms;
  std::vector<Setting> tuned;                // lists of values to try, by the path of the key they are of
  std::map<std::string, Setting> choice_of;  // by arm: the arm whose tuned setting it takes
};

// Reads files (with their includes) and overrides into one Settings. Unknown and duplicate keys are problems.
class SettingsReader {
 public:
  explicit SettingsReader(Problems& problems) : problems_(problems) {}
  void read_file(std::filesystem::path const& file);
  void read_override(std::string const& text);
  Settings const& settings() const { return settings_; }

 private:
  using Seen = std::map<std::string, Place>;

  void include(std::filesystem::path const& file, Place const* from);
  void read_includes(std::filesystem::path const& folder, Tree const& value);
  void read_map(std::string const& prefix, Tree const& map, Seen& seen);
  void read_entry(std::string const& path, Place const& key, Tree const& value, Seen& seen);
  void read_arms(std::string const& path, Place const& key, Tree const& value, Seen& seen);
  void read_arm(std::string const& name, Place const& key, Tree const& value, Seen& seen);
  void read_arm_part(std::string const& arm, std::string const& path, Place const& key, Tree const& value, Seen& seen);
  void read_match(std::string const& arm, std::string const& name, Place const& key, Tree const& value);
  void read_sizes(std::string const& arm, std::string const& path, Place const& key, Tree const& value, Seen& seen);
  void read_size(std::string const& arm, std::string const& name, Place const& key, Tree const& value, Seen& seen);
  // A key that an arm (at: compare.arms.NAME.set) or one of its sizes sets.
  void read_set(std::string const& at, std::vector<Setting>& set, std::string const& path, Place const& key, Tree const& value, Seen& seen);
  void read_tuned_key(std::string const& path, Place const& key, Tree const& value, Seen& seen);
  void read_choice_of(std::string const& path, Place const& key, Tree const& value, Seen& seen);
  void no_map(std::string const& path, Tree const& value, std::string const& example);
  bool is_duplicate(std::string const& path, Place const& key, Seen& seen);
  void unknown_key(std::string const& path, Place const& key, std::string const& section);
  ArmSettings* find_arm(std::string const& name);

  Problems& problems_;
  Settings settings_;
  std::vector<std::filesystem::path> open_files_;  // canonical, outermost first
  int files_read_ = 0;
  bool overriding_ = false;
};

}  // namespace isobath
