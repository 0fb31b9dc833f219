#pragma once
// Prompts from a file.

#include <string>
#include <vector>

#include "core/files.h"

namespace isobath {

struct Prompt {
  std::string id;
  std::string text;
};

// Of a .jsonl file: one object a line with `prompt` (text) and optionally `id` (text or a whole number; other keys are not looked at);
// blank lines at its end only. Of any other file: every line, an empty one included. Without `id`, the line number from 1 is it. Either
// may be compressed (.gz, .zst). Throws Error(data) with file:line for a line that is none of this or not UTF-8, and for a file without
// prompts.
std::vector<Prompt> read_prompts(fs::path const& path);

}  // namespace isobath
