#pragma once
// Prompts from a file.

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "core/files.h"

namespace isobath {

struct Prompt {
  nlohmann::json id;  // text or a whole number, as it came
  std::string text;
  std::optional<uint64_t> seed;  // of its own
};

// Reads prompts. A file of rows (.jsonl, .json and their like, data/sources/json_rows.h) holds objects with `prompt` (text) and optionally
// `id` (text or a whole number) and `seed` (as the key `seed`); other fields are ignored. In any other file every line is a prompt, even an
// empty one. Without an `id`, its number (from 1) is the id. Either file may be compressed. "-" is standard input, one prompt a line.
// Throws Error(data) with file:line for a row that is malformed and a line that is not UTF-8, and for a file without prompts.
std::vector<Prompt> read_prompts(fs::path const& path);

}  // namespace isobath
