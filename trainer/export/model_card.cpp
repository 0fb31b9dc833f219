#include "trainer/export/model_card.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "core/error.h"
#include "core/units.h"
#include "model/depth/plan.h"
#include "model/ledger/ledger.h"
#include "trainer/report/report.h"

namespace isobath {
namespace {

std::string joined(std::vector<std::string> const& words) {
  std::string text;
  for (std::string const& word : words) text += (text.empty() ? "`" : ", `") + word + "`";
  return text;
}

std::string model_in_words(ExportedModel const& exported, CardFacts const& facts) {
  ModelConfig const& model = exported.model;
  std::string text = fmt::format(
      "A decoder-only transformer ({}): {} layers of width {}, {} heads of size {}, {} key-value heads, a {} MLP of width {}, RMSNorm, "
      "rotary "
      "positions with base {}, {}a context of {} tokens, a vocabulary of {}, {}. {} parameters, stored as {}.",
      facts.class_name, model.layers, model.width, model.heads, model.width / model.heads, model.kv_heads,
      model.mlp == MlpKind::swiglu ? "SwiGLU" : "GELU", model.mlp_width, format_real(model.rope_theta),
      model.qk_norm ? "RMSNorm on queries and keys, " : "", model.context, exported.tokenizer->vocab_size(),
      model.tie_embeddings ? "output head tied to the embedding" : "an output head of its own",
      count_parameters(model, exported.depth, exported.tokenizer->vocab_size()).total, facts.dtype);
  if (exported.depth.kind != "dense") {
    text += " Its depth is of kind `" + exported.depth.kind + "` (" + plan_depth(model, exported.depth)->describe() + ").";
  } else if (facts.config.depth.kind == "scaled") {
    text += fmt::format(
        " It was trained as {} layers with learned factors; the factors are multiplied into the weights, and the layers whose factor "
        "became 0 are "
        "left out.",
        facts.config.model.layers);
  }
  return text;
}

std::string routing_text(ExportedModel const& exported) {
  std::string const start = "**Routing.** ";
  DepthConfig const& depth = exported.depth;
  if (depth.kind == "dense")
    return start +
           "There is none: every token goes through every layer, so these logits are the same in training, evaluation and "
           "generation.";
  if (plan_depth(exported.model, depth)->uses_noncausal_routing())
    return start +
           "Logits of `model(ids)` and text of `model.generate` are those of **causal** routing (`depth.causal: " + depth.causal.name() +
           "`): whether a layer runs a token depends on no later token. `model(ids, routing=\"topk\")` selects tokens as most training "
           "does, "
           "the best of the whole text in each layer. That looks at later tokens, so its loss is not the loss of a language model, and "
           "nothing can be generated with it.";
  return start +
         "There is one: how deep a token goes depends on no later token, in training, evaluation and generation. Decisions are those of "
         "the last calibration.";
}

std::string usage_text(ExportedModel const& exported) {
  if (!exported.code) return "";
  return "## Use\n\nThe model's code is in this folder: `" + exported.code->modeling +
         ".py`, meant to be read. Look at it before you allow it to run.\n\n```python\nfrom transformers import AutoModelForCausalLM, "
         "AutoTokenizer\n\nmodel = AutoModelForCausalLM.from_pretrained(FOLDER, trust_remote_code=True)\ntokenizer = "
         "AutoTokenizer.from_pretrained(FOLDER, trust_remote_code=True)\nresult = model(**tokenizer(\"Some text\", "
         "return_tensors=\"pt\"))\n```\n\n"
         "`result.selected` and `result.scores` say for each layer that decides which tokens it ran and by which scores. The code is for "
         "reading and for inference; the losses that train the decisions are Isobath's own.\n\n";
}

std::string training_text(CardFacts const& facts, std::string const& valid_text) {
  DataConfig const& data = facts.config.data;
  std::string text = (data.tasks.empty() ? "Sources: " + joined(data.sources) : "Tasks: " + joined(data.tasks)) +
                     ". Content key of the prepared text: `" + facts.text_key + "`";
  if (!valid_text.empty()) text += "; hash of the validation text: `" + valid_text + "`";
  return text + ". " +
         (data.isolates() ? "Documents did not see each other in training." : "Documents in one window saw those before them.");
}

// The losses that the run recorded at this step: those of its end if the step is its last.
std::string losses(CardFacts const& facts, RunResult const& run) {
  MetricMap const* found = nullptr;
  for (ValidationPoint const& point : run.curve)
    if (point.step == facts.step) found = &point.metrics;
  bool const is_last = found && run.curve.back().step == facts.step && run.finished();
  if (is_last) found = &run.metrics;
  double const loss = found ? (*found)["loss_causal"] : std::nan("");
  if (!std::isfinite(loss)) return "The run recorded no validation at this step.";
  return fmt::format("{}: {:.4f} nats per token, {:.4f} bits per byte.",
                     is_last ? "Validation loss at the end of the run" : "Validation loss at this step", loss,
                     (*found)["bits_per_byte_causal"]);
}

std::optional<RunResult> run_of(fs::path const& folder) {
  try {
    return read_run(folder, "");
  } catch (Error const&) {  // no run folder, or one that cannot be read: the weights do not depend on it
    return std::nullopt;
  }
}

}  // namespace

std::string model_card(ExportedModel const& exported, CardFacts const& facts) {
  std::optional<RunResult> const run = run_of(facts.run_folder);
  std::string card = "---\nlibrary_name: transformers\npipeline_tag: text-generation\nlicense: unknown\n---\n\n# " + exported.name + "\n\n";
  card += model_in_words(exported, facts) + "\n\n";
  card += routing_text(exported) + "\n\n" + usage_text(exported);
  card += "## Training\n\n" + training_text(facts, run ? run->valid_text : "") + "\n\n";
  std::string const kind = exported.tokenizer->kind();
  card += fmt::format("Tokenizer: {}, {} ids, fingerprint `{}`; no token is put before a text, and `eos` (id {}) ends a document.\n\n",
                      kind == "byte"  ? "bytes"
                      : kind == "bpe" ? "sentencepiece BPE"
                                      : "a pretrained model's BPE",
                      exported.tokenizer->vocab_size(), exported.tokenizer->fingerprint(), exported.tokenizer->document_end());
  card += fmt::format("{} steps, {} tokens, {} FLOPs, seed {}.\n\n", facts.step, facts.tokens,
                      format_si(static_cast<double>(facts.train_flops)), facts.config.seed);
  card += (run ? losses(facts, *run) : "The run's records were not beside the checkpoint, so its losses are not known here.") + "\n\n";
  if (run && !run->command.empty()) card += "Trained by\n\n```\n" + run->command + "\n```\n\n";
  card += "Exported by\n\n```\n" + facts.export_command + "\n```\n\n";
  return card + "## Licence\n\nNot chosen yet. Whoever publishes this model names its licence here and in the first lines of this file.\n";
}

}  // namespace isobath
