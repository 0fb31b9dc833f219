#include "trainer/generate/prompts.h"

#include "config/row.h"
#include "core/error.h"
#include "core/utf8.h"
#include "data/sources/json_rows.h"

namespace isobath {

namespace {

Prompt prompt_of(JsonRow const& row, std::string const& number) {
  Prompt prompt{number, row.text("prompt"), {}};
  if (auto const id = row.values.find("id"); id != row.values.end()) {
    if (!id->is_string() && !id->is_number_integer()) row.fail("'id' is " + id->dump() + ", not text or a whole number");
    prompt.id = *id;
  }
  if (auto const seed = row.values.find("seed"); seed != row.values.end()) {
    if (!seed->is_number_unsigned()) row.fail("'seed' is " + seed->dump() + ", not a whole number");
    prompt.seed = seed->get<uint64_t>();
    if (static_cast<double>(*prompt.seed) > largest_count) row.fail("'seed' is " + seed->dump() + ", which is too large (up to 2^53)");
  }
  return prompt;
}

}  // namespace

std::vector<Prompt> read_prompts(fs::path const& path) {
  TextFile text(path == "-" ? fs::path("/dev/stdin") : path);
  std::vector<Prompt> prompts;
  auto const number = [&] { return std::to_string(prompts.size() + 1); };
  if (is_named_as_rows(path)) {
    JsonRowReader rows(text, path);
    for (JsonRow row; rows.next(row);) prompts.push_back(prompt_of(row, number()));
  } else {
    text.refuse_what_is_no_text();
    LineReader lines(text);
    for (std::string line; lines.next(line);) {
      if (size_t const valid = utf8_prefix(line); valid < line.size())
        throw Error(ExitCode::data, path.string() + ":" + number() + ": byte " + std::to_string(valid + 1) + " of this line is not UTF-8");
      if (line.ends_with('\r')) line.pop_back();
      prompts.push_back({number(), line, {}});
    }
  }
  if (prompts.empty()) throw Error(ExitCode::data, path.string() + ": no prompts in this file");
  return prompts;
}

}  // namespace isobath
