#pragma once
// What an experiment is. Plain data; each part of the program takes its own section.
// Meaning, range, default and resume class of every key: the table in config_fields.cpp
// (rendered for people as configs/README.md).

#include <cstdint>
#include <string>
#include <vector>

#include "config/choice.h"
#include "core/units.h"

namespace isobath {

enum class Split { document, tail };
template <>
struct ChoiceNames<Split> {
  static constexpr std::array names{"document", "tail"};
};

struct DataConfig {
  std::vector<std::string> sources{"libtorch-headers"};
  std::vector<std::string> valid_sources;  // empty: split from `sources`
  Choice<Split> split = Split::document;
  double valid_fraction = 0.02;
  int64_t max_bytes = 0;  // 0: all
  std::string text_key = "text";
  bool isolate_documents = false;
  std::string cache_dir = "auto";
};

struct TokenizerConfig {
  std::string kind = "bpe";  // bpe | byte | a path to tokenizer.model
  int64_t vocab_size = 512;
  int64_t train_bytes = 16 << 20;  // text the BPE is trained on

  bool is_byte() const { return kind == "byte"; }
  bool is_trained() const { return kind == "bpe"; }  // on the run's own text; otherwise read from a file, or bytes
};

enum class MlpKind { swiglu, gelu };
template <>
struct ChoiceNames<MlpKind> {
  static constexpr std::array names{"swiglu", "gelu"};
};

struct ModelConfig {
  int64_t layers = 4;
  int64_t width = 64;
  int64_t heads = 4;
  int64_t kv_heads = 4;
  Choice<MlpKind> mlp = MlpKind::swiglu;
  int64_t mlp_width = 0;  // 0: auto
  int64_t context = 128;
  bool tie_embeddings = true;
  double rope_theta = 10000;
  double norm_eps = 1e-5;
  double init_std = 0;  // 0: auto
  bool qk_norm = false;
};

enum class RoutedPart { block, attention, mlp };
template <>
struct ChoiceNames<RoutedPart> {
  static constexpr std::array names{"block", "attention", "mlp"};
};
enum class SkipPath { identity, linear, low_rank };
template <>
struct ChoiceNames<SkipPath> {
  static constexpr std::array names{"identity", "linear", "low_rank"};
};
enum class SkippedKv { drop, keep };
template <>
struct ChoiceNames<SkippedKv> {
  static constexpr std::array names{"drop", "keep"};
};
enum class RouterInputForm { raw, normalised };
template <>
struct ChoiceNames<RouterInputForm> {
  static constexpr std::array names{"raw", "normalised"};
};
enum class Gate { raw, sigmoid, sigmoid2, tanh, none };
template <>
struct ChoiceNames<Gate> {
  static constexpr std::array names{"raw", "sigmoid", "sigmoid2", "tanh", "none"};
};
enum class Causal { none, bce, predictor, threshold };
template <>
struct ChoiceNames<Causal> {
  static constexpr std::array names{"none", "bce", "predictor", "threshold"};
};
enum class BranchChoice { token, sequence, expert };
template <>
struct ChoiceNames<BranchChoice> {
  static constexpr std::array names{"token", "sequence", "expert"};
};
enum class GateTraining { weight, gumbel, hindsight };
template <>
struct ChoiceNames<GateTraining> {
  static constexpr std::array names{"weight", "gumbel", "hindsight"};
};
enum class Balance { none, loss, bias };
template <>
struct ChoiceNames<Balance> {
  static constexpr std::array names{"none", "loss", "bias"};
};
enum class ScaleBy { layer, channel, token };
template <>
struct ChoiceNames<ScaleBy> {
  static constexpr std::array names{"layer", "channel", "token"};
};

struct DepthConfig {
  std::string kind = "dense";           // dense | mod | nested | scaled
  std::vector<double> capacity{0.125};  // stretched over the routed layers
  double capacity_warmup = 0;           // share of the run
  std::vector<double> capacity_random;  // lowest and highest; empty: off
  int64_t stride = 2;
  int64_t offset = 1;
  Choice<RoutedPart> target = RoutedPart::block;
  Choice<SkipPath> skip_path = SkipPath::identity;
  int64_t skip_rank = 0;  // 0: auto
  Choice<SkippedKv> skipped_kv = SkippedKv::drop;
  std::string router = "linear";  // config_routers.h
  Choice<RouterInputForm> router_input = RouterInputForm::raw;
  int64_t router_width = 0;  // 0: auto
  double router_lr = 1;      // factor on train.lr
  double router_weight_decay = 0;
  double z_loss_weight = 0;
  double score_noise = 0;
  Choice<Gate> gate = Gate::raw;
  double gate_alpha = 1;
  Choice<Causal> causal = Causal::predictor;
  bool threshold_training = false;
  double bce_weight = 0.01;
  bool bce_detach = false;
  int64_t predictor_width = 0;    // 0: auto
  double threshold_decay = 0.99;  // running quantile of none and threshold
  // nested
  std::vector<int64_t> exits;  // layers after which tokens may stop, ascending; the last layer is one more
  int64_t decide_after = 0;    // 0: auto
  Choice<BranchChoice> choice = BranchChoice::token;
  int64_t prefix = 0;  // 0: auto
  Choice<GateTraining> gate_training = GateTraining::weight;
  double hindsight_temperature = 0.1;
  Choice<Balance> balance = Balance::none;
  double balance_weight = 0.01;
  double price_rate = 0.01;
  bool recursion = false;   // stacks behind the first exit share their weights
  bool exit_norms = false;  // a final norm for every branch
  // nested and scaled
  double mean_depth = 0;  // 0: off
  // scaled
  Choice<ScaleBy> scale = ScaleBy::layer;
  double scale_init = 0.9;
  double scale_weight = 1;
  double skip_below = 0;      // 0: off
  double harden_after = 0.5;  // share of the run
};

enum class LearningRateSchedule { cosine, wsd };
template <>
struct ChoiceNames<LearningRateSchedule> {
  static constexpr std::array names{"cosine", "wsd"};
};

struct TrainConfig {
  Duration budget{1000, Unit::step};
  int64_t batch_tokens = 1024;
  int64_t micro_batch_tokens = 0;  // 0: auto
  double lr = 3e-3;
  double min_lr = 0.1;  // share of lr
  Choice<LearningRateSchedule> schedule = LearningRateSchedule::cosine;
  Duration warmup{5, Unit::percent};
  Duration decay{20, Unit::percent};  // the last part of `wsd`
  double weight_decay = 0.1;
  std::vector<double> betas{0.9, 0.95};
  double eps = 1e-8;
  double clip_norm = 1.0;
  Duration log_every{10, Unit::step};
  int64_t threads = 0;  // 0: auto
};

enum class EvalRouting { topk, causal, both };
template <>
struct ChoiceNames<EvalRouting> {
  static constexpr std::array names{"topk", "causal", "both"};
};

struct EvalConfig {
  Duration every{25, Unit::percent};
  int64_t tokens = 16384;    // 0: all of the validation text
  int64_t final_tokens = 0;  // same, for the evaluation that ends a run
  Choice<EvalRouting> routing = EvalRouting::both;
  int64_t calibration_tokens = 16384;  // 0: off
  int64_t sample_tokens = 64;          // length of the text sample; 0: none
  std::string sample_prompt;
};

struct CheckpointConfig {
  Duration every{25, Unit::percent};
  int64_t keep = 2;
};

enum class MatchAdjust { layers, mlp_width };
template <>
struct ChoiceNames<MatchAdjust> {
  static constexpr std::array names{"layers", "mlp_width"};
};

// `match: {forward_flops_of: dense, adjust: layers}`
struct MatchConfig {
  std::string forward_flops_of;  // name of another arm; empty: no matching
  Choice<MatchAdjust> adjust = MatchAdjust::layers;
};

// One assignment of an arm's `set:`, kept as text so that it goes through the same checks as any other value.
struct Assignment {
  std::string path;   // "model.layers"
  std::string value;  // YAML text of the value
  std::string where;  // "quickstart.yaml:31:14"
};

struct ArmConfig {
  std::string name;
  std::vector<Assignment> set;
  MatchConfig match;
};

struct CompareConfig {
  std::string baseline;
  std::vector<int64_t> seeds{1};
  int64_t jobs = 1;  // runs at a time, each with its share of the cores
  std::vector<ArmConfig> arms;
};

enum class Precision { fp32, bf16 };
template <>
struct ChoiceNames<Precision> {
  static constexpr std::array names{"fp32", "bf16"};
};
enum class CudaAttention { flash, cudnn };
template <>
struct ChoiceNames<CudaAttention> {
  static constexpr std::array names{"flash", "cudnn"};
};

struct Config {
  std::string name = "run";
  std::string run_dir = "runs";
  int64_t seed = 1;
  std::string device = "cpu";  // auto | cpu | cuda | cuda:i
  Choice<Precision> precision = Precision::fp32;
  Choice<CudaAttention> cuda_attention = CudaAttention::flash;
  DataConfig data;
  TokenizerConfig tokenizer;
  ModelConfig model;
  DepthConfig depth;
  TrainConfig train;
  EvalConfig eval;
  CheckpointConfig checkpoint;
  CompareConfig compare;
};

int64_t bytes_per_value(Config const&);  // of an activation, a key or a value, by `precision`

// Values that `auto` stands for.
int64_t resolved_mlp_width(ModelConfig const&);                         // swiglu: 8/3 width, gelu: 4 width, rounded up to a multiple of 8
double resolved_init_std(ModelConfig const&);                           // 0.5 / sqrt(width)
int64_t resolved_skip_rank(ModelConfig const&, DepthConfig const&);     // max(1, width / 16)
int64_t resolved_router_width(ModelConfig const&, DepthConfig const&);  // max(8, width / 4)
int64_t resolved_decide_after(DepthConfig const&);                      // the first exit
int64_t resolved_prefix(ModelConfig const&, DepthConfig const&);        // max(1, context / 8)
int64_t resolved_predictor_width(ModelConfig const&, DepthConfig const&);  // max(8, width / 4)

}  // namespace isobath
