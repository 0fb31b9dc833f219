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

// Reads prompts. A .jsonl file holds one object per line with `prompt` (text) and optionally `id` (text or a whole number) and `seed` (a
// whole number); other keys are ignored, and blank lines may stand only at its end. In any other file every line is a prompt, even an empty
// one. Without an `id`, the line number (from 1) is the id. Either file may be compressed (.gz, .zst). "-" is standard input, one prompt a
// line. Throws Error(data) with file:line for a line that is malformed or not UTF-8, and for a file without prompts.
std::vector<Prompt> read_prompts(fs::path const& path);

}  // namespace isobath
