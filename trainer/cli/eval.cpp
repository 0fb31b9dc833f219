// isobath eval: losses of a checkpoint as one JSON object on stdout.

#include "trainer/evaluate/evaluate.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <csignal>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

#include "config/io.h"
#include "core/columns.h"
#include "core/error.h"
#include "core/log.h"
#include "core/random.h"
#include "core/stop.h"
#include "core/streams.h"
#include "model/decode/decoding_check.h"
#include "model/depth/plan.h"
#include "nn/device.h"
#include "trainer/cli/commands.h"
#include "trainer/cli/eval_tasks.h"
#include "trainer/cli/eval_text.h"
#include "trainer/cli/on_ranks.h"
#include "trainer/cli/options.h"
#include "trainer/evaluate/future_leakage.h"
#include "trainer/evaluate/oracle.h"
#include "trainer/evaluate/per_token.h"
#include "trainer/metrics/readings.h"
#include "trainer/pretrained/pretrained.h"
#include "trainer/run/machine.h"
#include "trainer/run/records.h"
#include "trainer/run/saved_model.h"

namespace isobath {

namespace {

struct EvalOptions {
  std::vector<std::string> capacities, texts;
  std::string save, per_token;
  TaskOptions tasks;
  bool json = false;
  bool leak = false;
  int64_t decode = 0;  // number of texts
  int64_t top = 0;     // likeliest tokens in each record of per_token
};

// The results for a terminal: one line a routing.
std::string evaluation_table(Evaluation const& evaluation, bool two_routings) {
  std::vector<std::vector<std::string>> rows{{"routing", "loss", "perplexity", "bits/byte", "selected", "depth", "FLOPs/token"}};
  auto const add = [&](char const* name, std::optional<RoutingResult> const& result) {
    if (!result) return;
    double const selected = std::accumulate(result->capacity.begin(), result->capacity.end(), 0.0);
    rows.push_back({name, fmt::format("{:.4f}", result->loss), fmt::format("{:.2f}", std::exp(result->loss)),
                    fmt::format("{:.4f}", result->bits_per_byte),
                    result->capacity.empty() ? "-" : fmt::format("{:.1f} %", 100 * selected / static_cast<double>(result->capacity.size())),
                    fmt::format("{:.2f}", result->mean_depth), format_si(result->forward_flops_per_token)});
  };
  if (two_routings && evaluation.topk && evaluation.causal) add("top-k", evaluation.topk);
  add(evaluation.causal ? "causal" : "top-k", evaluation.causal ? evaluation.causal : evaluation.topk);
  return aligned_columns(rows);
}

// The configuration with another depth.capacity, as if the model had been trained for it.
Config at_capacity(Checkpoint const& checkpoint, Config const& config, std::string const& capacity) {
  if (!plan_depth(config.model, config.depth)->has_capacity())
    throw Error(ExitCode::config,
                "--capacity " + capacity + ": the checkpoint's model has no capacity (depth.kind is " + config.depth.kind + ")");
  std::string const& number = capacity;
  double share = 0;
  try {
    size_t end = 0;
    share = std::stod(number, &end);
    if (number.substr(end) != "%" && !number.substr(end).empty()) throw std::invalid_argument(number);
    if (number.substr(end) == "%") share /= 100;
  } catch (std::exception const&) {
    throw Error(ExitCode::config, "--capacity " + capacity + " is no share: 25 % is written 25% or 0.25");
  }
  if (!(share > 0 && share <= 1))
    throw Error(ExitCode::config, "--capacity " + capacity + " is not above 0 and at most 1" +
                                      (share > 1 && share <= 100 && !number.ends_with('%')
                                           ? ": " + number + " % is written " + number + "% or " + format_real(share / 100)
                                           : ""));
  Config changed = config;
  changed.depth = model_config_with(checkpoint, {"depth.capacity=" + capacity}).depth;
  return changed;
}

nlohmann::ordered_json leak_json(FutureLeakage const& leak) {
  return {{"tokens", leak.tokens}, {"changed_choices", leak.changed_choices}, {"loss_change", leak.loss_change}};
}

// Limits for --decode in fp32: on the difference of logits, relative to the largest one, and on the distance of a changed decision from its
// threshold.
constexpr double decoding_tolerance = 1e-4;

struct DecodingTexts {
  std::vector<std::vector<int32_t>> texts;
  std::vector<int64_t> prompt_tokens;
};

// `count` texts of the validation data. The first fills the context and has a prompt of one token; the others have random lengths and
// random prompt lengths.
DecodingTexts decoding_texts(TokenStream const& valid, int64_t count, int64_t context, uint64_t seed) {
  if (valid.size() < count * context)
    throw Error(ExitCode::data, "--decode " + std::to_string(count) + ": the validation text has " +
                                    std::to_string(valid.size() / context) + " windows of model.context = " + std::to_string(context) +
                                    " tokens");
  uint64_t const key = make_key({seed, hash_text("decode")});
  auto const up_to = [&](int64_t most, int64_t counter) {
    return 1 + static_cast<int64_t>(random_bits(key, static_cast<uint64_t>(counter)) % static_cast<uint64_t>(most));
  };
  DecodingTexts result;
  for (int64_t i = 0; i < count; ++i) {
    std::vector<int64_t> tokens(static_cast<size_t>(i == 0 ? context : up_to(context, 2 * i)));
    valid.copy(i * context, tokens);
    result.texts.emplace_back(tokens.begin(), tokens.end());
    result.prompt_tokens.push_back(i == 0 ? 1 : up_to(std::ssize(tokens), 2 * i + 1));
  }
  return result;
}

nlohmann::ordered_json decoding_json(DecodingCheck const& check) {
  return {{"tokens", check.tokens},
          {"decisions", check.decisions},
          {"flips", check.flips},
          {"largest_flip_margin", check.largest_flip_margin},
          {"largest_difference", check.largest_difference}};
}

// One checkpoint on one text, at one or several capacities.
struct Evaluator {
  Checkpoint const& checkpoint;
  Config const& config;
  EvalOptions const& options;
  EvalText const& text;
  LanguageModel& model;
  EvalSettings settings;
  DecodingTexts to_decode;
  std::string table;              // what was measured, for a terminal
  std::string decodes_otherwise;  // not empty: token by token is not what it is in one pass

  Evaluation calibrated_evaluation() {
    bool const calibrates = !text.named && settings.routing != EvalRouting::topk && config.eval.calibration_tokens > 0;
    int64_t const calibration_tokens = calibrates ? calibrate(model, *text.train_stream, config.eval.calibration_tokens, settings) : 0;
    auto evaluation = evaluate(model, *text.windows, *checkpoint.tokenizer, settings, [] { return stop_requested() != 0; });
    if (!evaluation) throw Stopped(stop_requested() ? stop_requested() : SIGTERM, "");
    evaluation->calibration_tokens = calibration_tokens;
    return *evaluation;
  }

  // Measures at the capacity of `now`; adds to the table and returns the record.
  nlohmann::ordered_json measure(Config const& now) {
    if (model.plan().has_capacity()) model.set_capacities(plan_depth(now.model, now.depth)->capacities());
    Evaluation const evaluation = calibrated_evaluation();
    table += fmt::format("{}, {} tokens ({}){}, step {}{}\n{}", text.named ? "text" : "validation text", evaluation.tokens,
                         format_bytes(static_cast<double>(evaluation.bytes)),
                         text.named ? fmt::format(", each once, in windows of {}", now.model.context) : "", checkpoint.state.step,
                         options.capacities.empty() ? "" : ", capacity " + capacity_text(now.depth.capacity),
                         evaluation_table(evaluation, model.plan().uses_noncausal_routing()));
    if (settings.ranks.rank > 0) return {};  // what follows is rank 0's alone
    ValidationReading const reading{evaluation,
                                    measure_branch_oracle(model, *text.windows, evaluation.causal_or_topk().mean_depth, settings)};
    if (reading.oracle)
      table += fmt::format("  best branches in hindsight, same mean depth: loss {:.4f}\n", reading.oracle->loss_same_depth);
    nlohmann::ordered_json record = validation_record(checkpoint.state, reading, true, "");
    for (char const* of_training : {"kind", "time_s", "eval_s", "final"}) record.erase(of_training);
    if (options.leak) add_leakage(record);
    if (options.decode > 0) add_decoding(record);
    return record;
  }

  void add_leakage(nlohmann::ordered_json& record) {
    for (auto const& [name, routing] : {std::pair("topk", Routing::topk), std::pair("causal", Routing::causal)}) {
      FutureLeakage const leak = measure_future_leakage(model, text.valid(), routing, settings);
      record[std::string("leak_") + name] = leak_json(leak);
      table += fmt::format("  other later text changes {:.2f} % of the {} choices, and the loss of a token by {:.4f}\n",
                           100 * leak.changed_choices, name, leak.loss_change);
    }
  }

  void add_decoding(nlohmann::ordered_json& record) {
    DecodingCheck const check = check_decoding(model, to_decode.texts, to_decode.prompt_tokens, settings.seed);
    record["decoding"] = decoding_json(check);
    table += fmt::format("  token by token, {} tokens: {} of {} decisions differ, logits by {:.1e} of the largest\n", check.tokens,
                         check.flips, check.decisions, check.largest_difference);
    if (std::max(check.largest_difference, check.largest_flip_margin) > decoding_tolerance) decodes_otherwise = record["decoding"].dump();
  }
};

void check_eval_options(EvalOptions const& options, Config const& config) {
  if (!options.save.empty() && (options.capacities.size() > 1 || config.eval.calibration_tokens == 0))
    throw Error(ExitCode::config, "--save takes one capacity, calibrated (eval.calibration_tokens)");
  if (options.top > 0 && options.per_token.empty())
    throw Error(ExitCode::config, "--top " + std::to_string(options.top) + " goes with --per-token FILE, where it adds to each record");
  for (auto const& [file, option] : {std::pair(options.tasks.predictions, "--predictions"), std::pair(options.tasks.against, "--against")})
    if (!file.empty() && config.eval.tasks.empty())
      throw Error(ExitCode::config, std::string(option) + " " + file + " goes with tasks: eval.tasks=[configs/tasks/arc-easy.yaml]");
  if (options.capacities.size() > 1 && !config.eval.tasks.empty())
    throw Error(ExitCode::config, "several --capacity measure text alone: add eval.tasks=[]");
  if (options.decode > 0 && config.precision == Precision::bf16)
    throw Error(ExitCode::config, "--decode allows differences of 1e-4, which bf16 does not keep to: add precision=fp32");
  bool const calibrates = config.eval.routing != EvalRouting::topk && (!options.capacities.empty() || !options.save.empty());
  if (!options.texts.empty() && calibrates)
    throw Error(ExitCode::config,
                "--capacity and --save calibrate causal decisions on the training text, which --text does without: give the text as "
                "data.valid_sources=[...], or add eval.routing=topk");
}

// Keys of a running training's validations, which would change nothing here.
void refuse_unread_keys(std::vector<std::string> const& overrides) {
  for (std::string const& text : overrides) {
    std::string const key = text.substr(0, text.find('='));
    if (key == "eval.tokens")
      throw Error(ExitCode::config, key + " is for validations during training; eval reads eval.final_tokens" + text.substr(key.size()));
    if (key == "eval.task_items")
      throw Error(ExitCode::config,
                  key + " is for validations during training; eval reads eval.final_task_items" + text.substr(key.size()));
    if (key == "eval.every" || key == "eval.sample_tokens" || key == "eval.sample_prompt")
      throw Error(ExitCode::config, key +
                                        " is for validations during training; of this section eval reads eval.final_tokens, "
                                        "eval.routing and eval.calibration_tokens");
  }
}

// Tasks that the call names are scored alone: neither the run's text nor its split is needed.
bool scores_tasks_alone(Target const& target, Config const& config, EvalOptions const& options) {
  bool const named = std::any_of(target.overrides.begin(), target.overrides.end(),
                                 [](std::string const& text) { return text.starts_with("eval.tasks="); });
  if (!named || config.eval.tasks.empty() || !options.texts.empty()) return false;
  for (std::string const& text : target.overrides)
    if (text.starts_with("eval.calibration_tokens="))
      throw Error(ExitCode::config,
                  "eval.calibration_tokens calibrates on the training text, which eval.tasks on the command line does without: "
                  "calibrate a copy first (--save)");
  for (auto const& [given, option] :
       {std::pair(!options.capacities.empty(), "--capacity"), std::pair(!options.save.empty(), "--save"),
        std::pair(!options.per_token.empty(), "--per-token"), std::pair(options.leak, "--leak"), std::pair(options.decode > 0, "--decode")})
    if (given)
      throw Error(ExitCode::config, std::string(option) +
                                        " measures on text, and eval.tasks on the command line scores tasks alone: add --text FILE, "
                                        "or call eval twice");
  return true;
}

void eval_tasks_alone(Checkpoint const& checkpoint, Config const& config, EvalOptions const& options, Ranks const& ranks) {
  open_device(config.device);
  set_threads(config.train.threads);
  auto const model = load_evaluated_model(checkpoint, config);
  nlohmann::ordered_json result{{"step", checkpoint.state.step}};
  std::string const table = add_tasks(checkpoint, config, *model, options.tasks, result, ranks);
  if (ranks.is_first()) standard_output() << (options.json ? result.dump(2) + "\n" : table);
}

void run_eval(Target const& target, EvalOptions const& options, Ranks& ranks, RankWatch& watch) {
  Checkpoint const checkpoint = open_model(target.path);
  Config config = eval_config(checkpoint, target.overrides);
  check_eval_options(options, config);
  refuse_unread_keys(target.overrides);
  open_ranks(ranks, watch, config, checkpoint.folder);
  if (scores_tasks_alone(target, config, options)) return eval_tasks_alone(checkpoint, config, options, ranks);
  EvalSubject subject(checkpoint, config, options.texts);
  auto& [text, model, settings] = subject;
  settings.ranks = ranks.across();
  Evaluator evaluator{checkpoint,
                      config,
                      options,
                      text,
                      *model,
                      settings,
                      decoding_texts(text.valid(), options.decode, config.model.context, settings.seed),
                      {},
                      {}};

  Config saved = config;
  nlohmann::ordered_json result;
  for (std::string const& capacity : options.capacities) {
    saved = at_capacity(checkpoint, config, capacity);
    nlohmann::ordered_json entry = {{"capacity", saved.depth.capacity}};
    if (nlohmann::ordered_json const measured = evaluator.measure(saved); measured.is_object()) entry.update(measured);
    result["capacities"].push_back(entry);
  }
  if (options.capacities.empty()) result = evaluator.measure(config);
  if (!config.eval.tasks.empty()) evaluator.table += add_tasks(checkpoint, config, *model, options.tasks, result, ranks);
  if (!ranks.is_first()) return;
  if (!options.per_token.empty()) {
    TokenRecords records(output_file(options.per_token, "--per-token"));
    EvalSettings named = settings;
    named.likeliest = options.top;
    visit_tokens(*model, *text.windows, *checkpoint.tokenizer, named, [&](TokenOutcome const& token) { records.add(token); });
    records.finish();
  }
  standard_output() << (options.json ? result.dump(2) + "\n" : evaluator.table);
  if (!evaluator.decodes_otherwise.empty())
    throw Error(ExitCode::other, "decoding is not evaluation: " + evaluator.decodes_otherwise + ", where 1e-4 is allowed");
  if (options.save.empty()) return;
  saved.eval.calibration_tokens = 0;  // keeps the calibrated decisions
  save_model_as(expand_user(options.save), checkpoint, *model, saved);
  log_info("saved " + options.save);
}

constexpr char const* eval_examples = R"(Examples:
  isobath eval runs/quickstart --text book.txt
  isobath eval runs/quickstart --json eval.routing=causal
  isobath eval runs/quickstart/best data.valid_sources=[book.txt] eval.final_tokens=64Ki
  isobath eval runs/quickstart --capacity 6.25% --capacity 12.5% --capacity 25%
  isobath eval runs/quickstart --capacity 25% --save runs/quickstart-25
  isobath eval runs/quickstart 'eval.tasks=[configs/tasks/arc-easy.yaml]' --predictions answers.jsonl)";

}  // namespace

void add_eval(CLI::App& app) {
  CLI::App* command = app.add_subcommand("eval", "Loss and bits per byte of a checkpoint, under both routings, or its answers to tasks");
  command->footer(eval_examples);
  auto const target = add_target(*command, "CHECKPOINT", "Checkpoint, or run folder (its latest)");
  auto const options = std::make_shared<EvalOptions>();
  command
      ->add_option(
          "--capacity", options->capacities,
          "Let this share of each sequence through instead: top-k takes it, causal decisions are calibrated to it; may be given several "
          "times")
      ->expected(1)
      ->allow_extra_args(false)
      ->take_all();
  command
      ->add_option("--text", options->texts,
                   "Score all of this text (one file, folder or glob; given again for more) with the checkpoint's own decisions, each "
                   "document on its "
                   "own, every token once, in the windows of lm-evaluation-harness; neither the training text nor the split is needed")
      ->type_name("FILE")
      ->expected(1)
      ->allow_extra_args(false)
      ->take_all();
  command
      ->add_option(
          "--per-token", options->per_token,
          "Write one JSON object a token: id, piece, document, byte offset, losses, depth, and per routed layer selected and score")
      ->type_name("FILE");
  add_number(*command, &options->top,
             {.name = "--top",
              .help = "With --per-token: also the ids and log-probabilities (nats, causal routing) of this many likeliest tokens in each "
                      "token's place",
              .min = 1,
              .max = 1 << 24});
  command
      ->add_option("--predictions", options->tasks.predictions,
                   "Write one JSON object an item of eval.tasks: scores, answer, depth of every token")
      ->type_name("FILE");
  command
      ->add_option("--against", options->tasks.against,
                   "Such a file of another model with the same items: adds a paired comparison (bootstrap, McNemar's test) with it as the "
                   "baseline")
      ->type_name("FILE");
  command->add_flag("--json", options->json, "Print everything that was measured as JSON");
  command->add_option("--save", options->save, "Write the model with these decisions as a new checkpoint folder");
  command->add_flag("--leak", options->leak, "Also measure how much of the future reaches the past through top-k");
  add_number(*command, &options->decode,
             {.name = "--decode",
              .help = "Also read this many validation texts token by token, as generate does, and compare with one causal pass over each "
                      "that takes the same decisions; exit code 1 where logits differ by more than 1e-4 of the largest, or a decision did "
                      "that was not within 1e-4 of its threshold",
              .min = 1,
              .max = 1 << 20});
  auto const count = add_ranks_option(*command);
  command->callback([target, options, count] {
    run_on_ranks(*count, [&](Ranks& ranks, RankWatch& watch) {
      run_eval(*target, *options, ranks, watch);
      return 0;
    });
  });
}

}  // namespace isobath
