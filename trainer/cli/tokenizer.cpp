// isobath tokenizer train CONFIG -o tokenizer.model [key.path=value ...]

#include <CLI/CLI.hpp>
#include <iostream>

#include "config/io.h"
#include "core/files.h"
#include "data/prepare.h"
#include "trainer/cli/commands.h"

namespace isobath {
namespace {

void train(Target const& target, std::string const& output) {
  fs::path const file = output_file(output, "-o");
  Config const config = load_config(target.path, target.overrides).config;
  auto const tokenizer = make_tokenizer(config.data, config.tokenizer);
  write_file_atomic(file, tokenizer->serialized());
  std::cout << output << ": " << tokenizer->kind() << ", " << tokenizer->vocab_size() << " pieces, fingerprint " << tokenizer->fingerprint()
            << "\n";
}

}  // namespace

void add_tokenizer(CLI::App& app) {
  CLI::App* tokenizer = app.add_subcommand("tokenizer", "Train a tokenizer");
  tokenizer->group("Data");
  tokenizer->require_subcommand(1);
  CLI::App* command = tokenizer->add_subcommand("train", "Train a tokenizer on the training text of an experiment");
  auto target = add_target(*command, "CONFIG", "the experiment whose `data` and `tokenizer` sections to use");
  auto output = std::make_shared<std::string>("tokenizer.model");
  command->add_option("-o,--output", *output, "file to write (a sentencepiece model; use it as tokenizer.kind)")->capture_default_str();
  command->callback([target, output] { train(*target, *output); });
}

}  // namespace isobath
