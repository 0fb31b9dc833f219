// isobath tokenizer train CONFIG -o tokenizer.model [key.path=value ...]
// isobath tokenizer encode TOKENIZER < strings.jsonl

#include <CLI/CLI.hpp>
#include <iostream>
#include <nlohmann/json.hpp>

#include "config/io.h"
#include "core/error.h"
#include "core/files.h"
#include "core/stop.h"
#include "core/streams.h"
#include "core/utf8.h"
#include "data/prepare.h"
#include "trainer/cli/commands.h"

namespace isobath {
namespace {

void train(Target const& target, std::string const& output) {
  fs::path const file = output_file(output, "-o");
  Config const config = load_config(target.path, target.overrides).config;
  auto const tokenizer = make_tokenizer(config);
  write_file_atomic(file, tokenizer->serialized());
  announce_file(file,
                tokenizer->kind() + ", " + std::to_string(tokenizer->vocab_size()) + " pieces, fingerprint " + tokenizer->fingerprint());
}

// Reads a JSON string a line and writes its ids, a JSON array a line.
void encode(std::string const& path) {
  auto const tokenizer = load_tokenizer(expand_user(path));
  Activity const activity("reading standard input", Activity::Loses::nothing);
  std::string line;
  for (int64_t number = 1; std::getline(std::cin, line); ++number) {
    if (number == 1) line.erase(0, byte_order_mark(line));
    auto const text = nlohmann::json::parse(line, nullptr, false);
    if (!text.is_string()) throw Error(ExitCode::data, "standard input, line " + std::to_string(number) + " is no JSON string");
    standard_output() << nlohmann::json(tokenizer->encode(text.get_ref<std::string const&>())).dump() << "\n";
    standard_output().flush();  // for a program that waits for each answer
  }
}

}  // namespace

void add_tokenizer(CLI::App& app) {
  CLI::App* tokenizer = app.add_subcommand("tokenizer", "Train a tokenizer, or encode text with one");
  tokenizer->group("Data");
  tokenizer->require_subcommand(1);
  CLI::App* command = tokenizer->add_subcommand("train", "Train a tokenizer on the training text of an experiment");
  auto target = add_target(*command, "CONFIG", "the experiment whose `data` and `tokenizer` sections to use");
  auto output = std::make_shared<std::string>("tokenizer.model");
  command->add_option("-o,--output", *output, "file to write (a sentencepiece model; use it as tokenizer.kind)")->capture_default_str();
  command->callback([target, output] { train(*target, *output); });

  CLI::App* encoder =
      tokenizer->add_subcommand("encode", "Read a JSON string a line from standard input, write its ids as a JSON array a line");
  auto path = std::make_shared<std::string>();
  encoder->add_option("TOKENIZER", *path, "tokenizer.model, tokenizer.json, a folder that holds one of them, or .gguf")->required();
  encoder->callback([path] { encode(*path); });
}

}  // namespace isobath
