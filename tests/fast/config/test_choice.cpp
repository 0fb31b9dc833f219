// Options whose values are enumerators (config/choice.h).

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <sstream>

#include "config/config.h"
#include "core/error.h"

namespace isobath {
namespace {

// The table of names has one entry for each enumerator, in their order.
template <class E>
void check_names(std::initializer_list<std::pair<E, char const*>> expected) {
  CHECK(ChoiceNames<E>::names.size() == expected.size());
  for (auto const& [value, name] : expected) {
    CAPTURE(name);
    CHECK(Choice<E>(value).name() == name);
    Choice<E> choice = expected.begin()->first;
    choice = name;
    CHECK(choice.value() == value);
  }
}

TEST_CASE("a name stands for its enumerator") {
  check_names<Split>({{Split::document, "document"}, {Split::tail, "tail"}, {Split::automatic, "auto"}});
  check_names<MlpKind>({{MlpKind::swiglu, "swiglu"}, {MlpKind::gelu, "gelu"}});
  check_names<RoutedPart>({{RoutedPart::block, "block"}, {RoutedPart::attention, "attention"}, {RoutedPart::mlp, "mlp"}});
  check_names<SkipPath>({{SkipPath::identity, "identity"}, {SkipPath::linear, "linear"}, {SkipPath::low_rank, "low_rank"}});
  check_names<SkippedKv>({{SkippedKv::drop, "drop"}, {SkippedKv::keep, "keep"}});
  check_names<RouterInputForm>({{RouterInputForm::raw, "raw"}, {RouterInputForm::normalised, "normalised"}});
  check_names<Gate>(
      {{Gate::raw, "raw"}, {Gate::sigmoid, "sigmoid"}, {Gate::sigmoid2, "sigmoid2"}, {Gate::tanh, "tanh"}, {Gate::none, "none"}});
  check_names<Causal>({{Causal::none, "none"}, {Causal::bce, "bce"}, {Causal::predictor, "predictor"}, {Causal::threshold, "threshold"}});
  check_names<BranchChoice>({{BranchChoice::token, "token"}, {BranchChoice::sequence, "sequence"}, {BranchChoice::expert, "expert"}});
  check_names<GateTraining>({{GateTraining::weight, "weight"}, {GateTraining::gumbel, "gumbel"}, {GateTraining::hindsight, "hindsight"}});
  check_names<Balance>({{Balance::none, "none"}, {Balance::loss, "loss"}, {Balance::bias, "bias"}});
  check_names<ScaleBy>({{ScaleBy::layer, "layer"}, {ScaleBy::channel, "channel"}, {ScaleBy::token, "token"}});
  check_names<LearningRateSchedule>({{LearningRateSchedule::cosine, "cosine"}, {LearningRateSchedule::wsd, "wsd"}});
  check_names<EvalRouting>({{EvalRouting::topk, "topk"}, {EvalRouting::causal, "causal"}, {EvalRouting::both, "both"}});
  check_names<MatchAdjust>({{MatchAdjust::layers, "layers"}, {MatchAdjust::mlp_width, "mlp_width"}});
  check_names<Precision>({{Precision::fp32, "fp32"}, {Precision::bf16, "bf16"}});
  check_names<CudaAttention>({{CudaAttention::flash, "flash"}, {CudaAttention::cudnn, "cudnn"}});
}

TEST_CASE("a choice stands for its enumerator") {
  DepthConfig depth;
  depth.causal = Causal::threshold;
  CHECK(depth.causal == Causal::threshold);
  CHECK(depth.causal != Causal::bce);
  bool reached = false;
  switch (depth.causal) {
    case Causal::threshold:
      reached = true;
      break;
    default:
      break;
  }
  CHECK(reached);
  Causal const value = depth.causal;
  CHECK(value == Causal::threshold);
  std::ostringstream text;
  text << depth.causal;
  CHECK(text.str() == "threshold");
}

TEST_CASE("an unknown name is refused with the list of names, and changes nothing") {
  DepthConfig depth;
  depth.gate = Gate::tanh;
  CHECK_THROWS_MATCHES(depth.gate = "tan", Error, Catch::Matchers::Message("'tan' is not one of raw, sigmoid, sigmoid2, tanh, none"));
  CHECK(depth.gate == Gate::tanh);
}

TEST_CASE("the tokenizer says whether it is bytes or trained on the text") {
  TokenizerConfig tokenizer;
  CHECK((tokenizer.is_trained() && !tokenizer.is_byte()));
  tokenizer.kind = "byte";
  CHECK((!tokenizer.is_trained() && tokenizer.is_byte()));
  tokenizer.kind = "old/tokenizer.model";
  CHECK((!tokenizer.is_trained() && !tokenizer.is_byte()));
}

}  // namespace
}  // namespace isobath
