#pragma once
// Configuration files of a test in their own folder, and the problems that loading them reports.

#include <filesystem>
#include <string>
#include <vector>

#include "config/io.h"
#include "core/error.h"
#include "tests/fast/scratch.h"

namespace isobath {

class ConfigFolder {
 public:
  std::filesystem::path file(std::string const& name, std::string const& text) const { return scratch_.write(name, text); }
  std::filesystem::path const& path() const { return scratch_.path(); }

  LoadedConfig load(std::string const& text, std::vector<std::string> const& overrides = {}) const {
    return load_config(file("x.yaml", text), overrides);
  }

  // The problems of `text`, without the folder: "x.yaml:3:11: error: ...".
  std::vector<std::string> problems(std::string const& text, std::vector<std::string> const& overrides = {}) const {
    return problems_of(file("x.yaml", text), overrides);
  }
  std::vector<std::string> problems_of(std::filesystem::path const& file, std::vector<std::string> const& overrides = {}) const {
    try {
      load_config(file, overrides);
    } catch (ConfigError const& error) {
      std::vector<std::string> found;
      for (std::string problem : error.problems()) {
        std::string const prefix = path().string() + "/";
        for (size_t at = 0; (at = problem.find(prefix, at)) != std::string::npos;) problem.erase(at, prefix.size());
        found.push_back(problem);
      }
      return found;
    }
    return {};
  }

 private:
  Scratch scratch_;
};

}  // namespace isobath
