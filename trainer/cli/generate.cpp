// isobath generate: text from prompts, on stdout as it comes.

#include "model/generate.h"

#include <CLI/CLI.hpp>
#include <cstdio>

#include "core/config_check.h"
#include "core/error.h"
#include "core/stop.h"
#include "nn/device.h"
#include "trainer/cli/commands.h"
#include "trainer/machine.h"
#include "trainer/sample.h"
#include "trainer/saved_model.h"

namespace isobath {

namespace {

struct GenerateOptions {
  std::vector<std::string> prompts;
  SampleSettings sampling;
  int64_t threads = 0;
  std::string device = "auto";
};

void run_generate(std::string const& path, GenerateOptions const& options) {
  Checkpoint const checkpoint = open_checkpoint(find_checkpoint(path));
  Config config = checkpoint.config;
  config.device = options.device;
  check_config(config);
  open_device(config.device);
  set_threads(options.threads);
  auto const model = load_model(checkpoint);
  place_model(*model, config);
  Tokenizer const& tokenizer = *checkpoint.tokenizer;
  SampleSettings sampling = options.sampling;
  sampling.stop_token = tokenizer.document_end();
  for (std::string const& prompt : options.prompts) {
    std::fwrite(prompt.data(), 1, prompt.size(), stdout);
    generate(*model, prompt_ids(tokenizer, prompt), sampling, [&](int32_t id) {
      std::string const& piece = tokenizer.piece(id);
      std::fwrite(piece.data(), 1, piece.size(), stdout);
      std::fflush(stdout);
      if (int const signal = stop_requested()) throw Error(static_cast<ExitCode>(128 + signal), "");
    });
    std::fputc('\n', stdout);
  }
}

}  // namespace

void add_generate(CLI::App& app) {
  CLI::App* command = app.add_subcommand("generate", "Text from prompts, under causal routing");
  auto const target = add_target(*command, "CHECKPOINT", "Checkpoint, or run folder (its latest)");
  auto const options = std::make_shared<GenerateOptions>();
  options->sampling.max_tokens = 128;
  options->sampling.temperature = 0.8;
  command->add_option("-p,--prompt", options->prompts, "Text to continue; may be given several times")
      ->expected(1)
      ->allow_extra_args(false)
      ->take_all();
  command->add_option("-n,--max-tokens", options->sampling.max_tokens, "New tokens at most")
      ->check(CLI::Range(1, 1 << 30))
      ->capture_default_str();
  command->add_option("-t,--temperature", options->sampling.temperature, "0 takes the likeliest token")
      ->check(CLI::Range(0.0, 100.0))
      ->capture_default_str();
  command->add_option("--seed", options->sampling.seed, "Equal seeds give equal text")->capture_default_str();
  command->add_option("--threads", options->threads, "CPU threads; 0: all")->check(CLI::Range(0, 4096));
  command->add_option("--device", options->device, "cpu, cuda, cuda:1, or auto: the first GPU, else the CPU")->capture_default_str();
  command->callback([target, options] {
    if (!target->overrides.empty()) throw Error(ExitCode::config, "'" + target->overrides.front() + "': generate takes options, no keys");
    if (options->prompts.empty()) options->prompts.push_back("");
    run_generate(target->path, *options);
  });
}

}  // namespace isobath
