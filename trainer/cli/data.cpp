// isobath data prepare CONFIG [key.path=value ...]

#include <CLI/CLI.hpp>

#include "core/streams.h"
#include "core/units.h"
#include "data/prepare.h"
#include "trainer/cli/commands.h"
#include "trainer/pretrained/experiment_config.h"

namespace isobath {
namespace {

void print_part(char const* name, size_t shards, int64_t tokens, int64_t bytes) {
  standard_output() << name << tokens << " tokens, " << bytes << " bytes of text ("
                    << static_cast<double>(bytes) / static_cast<double>(tokens) << " a token), " << shards
                    << (shards == 1 ? " shard\n" : " shards\n");
}

void prepare(Target const& target) {
  Config const config = load_experiment(target.path, target.overrides).config;
  PreparedData const data = prepare_data(config);
  standard_output() << "folder      " << data.folder.string() << (data.from_cache ? " (was there)\n" : "\n") << "documents   "
                    << data.documents << " (" << data.duplicates_removed << " copies removed)\n"
                    << "tokenizer   " << data.tokenizer->kind() << ", " << data.tokenizer->vocab_size() << " pieces, fingerprint "
                    << data.tokenizer->fingerprint() << "\n";
  print_part("training    ", data.train.size(), data.train_tokens, data.train_bytes);
  print_part("validation  ", data.valid.size(), data.valid_tokens, data.valid_bytes);
}

}  // namespace

void add_data(CLI::App& app) {
  CLI::App* data = app.add_subcommand("data", "Prepare text for training");
  data->group("Data");
  data->require_subcommand(1);
  CLI::App* command = data->add_subcommand("prepare", "Read the sources, train the tokenizer, write token shards into the cache");
  auto target = add_target(*command, "CONFIG", "the experiment whose data to prepare");
  command->callback([target] { prepare(*target); });
}

}  // namespace isobath
