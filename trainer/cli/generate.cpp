// isobath generate: text from prompts, printed to stdout while it is generated.

#include "model/decode/generate.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <iostream>
#include <iterator>

#include <algorithm>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "config/io.h"
#include "core/error.h"
#include "core/log.h"
#include "core/stop.h"
#include "core/streams.h"
#include "core/units.h"
#include "core/utf8.h"
#include "nn/device.h"
#include "trainer/cli/commands.h"
#include "trainer/cli/options.h"
#include "trainer/evaluate/sample.h"
#include "trainer/generate/prompts.h"
#include "trainer/generate/text_stream.h"
#include "trainer/pretrained/pretrained.h"
#include "trainer/run/machine.h"
#include "trainer/run/saved_model.h"

namespace isobath {

namespace {

struct GenerateOptions {
  std::vector<std::string> prompts, stops;
  std::string file;
  GenerateSettings settings;
  int64_t seed = 1;
  bool show_depth = false;
  int64_t threads = 0;
  std::string device = "auto";
};

// Colours text by depth, from blue for few blocks to red for all of them.
std::string coloured(std::string const& text, int64_t depth, int64_t layers) {
  constexpr int colours[] = {27, 38, 35, 106, 178, 208, 196};
  auto const step = static_cast<size_t>(layers > 0 ? 6 * depth / layers : 0);
  return "\033[38;5;" + std::to_string(colours[step]) + "m" + text + "\033[0m";
}

// "blocks: 2 (41 %) 3 (0 %) 4 (59 %), mean 3.18", each number in its colour.
std::string depth_legend(std::vector<int64_t> const& depths, int64_t layers) {
  std::map<int64_t, int64_t> counts;
  double sum = 0;
  for (int64_t const depth : depths) {
    ++counts[depth];
    sum += static_cast<double>(depth);
  }
  auto const n = static_cast<double>(std::max<int64_t>(1, std::ssize(depths)));
  std::string text = "blocks:";
  for (auto const& [depth, count] : counts)
    text += " " + coloured(std::to_string(depth), depth, layers) + fmt::format(" ({:.0f} %)", 100 * static_cast<double>(count) / n);
  return text + fmt::format(", mean {:.2f} of {}", sum / n, layers);
}

// Prints one text on the terminal while it is generated.
class TerminalPrinter {
 public:
  TerminalPrinter(Tokenizer const& tokenizer, GenerateOptions const& options, int64_t layers)
      : tokenizer_(tokenizer), options_(options), layers_(layers), stream_(options.stops) {}

  // prompt: the token ids whose depths come with the first new token.
  bool add(NewToken const& token, std::vector<int32_t> const& prompt) {
    depths_.insert(depths_.end(), token.depths.begin(), token.depths.end());
    if (options_.show_depth) {
      if (!std::exchange(began_, true))
        for (size_t i = 0; i < prompt.size(); ++i) print(coloured(tokenizer_.piece(prompt[i]), depth_at(token, i, prompt.size()), layers_));
      else
        print(coloured(waiting_, token.depths.back(), layers_));
      waiting_ = stream_.add(tokenizer_.piece(token.drawn.id));
    } else {
      print(stream_.add(tokenizer_.piece(token.drawn.id)));
    }
    standard_output().flush();
    return !stream_.stopped();
  }
  void finish() { print(waiting_ + stream_.finish() + "\n"); }
  std::vector<int64_t> const& depths() const { return depths_; }  // of all tokens that the model has read

 private:
  // Depth of the prompt token at `place`; 0 for tokens before the model's window, whose depths are unknown.
  static int64_t depth_at(NewToken const& token, size_t place, size_t count) {
    size_t const hidden = count - std::min(count, token.depths.size());
    return place < hidden ? 0 : token.depths[place - hidden];
  }
  static void print(std::string const& text) { standard_output() << text; }

  Tokenizer const& tokenizer_;
  GenerateOptions const& options_;
  int64_t layers_;
  TextStream stream_;
  bool began_ = false;
  std::vector<int64_t> depths_;
  std::string waiting_;  // the last token; its depth is known once the model has read it
};

// Prints one JSON object per text, in the order of the prompts and their samples, each as soon as it and those before it have ended.
class JsonLinesPrinter {
 public:
  JsonLinesPrinter(Tokenizer const& tokenizer, GenerateOptions const& options, std::vector<Prompt> const& prompts)
      : tokenizer_(tokenizer),
        prompts_(prompts),
        samples_(static_cast<size_t>(options.settings.samples)),
        lines_(prompts.size() * samples_, Line{TextStream(options.stops)}) {}

  bool add(NewToken const& token) {
    Line& line = lines_[token.text];
    line.text += line.stream.add(tokenizer_.piece(token.drawn.id));
    line.log_probabilities.push_back(token.drawn.log_probability);
    ++tokens_;
    live_line("text " + std::to_string(ended_) + "/" + std::to_string(lines_.size()) + ", " + std::to_string(tokens_) + " tokens");
    return !line.stream.stopped();
  }
  void end(size_t text) {
    lines_[text].ended = true;
    ++ended_;
    while (next_ < lines_.size() && lines_[next_].ended) print(next_++);
  }
  // Prints the texts that have ended, after an error.
  void print_the_others() {
    for (; next_ < lines_.size(); ++next_)
      if (lines_[next_].ended) print(next_);
  }

 private:
  struct Line {
    TextStream stream;
    std::string text = {};
    std::vector<double> log_probabilities = {};
    bool ended = false;
  };

  void print(size_t i) {
    nlohmann::ordered_json const line{{"id", prompts_[i / samples_].id},
                                      {"prompt", prompts_[i / samples_].text},
                                      {"sample", i % samples_ + 1},
                                      {"text", lines_[i].text + lines_[i].stream.finish()},
                                      {"tokens", lines_[i].log_probabilities.size()},
                                      {"log_probabilities", lines_[i].log_probabilities}};
    standard_output() << line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << "\n";
    standard_output().flush();
    lines_[i] = Line{TextStream({})};  // frees the text: a file may hold many prompts
    lines_[i].ended = true;
  }

  Tokenizer const& tokenizer_;
  std::vector<Prompt> const& prompts_;
  size_t samples_;  // per prompt
  std::vector<Line> lines_;
  size_t next_ = 0, ended_ = 0, tokens_ = 0;
};

void report(Generated const& generated) {
  standard_output().flush();
  if (generated.steps == 0) return;
  double const tokens_per_s = static_cast<double>(generated.step_tokens) / generated.step_seconds;
  log_info(format_si(tokens_per_s) + " new tokens/s; KV cache " + format_bytes(static_cast<double>(generated.most.stored)) + " (" +
           format_bytes(static_cast<double>(generated.most.reserved)) + " allocated); " +
           format_si(static_cast<double>(generated.blocks) / static_cast<double>(generated.read_tokens)) + " blocks per token");
}

// All of standard input, without the line break at its end.
std::string standard_input() {
  std::string text(std::istreambuf_iterator<char>(std::cin), {});
  text.erase(0, byte_order_mark(text));
  if (text.ends_with('\n')) text.pop_back();
  return text;
}

// Whether somebody pipes text to a call that does not read it.
bool input_waits() {
  pollfd input{STDIN_FILENO, POLLIN, 0};
  int waiting = 0;
  return ::isatty(STDIN_FILENO) == 0 && ::poll(&input, 1, 0) == 1 && ::ioctl(STDIN_FILENO, FIONREAD, &waiting) == 0 && waiting > 0;
}

std::vector<Prompt> prompts_of(GenerateOptions const& options) {
  Activity const activity("reading prompts", Activity::Loses::nothing);
  std::vector<Prompt> prompts;
  if (!options.file.empty()) prompts = read_prompts(options.file);
  for (std::string const& text : options.prompts)
    prompts.push_back({std::to_string(prompts.size() + 1), text == "-" ? standard_input() : text, {}});
  if (prompts.empty()) {
    if (input_waits()) log_warning("standard input is not read: -p - takes all of it as a prompt, -f - each line as one");
    prompts.push_back({"1", "", {}});
  }
  return prompts;
}

void run_generate(std::string const& path, GenerateOptions const& options) {
  std::vector<Prompt> const prompts = prompts_of(options);
  TextStream const valid(options.stops);  // throws for a bad stop string before anything is loaded

  Checkpoint const checkpoint = open_model(path);
  Config config = checkpoint.config;
  config.device = options.device;
  check_config(config);
  open_device(config.device);
  set_threads(options.threads);
  use_huge_pages();
  auto const model = load_model(checkpoint);
  keep_freed_memory();  // from here on: what loading has freed is given back
  place_model(*model, config);
  Tokenizer const& tokenizer = *checkpoint.tokenizer;
  GenerateSettings settings = options.settings;
  settings.stop_token = tokenizer.document_end();

  std::vector<std::vector<int32_t>> ids;
  for (Prompt const& prompt : prompts) ids.push_back(prompt_ids(tokenizer, prompt.text));
  if (!options.file.empty()) {
    for (Prompt const& prompt : prompts) settings.seeds.push_back(prompt.seed);
    JsonLinesPrinter lines(tokenizer, options, prompts);
    auto const on_token = [&](NewToken const& token) {
      leave_when_stopped();
      return lines.add(token);
    };
    try {
      Generated const generated = generate(*model, ids, settings, on_token, [&](size_t text) { lines.end(text); });
      end_live_line();
      report(generated);
    } catch (...) {
      lines.print_the_others();
      throw;
    }
    return;
  }
  auto const samples = static_cast<size_t>(std::exchange(settings.samples, 1));
  for (size_t text = 0; text < prompts.size() * samples; ++text) {  // one after the other, because they share the terminal
    size_t const i = text / samples;
    settings.first = {i, text % samples};
    TerminalPrinter shown(tokenizer, options, config.model.layers);
    if (!options.show_depth) standard_output() << prompts[i].text;
    Generated const generated = generate(*model, {ids[i]}, settings, [&](NewToken const& token) {
      leave_when_stopped();
      return shown.add(token, ids[i]);
    });
    shown.finish();
    if (options.show_depth) standard_output() << depth_legend(shown.depths(), config.model.layers) << "\n";
    bool const full = !settings.window && std::ssize(ids[i]) + std::ssize(generated.texts[0]) >= config.model.context &&
                      std::ssize(generated.texts[0]) < settings.max_tokens;
    if (full) log_info("the context of " + std::to_string(config.model.context) + " tokens is full: --window goes on");
    report(generated);
  }
}

}  // namespace

void add_generate(CLI::App& app) {
  CLI::App* command = app.add_subcommand("generate", "Text from prompts, under causal routing");
  auto const target = add_target(*command, "CHECKPOINT", "Checkpoint, or run folder (its latest)");
  auto const options = std::make_shared<GenerateOptions>();
  GenerateSettings& settings = options->settings;
  settings.max_tokens = 128;
  settings.sampler.temperature = 0.8;
  command->add_option("-p,--prompt", options->prompts, "Text to continue (- reads all of standard input); may be given several times")
      ->expected(1)
      ->allow_extra_args(false)
      ->take_all();
  command->add_option(
      "-f,--file", options->file,
      "Prompts, one a line (- reads standard input), or rows (.jsonl, .json) with `prompt`, `id` and `seed`: answers as JSON Lines, with "
      "log-probabilities");
  add_number(*command, &settings.max_tokens, {.name = "-n,--max-tokens", .help = "New tokens at most", .min = 1, .max = 1 << 30});
  add_number(*command, &settings.sampler.temperature,
             {.name = "-t,--temperature", .help = "0 takes the likeliest token", .kind = Kind::real, .max = 100});
  add_number(*command, &settings.sampler.top_k, {.name = "--top-k", .help = "Draw among the k likeliest tokens; 0: all", .max = 1 << 30});
  add_number(*command, &settings.sampler.top_p,
             {.name = "--top-p",
              .help = "Draw among the likeliest tokens that have this probability together",
              .kind = Kind::real,
              .min = 1e-9,
              .max = 1});
  add_number(*command, &options->seed, {.name = "--seed", .help = "Equal seeds give equal text"});
  add_number(*command, &settings.samples,
             {.name = "--samples", .help = "Continuations of each prompt, each drawn on its own", .min = 1, .max = 1 << 20});
  command->add_option("--stop", options->stops, "End a text before this; may be given several times")
      ->expected(1)
      ->allow_extra_args(false)
      ->take_all();
  add_number(*command, &settings.batch, {.name = "--batch", .help = "Texts of --file at a time", .min = 1, .max = 65536});
  add_number(*command, &settings.most_cache_bytes,
             {.name = "--max-cache", .help = "Most bytes of keys and values (512Mi); 0: no limit", .kind = Kind::count});
  command->add_flag("--window", settings.window, "A text that fills the context goes on with the later half of it in view");
  command->add_flag("--show-depth", options->show_depth, "Colour each token by the number of blocks it went through, with a legend");
  add_number(*command, &options->threads, {.name = "--threads", .help = "CPU threads; 0: all", .max = 4096});
  command->add_option("--device", options->device, "cpu, cuda, cuda:1, or auto: the first GPU, else the CPU")->capture_default_str();
  command->callback([target, options] {
    if (!target->overrides.empty()) throw Error(ExitCode::config, "'" + target->overrides.front() + "': generate takes options, no keys");
    options->settings.sampler.seed = static_cast<uint64_t>(options->seed);
    run_generate(target->path, *options);
  });
}

}  // namespace isobath
