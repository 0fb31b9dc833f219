// isobath inspect: what a file or folder holds, and whether it is undamaged.

#include <CLI/CLI.hpp>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>

#include "core/error.h"
#include "core/json_nesting.h"
#include "core/streams.h"
#include "core/units.h"
#include "data/shards/shards.h"
#include "data/tokenizer/tokenizer.h"
#include "format/gguf.h"
#include "format/safetensors_folder.h"
#include "trainer/cli/commands.h"
#include "trainer/pretrained/pretrained.h"
#include "trainer/report/run_list.h"
#include "trainer/run/saved_model.h"

namespace isobath {

namespace {

std::string exact_and_short(Int128 value) { return to_text(value) + " (" + format_si(static_cast<double>(value)) + ")"; }

// Names, types and shapes, and how many values there are.
void print_tensors(std::vector<TensorView> const& tensors) {
  int64_t values = 0;
  for (TensorView const& tensor : tensors) {
    int64_t count = 1;
    std::string shape;
    for (int64_t const size : tensor.shape) {
      count *= size;
      shape += (shape.empty() ? "" : ", ") + std::to_string(size);
    }
    values += count;
    standard_output() << "  " << tensor.name << "  " << tensor.dtype << " [" << shape << "]\n";
  }
  standard_output() << "  " << exact_and_short(values) << " values\n";
}

void inspect_safetensors(fs::path const& path) {
  SafetensorsFile const file(path);
  standard_output() << path.string() << ": safetensors, " << file.tensors().size() << " tensors, whole\n";
  for (auto const& [key, value] : file.metadata()) standard_output() << "  " << key << " = " << value << "\n";
  print_tensors(file.tensors());
}

std::string text_of(GgufValue const& value) {
  return std::visit(
      []<typename T>(T const& v) -> std::string {
        if constexpr (std::is_same_v<T, GgufArray>)
          return "[" + std::to_string(v.values.size()) + " values]";
        else if constexpr (std::is_same_v<T, std::string>)
          return v;
        else if constexpr (std::is_same_v<T, bool>)
          return v ? "true" : "false";
        else if constexpr (std::is_floating_point_v<T>)
          return nlohmann::json(v).dump();
        else
          return std::to_string(v);
      },
      static_cast<GgufScalar const&>(value));
}

// Whether a model of another program can be computed here, and what would be taken from it.
void print_use(fs::path const& path) {
  auto const tell = [](char const* what, auto const& how) {
    try {
      standard_output() << "  " << what << how() << "\n";
    } catch (Error const& error) {
      standard_output() << "  " << what << "no: " << error.what() << "\n";
    }
  };
  std::optional<Pretrained> model;
  tell("computed here: ", [&] {
    model = open_pretrained(path);
    return "yes, as " + std::to_string(model->model.layers) + " layers of width " + std::to_string(model->model.width) + ", " +
           std::to_string(model->model.heads) + " heads, " + std::to_string(resolved_kv_heads(model->model)) +
           " key-value heads, context " + std::to_string(model->model.context) + " (train.init_from, generate, eval --text, export)";
  });
  if (!model) return;
  tell("its tokenizer: ", [&] {
    auto const tokenizer = pretrained_tokenizer(*model);
    return tokenizer ? "read, " + std::to_string(tokenizer->vocab_size()) + " ids, a document ends with " +
                           std::to_string(tokenizer->document_end())
                     : std::string("there is none");
  });
}

void inspect_gguf(fs::path const& path) {
  GgufFile const file(path);
  standard_output() << path.string() << ": GGUF, " << file.tensors().size() << " tensors, whole\n";
  print_use(path);
  for (auto const& [key, value] : file.metadata()) standard_output() << "  " << key << " = " << text_of(value) << "\n";
  print_tensors(file.tensors());
}

void inspect_hugging_face(fs::path const& folder) {
  std::string const text = read_file(folder / "config.json");
  auto const config = nests_too_deep(text) ? nlohmann::ordered_json() : nlohmann::ordered_json::parse(text, nullptr, false);
  if (!config.is_object()) throw Error(ExitCode::checkpoint, (folder / "config.json").string() + " is not a JSON object");
  SafetensorsFolder const weights(folder);
  standard_output() << folder.string() << ": Hugging Face folder, " << weights.tensors().size() << " tensors in " << weights.files()
                    << (weights.files() == 1 ? " file" : " files") << ", whole\n";
  print_use(folder);
  for (auto const& [key, value] : config.items()) standard_output() << "  " << key << " = " << value.dump() << "\n";
  print_tensors(weights.tensors());
}

void inspect_shard(fs::path const& path) {
  Shard const shard(path, /*verify=*/true);
  ShardInfo const& info = shard.info();
  standard_output() << path.string() << ": token shard, whole (checksum read)\n"
                    << "  tokens     " << exact_and_short(info.tokens) << ", " << info.token_bytes << " bytes each\n"
                    << "  documents  " << info.documents << "\n"
                    << "  text       " << format_bytes(static_cast<double>(info.bytes)) << "\n"
                    << "  tokenizer  " << info.tokenizer_fingerprint << "\n";
  if (info.has_targets) standard_output() << "  targets    some of the tokens: answers of examples\n";
}

void inspect_tokenizer(fs::path const& path) {
  auto const tokenizer = load_tokenizer(path);
  standard_output() << path.string() << ": tokenizer, whole\n"
                    << "  kind         " << tokenizer->kind() << "\n"
                    << "  vocabulary   " << tokenizer->vocab_size() << " (document end: " << tokenizer->document_end() << ")\n"
                    << "  fingerprint  " << tokenizer->fingerprint() << "\n";
}

void inspect_checkpoint(fs::path const& folder) {
  std::vector<ManifestFile> const files = verify_checkpoint(folder);
  Checkpoint const checkpoint = open_checkpoint(folder);
  TrainState const& state = checkpoint.state;
  standard_output() << folder.string() << ": checkpoint, whole (every checksum read)\n"
                    << "  step        " << state.step << (state.finished ? " (the end of its run)" : "") << "\n"
                    << "  tokens      " << exact_and_short(state.tokens) << "\n"
                    << "  FLOPs       " << exact_and_short(state.train_flops) << "\n";
  bool const by_loss = checkpoint.config.checkpoint.best == BestBy::loss;
  if (state.best_step >= 0)
    standard_output() << (by_loss ? "  best loss   " : "  accuracy    ") << (by_loss ? state.best_value : 1 - state.best_value)
                      << " at step " << state.best_step << (by_loss ? "\n" : ", the best\n");
  standard_output() << "  model       " << checkpoint.config.model.layers << " layers of width " << checkpoint.config.model.width << ", "
                    << checkpoint.config.depth.kind << "\n"
                    << "  tokenizer   " << checkpoint.tokenizer->kind() << ", " << checkpoint.tokenizer->vocab_size() << " ids\n"
                    << "  written by  isobath " << state.machine.version << ", " << state.machine.threads << " threads, "
                    << state.machine.cpu_capability << "\n";
  for (Segment const& segment : state.segments) {
    for (std::string const& change : segment.changes) standard_output() << "  from step " << segment.from_step << ": " << change << "\n";
  }
  for (ManifestFile const& file : files)
    standard_output() << "  " << file.name << "  " << format_bytes(static_cast<double>(file.size)) << "  " << file.checksum << "\n";
}

// Prints the last record of each kind and every checkpoint, then throws when a checkpoint is damaged.
void inspect_run(fs::path const& folder) {
  standard_output() << folder.string() << ": run folder\n";
  nlohmann::json validation, end;
  int64_t step = 0, broken_lines = 0;
  std::istringstream lines(read_file(folder / "metrics.jsonl"));
  for (std::string line; std::getline(lines, line);) {
    auto const record = nlohmann::json::parse(line, nullptr, false);
    if (!record.is_object()) {
      ++broken_lines;
      continue;
    }
    step = std::max(step, record.value("step", int64_t{0}));
    if (record.value("kind", "") == "validation") validation = record;
    if (record.value("kind", "") == "end") end = record;
  }
  standard_output() << "  status      " << (end.is_object() ? end.value("status", "unknown") : "unfinished") << ", step " << step << "\n";
  if (validation.is_object()) {
    standard_output() << "  validation  step " << validation.value("step", int64_t{0});
    for (char const* key : {"loss_topk", "loss_causal"}) {
      if (validation.contains(key) && validation[key].is_number()) standard_output() << ", " << key << " " << validation[key].get<double>();
    }
    standard_output() << "\n";
  }
  if (broken_lines > 0) standard_output() << "  metrics     " << broken_lines << " broken lines (dropped by the next resume)\n";
  std::string problems;
  for (fs::path const& checkpoint : list_checkpoints(folder / "checkpoints")) {
    std::string state = "whole";
    try {
      verify_checkpoint(checkpoint);
    } catch (Error const& problem) {
      state = "DAMAGED";
      problems += std::string(problems.empty() ? "" : "\n") + problem.what();
    }
    standard_output() << "  checkpoint  " << checkpoint.filename().string() << "  " << state << "\n";
  }
  standard_output().flush();
  if (!problems.empty()) throw Error(ExitCode::checkpoint, problems);
}

// What a file of another name is by its first bytes: "GGUF", or the header of a safetensors file, whose JSON begins at byte 8.
std::string kind_by_content(fs::path const& path) {
  std::ifstream file(path, std::ios::binary);
  std::string start(9, '\0');
  file.read(start.data(), std::ssize(start));
  return start.starts_with("GGUF") ? ".gguf" : file && start[8] == '{' ? ".safetensors" : "";
}

void run_inspect(fs::path const& given) {
  fs::path const path = followed_link(given);
  if (!fs::exists(path)) throw Error(ExitCode::config, path.string() + ": no such file or folder");
  if (fs::is_directory(path)) {
    if (fs::exists(path / "metrics.jsonl")) return inspect_run(path);
    if (fs::exists(path / "manifest.json") || checkpoint_step(fs::canonical(path))) return inspect_checkpoint(path);
    if (fs::exists(path / "config.json")) return inspect_hugging_face(path);
    throw Error(ExitCode::config,
                path.string() + ": neither a checkpoint, a run folder nor a Hugging Face folder (no config.json)" + hint_at_runs(path));
  }
  std::string extension = path.extension().string();
  if (extension != ".shard" && extension != ".model" && extension != ".safetensors" && extension != ".gguf")
    extension = kind_by_content(path);
  if (extension == ".safetensors") return inspect_safetensors(path);
  if (extension == ".gguf") return inspect_gguf(path);
  if (extension == ".shard") return inspect_shard(path);
  if (extension == ".model" || extension == ".json") return inspect_tokenizer(path);
  throw Error(ExitCode::config, path.string() + ": not a .safetensors, .gguf, .shard, .model or tokenizer.json file");
}

}  // namespace

void add_inspect(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "inspect", "What a checkpoint, run, Hugging Face folder, shard, tokenizer, safetensors or GGUF file holds, and whether it is whole");
  auto const path = std::make_shared<std::string>();
  command
      ->add_option("PATH", *path,
                   "Checkpoint, run or Hugging Face folder; .safetensors, .gguf, .shard, tokenizer.model or tokenizer.json file")
      ->required();
  command->callback([path] { run_inspect(*path); });
}

}  // namespace isobath
