#include "trainer/generate/prompts.h"

#include <functional>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json_nesting.h"
#include "core/utf8.h"
#include "data/sources/byte_reader.h"

namespace isobath {

namespace {

using Complain = std::function<void(std::string const&)>;  // throws, naming the line

Prompt prompt_of_json(std::string const& line, std::string const& number, Complain const& complain) {
  if (nests_too_deep(line)) complain("this line nests more than " + std::to_string(deepest_json) + " levels deep");
  nlohmann::json const row = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (row.is_discarded()) complain("this line is not JSON (a .jsonl file holds one object a line)");
  if (!row.is_object()) complain(std::string("this line is a JSON ") + row.type_name() + ", not an object with the key 'prompt'");
  auto const text = row.find("prompt");
  if (text == row.end()) {
    std::string keys;
    for (auto const& [name, value] : row.items()) keys += (keys.empty() ? "" : ", ") + name;
    complain("no key 'prompt' in this row, which has: " + (keys.empty() ? "nothing" : keys));
  }
  if (!text->is_string()) complain(std::string("'prompt' is a ") + text->type_name() + ", not text");
  Prompt prompt{number, text->get<std::string>(), {}};
  if (auto const id = row.find("id"); id != row.end()) {
    if (!id->is_string() && !id->is_number_integer()) complain("'id' is " + id->dump() + ", not text or a whole number");
    prompt.id = *id;
  }
  if (auto const seed = row.find("seed"); seed != row.end()) {
    if (!seed->is_number_unsigned()) complain("'seed' is " + seed->dump() + ", not a whole number");
    prompt.seed = seed->get<uint64_t>();
  }
  return prompt;
}

}  // namespace

std::vector<Prompt> read_prompts(fs::path const& path) {
  bool const is_json = without_compression(path).extension() == ".jsonl";
  auto const reader = open_bytes(path == "-" ? fs::path("/dev/stdin") : path);
  LineReader lines(*reader);
  std::vector<Prompt> prompts;
  int64_t blank = 0;  // the first blank line of a .jsonl file; 0: none yet
  for (std::string line; lines.next(line);) {
    auto const complain_at = [&](int64_t number, std::string const& what) {
      throw Error(ExitCode::data, path.string() + ":" + std::to_string(number) + ": " + what);
    };
    auto const complain = [&](std::string const& what) { complain_at(lines.number(), what); };
    if (size_t const valid = utf8_prefix(line); valid < line.size()) {
      complain("byte " + std::to_string(valid + 1) + " of this line is not UTF-8");
    }
    std::string const number = std::to_string(lines.number());
    if (!is_json) {
      if (line.ends_with('\r')) line.pop_back();
      prompts.push_back({number, line, {}});
    } else if (line.find_first_not_of(" \t\r") == std::string::npos) {
      if (blank == 0) blank = lines.number();
    } else {
      if (blank > 0) complain_at(blank, "this line is blank (a .jsonl file holds one object a line, and blank lines at its end only)");
      prompts.push_back(prompt_of_json(line, number, complain));
    }
  }
  if (prompts.empty()) throw Error(ExitCode::data, path.string() + ": no prompts in this file");
  return prompts;
}

}  // namespace isobath
