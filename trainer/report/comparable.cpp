#include "trainer/report/comparable.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

namespace isobath {
namespace {

constexpr double equal_flops = 0.001;
constexpr double longest_piece = 64;  // bytes; sentencepiece makes none longer than 16 characters

// Two runs whose `property` differs; empty when all agree.
template <typename Property>
std::vector<RunResult const*> that_differ(std::vector<RunResult const*> const& runs, Property property) {
  for (RunResult const* run : runs)
    if (property(*run) != property(*runs.front())) return {runs.front(), run};
  return {};
}

// What identifies the validation text. Older runs lack its hash: the same keys and length then stand for it.
std::string valid_text(RunResult const& run) {
  DataConfig const& data = run.config.data;
  return run.valid_text.empty() ? fmt::format("{}|{}|{}|{}|{}|{}", fmt::join(data.sources, ","), fmt::join(data.valid_sources, ","),
                                              data.valid_fraction, data.max_bytes, data.split.name(), run.metrics["valid_bytes"])
                                : run.valid_text;
}

// Of the result. Older runs lack the bytes: their tokens stand for them.
double validated_bytes(RunResult const& run) {
  double const bytes = run.metrics["eval_bytes"];
  return std::isnan(bytes) ? run.metrics["eval_tokens"] : bytes;
}

// Whether FLOPs that were spent before a run are known and equal.
bool equal_pretraining(RunResult const& a, RunResult const& b) {
  double const first = a.metrics["pretraining_flops"], second = b.metrics["pretraining_flops"];
  return std::abs(first - second) <= equal_flops * std::min(first, second);  // false where one is not known
}

// Why runs did not all begin with the same, or with weights that have cost the same FLOPs: what initial weights have cost is not in a run's
// own FLOPs and time.
std::string unequal_starts(std::vector<RunResult const*> const& runs) {
  auto const start = [](RunResult const& run) {
    TrainConfig const& train = run.config.train;
    std::string const from = train.init_from.empty() ? "random values" : "the weights of " + train.init_from;
    bool const taught = !train.distill.from.empty() && train.distill.from != train.init_from;
    return from + (taught ? " with the teacher " + train.distill.from : "");
  };
  auto const two = that_differ(runs, start);
  bool const same_cost =
      std::all_of(runs.begin(), runs.end(), [&](RunResult const* run) { return equal_pretraining(*runs.front(), *run); });
  return two.empty() || same_cost
             ? ""
             : fmt::format("{} started from {}, {} from {}", two[0]->label(), start(*two[0]), two[1]->label(), start(*two[1]));
}

}  // namespace

Comparable comparable_by(std::vector<RunResult const*> const& runs) {
  auto const either_hash = [&](RunResult const& run) { return run.valid_text.empty(); };
  auto const text = [&](RunResult const& run) { return valid_text(run); };
  if (auto const two = that_differ(runs, either_hash).empty() ? that_differ(runs, text) : std::vector<RunResult const*>(); !two.empty())
    return {"", fmt::format("{} and {} were validated on different text", two[0]->label(), two[1]->label())};
  auto const other_tokenizer = that_differ(runs, [](RunResult const& run) { return run.tokenizer; });
  // The first token of a text is not predicted, so its bytes are not counted; how many they are depends on the tokenizer.
  double const allowed = other_tokenizer.empty() ? 0 : longest_piece;
  for (RunResult const* run : runs)
    if (std::abs(validated_bytes(*run) - validated_bytes(*runs.front())) > allowed)
      return {"", fmt::format("{} was validated on {:.0f} bytes of text, {} on {:.0f} (eval.final_tokens)", runs.front()->label(),
                              validated_bytes(*runs.front()), run->label(), validated_bytes(*run))};
  if (auto const& two = other_tokenizer; !two.empty())
    return {"bits_per_byte_causal",
            fmt::format("{} and {} have different tokenizers, so bits per byte are compared", two[0]->label(), two[1]->label())};
  return {"loss_causal", ""};
}

std::string unequal_flops(std::vector<RunResult const*> const& runs) {
  if (runs.empty()) return "";
  if (std::string const reason = unequal_starts(runs); !reason.empty()) return reason;
  auto const [low, high] = std::minmax_element(runs.begin(), runs.end(), [](auto* a, auto* b) { return a->train_flops < b->train_flops; });
  auto const least = static_cast<double>((*low)->train_flops), most = static_cast<double>((*high)->train_flops);
  if (most <= least * (1 + equal_flops)) return "";
  bool const in_flops = std::all_of(runs.begin(), runs.end(), [](auto* run) { return run->config.train.budget.unit == Unit::flop; });
  return fmt::format(
      "training FLOPs differ by {:.2f} % ({} spent {:.4g}, {} spent {:.4g}; {})", 100 * (most / least - 1), (*low)->label(), least,
      (*high)->label(), most,
      in_flops ? "with so few steps the budget cannot be matched more closely: a larger one can" : "give train.budget in flop");
}

std::string unequal_machines(std::vector<RunResult const*> const& runs) {
  if (std::string const reason = unequal_starts(runs); !reason.empty()) return reason;
  for (RunResult const* run : runs)
    if (DistillConfig const& distill = run->config.train.distill; !distill.from.empty() && distill.top > 0)
      return fmt::format("{} spent no time on what an earlier run had its teacher say (train.distill.top)", run->label());
  if (auto const two = that_differ(runs, [](RunResult const& run) { return run.device; }); !two.empty())
    return fmt::format("{} ran on {}, {} on {}", two[0]->label(), two[0]->device, two[1]->label(), two[1]->device);
  auto const threads = [](RunResult const& run) {
    bool const several = run.metrics.contains("ranks") && run.metrics["ranks"] > 1;
    return several ? fmt::format("{:.0f} ranks of {:.0f}", run.metrics["ranks"], run.metrics["threads"])
                   : fmt::format("{:.0f}", run.metrics["threads"]);
  };
  if (auto const two = that_differ(runs, threads); !two.empty())
    return fmt::format("{} used {} threads, {} {}", two[0]->label(), threads(*two[0]), two[1]->label(), threads(*two[1]));
  return "";
}

}  // namespace isobath
