// isobath analyze: which inputs get the compute, and what layers are worth.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>

#include "config/io.h"
#include "core/error.h"
#include "core/stop.h"
#include "core/streams.h"
#include "trainer/cli/commands.h"
#include "trainer/cli/eval_text.h"
#include "trainer/cli/options.h"
#include "trainer/evaluate/depth_analysis.h"
#include "trainer/evaluate/layer_importance.h"
#include "trainer/pretrained/pretrained.h"

namespace isobath {

namespace {

struct AnalyzeOptions {
  std::vector<std::string> texts;
  int64_t at_least = default_at_least, most = default_most;
  std::string layers;  // parts of layers that are left out in turn, "block,attention"; empty: nothing is left out
  int64_t remove = 0;  // layers, one after the other
  bool json = false;
};

std::string printed(LayerImportance const& found, AnalyzeOptions const& options) {
  return options.json ? found.json().dump(2) + "\n" : found.table();
}

void run_analyze(Target const& target, AnalyzeOptions const& options) {
  Checkpoint const checkpoint = open_model(target.path);
  Config const config = eval_config(checkpoint, target.overrides);
  EvalSubject const subject(checkpoint, config, options.texts);
  auto const& [text, model, settings] = subject;

  auto const stopped = [] { return stop_requested() != 0; };
  if (!options.layers.empty()) {
    std::vector<RoutedPart> parts;
    std::istringstream names(options.layers);
    for (std::string name; std::getline(names, name, ',');) {
      Choice<RoutedPart> part = RoutedPart::block;
      if (std::find(part.names().begin(), part.names().end(), name) == part.names().end())
        throw Error(ExitCode::config, "--layers: '" + name + "' is no part of a layer (block, attention, mlp)");
      part = name;
      parts.push_back(part);
    }
    EvalSettings limited = settings;
    limited.tokens = config.eval.final_tokens;  // of --text, too, which is otherwise read to its end
    std::optional<LayerImportance> const found = measure_layers(*model, *text.windows, parts, options.remove, limited, stopped);
    if (!found) throw Stopped(stop_requested(), "");
    standard_output() << printed(*found, options);
    return;
  }
  DepthAnalysis analysis(config.model.layers);
  bool const done = visit_tokens(
      *model, *text.windows, *checkpoint.tokenizer, settings, [&](TokenOutcome const& token) { analysis.add(token); }, stopped);
  if (!done) throw Stopped(stop_requested(), "");
  auto const most = static_cast<size_t>(options.most);
  standard_output() << (options.json
                            ? analysis.json(options.at_least, most).dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n"
                            : analysis.table(options.at_least, most));
}

}  // namespace

void add_analyze(CLI::App& app) {
  CLI::App* command = app.add_subcommand("analyze", "Which tokens and words get the compute; what each layer is worth (--layers)");
  command->footer(
      "Reads the run's validation text under causal routing, with the checkpoint's own decisions.\n\n"
      "Examples:\n  isobath analyze runs/quickstart/mod/seed-1\n  isobath analyze runs/tiny --text book.txt --json\n"
      "  isobath analyze model.gguf --text book.txt --layers block,attention eval.final_tokens=64Ki model.context=512");
  auto const target = add_target(*command, "CHECKPOINT", "Checkpoint, or run folder (its latest)");
  auto const options = std::make_shared<AnalyzeOptions>();
  command->add_option("--text", options->texts, "Read all of this text instead (one file, folder or glob; given again for more)")
      ->type_name("FILE")
      ->expected(1)
      ->allow_extra_args(false)
      ->take_all();
  add_number(*command, &options->at_least,
             {.name = "--at-least", .help = "Leave out tokens and words that occur less often", .min = 1, .max = 1 << 30});
  add_number(*command, &options->most, {.name = "--most", .help = "Length of each list", .min = 1, .max = 1 << 20});
  CLI::Option* const layers =
      command
          ->add_option("--layers", options->layers,
                       "Instead: the loss of a dense model without each layer in turn (block), without its attention, without its mlp")
          ->type_name("PARTS");
  add_number(*command, &options->remove,
             {.name = "--remove",
              .help = "With --layers: then remove the least missed layer, measure the others again without it, and so on, so many times",
              .min = 1,
              .max = 4095})
      ->needs(layers);
  command->add_flag("--json", options->json, "Print JSON");
  command->callback([target, options] { run_analyze(*target, *options); });
}

}  // namespace isobath
