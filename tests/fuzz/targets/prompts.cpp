// Files of prompts, as JSON rows and as plain lines.
#include "trainer/generate/prompts.h"

#include "core/error.h"
#include "core/utf8.h"
#include "tests/fuzz/target.h"

void isobath::fuzz::read(std::string_view input) {
  for (char const* name : {"prompts.jsonl", "prompts.txt"}) {
    try {
      for (Prompt const& prompt : read_prompts(file(name, input)))
        require(utf8_prefix(prompt.text) == prompt.text.size(), "prompts are UTF-8");
    } catch (Error const&) {
    }
  }
}
