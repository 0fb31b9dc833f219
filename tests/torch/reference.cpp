#include "tests/torch/reference.h"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <cmath>
#include <numeric>

#include "core/random.h"

namespace isobath::test {
namespace {

at::Tensor swish(at::Tensor const& x) { return x * x.sigmoid(); }

at::Tensor log_one_plus_exp(at::Tensor const& x) { return x.clamp_min(0) + (1 + (-x.abs()).exp()).log(); }

at::Tensor unit_rms(at::Tensor const& x) { return x / (x.pow(2).mean(-1, true) + 1e-6).sqrt(); }

}  // namespace

at::Tensor best(at::Tensor const& score_BT, at::Tensor const& segments_BT, int64_t K) {
  int64_t const B = score_BT.size(0), T = score_BT.size(1);
  at::Tensor const scores = score_BT.detach().to(at::kDouble).contiguous(), picked = at::zeros({B, T}, at::kBool);
  for (int64_t b = 0; b < B; ++b) {
    double const* score = scores.data_ptr<double>() + b * T;
    std::vector<int64_t> candidates;
    for (int64_t t = 0; t < T; ++t)
      if (score[t] != -INFINITY) candidates.push_back(t);
    auto const n = static_cast<int64_t>(candidates.size());
    std::vector<int64_t> order = candidates;
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t c) { return score[a] > score[c]; });
    std::map<int64_t, int64_t> left;
    auto const document = [&](int64_t t) { return segments_BT.defined() ? segments_BT[b][t].item<int64_t>() : 0; };
    for (int64_t i = 1; i <= K && n > 0; ++i)
      ++left[document(candidates[static_cast<size_t>((i * n + K - 1) / K - 1)])];  // of the mark's last whole token
    for (int64_t const t : order)
      if (left[document(t)]-- > 0) picked.data_ptr<bool>()[b * T + t] = true;
  }
  return picked;
}

bool is_trained(std::string const& name) {
  for (char const* state :
       {"router.threshold", "router.cut", "depth_gate.price", "depth_gate.balance", "depth_gate.cut", "depth_gate.chosen",
        "depth_scale.threshold", "depth_scale.cut", "depth_scale.hardened", "depth_scale.depth_sum"})
    if (name.ends_with(state)) return false;
  return true;
}

Reference::Reference(LanguageModel const& from) : model(from.model_config()), depth(from.depth_config()), training(from.is_training()) {
  for (auto const& stored : from.stored()) w[stored.name] = stored.tensor.clone().requires_grad_(is_trained(stored.name));
}

at::Tensor Reference::norm(at::Tensor const& x, at::Tensor const& weight) const {
  return x / (x.pow(2).mean(-1, true) + model.norm_eps).sqrt() * weight;
}

at::Tensor Reference::rotate(at::Tensor const& x_BTHE, at::Tensor const& positions_BT) const {
  int64_t const T = x_BTHE.size(1), E = x_BTHE.size(3);
  at::Tensor const place_BT = positions_BT.defined() ? positions_BT.to(x_BTHE.scalar_type()) : at::arange(T, x_BTHE.options()).unsqueeze(0);
  at::Tensor out = at::empty_like(x_BTHE);
  std::vector<at::Tensor> columns(static_cast<size_t>(E));
  for (int64_t i = 0; i < E / 2; ++i) {  // each pair (i, i + E/2) turns by t * theta^(-2i/E)
    double const frequency = std::pow(model.rope_theta, -2.0 * static_cast<double>(i) / static_cast<double>(E));
    at::Tensor const angle = (place_BT * frequency).unsqueeze(2);
    at::Tensor const a = x_BTHE.select(3, i), b = x_BTHE.select(3, i + E / 2);
    columns[static_cast<size_t>(i)] = a * angle.cos() - b * angle.sin();
    columns[static_cast<size_t>(i + E / 2)] = a * angle.sin() + b * angle.cos();
  }
  return at::stack(columns, 3);
}

at::Tensor Reference::attention(std::string const& layer, at::Tensor const& x_BTD, ModelInput const& input,
                                at::Tensor const& present_BT) const {
  int64_t const B = x_BTD.size(0), T = x_BTD.size(1), H = model.heads, G = model.kv_heads, E = model.width / H;
  auto const weight = [&](std::string const& name) { return w.at(layer + name + ".weight"); };
  at::Tensor const n = norm(x_BTD, weight("input_layernorm"));
  auto const heads = [&](std::string const& name, int64_t count) {
    return n.matmul(weight("self_attn." + name).t()).view({B, T, count, E});
  };
  at::Tensor q = heads("q_proj", H), k = heads("k_proj", G), v = heads("v_proj", G);
  if (model.qk_norm) {
    q = norm(q, weight("self_attn.q_norm"));
    k = norm(k, weight("self_attn.k_norm"));
  }
  q = rotate(q, input.positions_BT);
  k = rotate(k, input.positions_BT);
  std::vector<at::Tensor> outs;
  at::Tensor visible_BTT = at::ones({T, T}, at::kBool).tril().unsqueeze(0).logical_and(present_BT.unsqueeze(1));
  if (input.segments_BT.defined()) visible_BTT = visible_BTT.logical_and(input.segments_BT.unsqueeze(2).eq(input.segments_BT.unsqueeze(1)));
  for (int64_t h = 0; h < H; ++h) {
    int64_t const g = h / (H / G);
    at::Tensor scores = q.select(2, h).matmul(k.select(2, g).transpose(1, 2)) / std::sqrt(static_cast<double>(E));
    scores = scores.masked_fill(visible_BTT.logical_not(), -1e30);  // rows without any key become uniform; they are masked away later
    outs.push_back(scores.softmax(2).matmul(v.select(2, g)));
  }
  return at::cat(outs, 2).matmul(weight("self_attn.o_proj").t());
}

at::Tensor Reference::mlp(std::string const& layer, at::Tensor const& h) const {
  auto const weight = [&](std::string const& name) { return w.at(layer + name + ".weight"); };
  at::Tensor const m = norm(h, weight("post_attention_layernorm"));
  at::Tensor up = m.matmul(weight("mlp.up_proj").t());
  if (model.mlp == MlpKind::swiglu) {
    at::Tensor const gate = m.matmul(weight("mlp.gate_proj").t());
    up = gate * gate.sigmoid() * up;
  } else {
    up = at::gelu(up, "tanh");
  }
  return up.matmul(weight("mlp.down_proj").t());
}

at::Tensor Reference::score(std::string const& layer, at::Tensor const& x_BTD, ModelInput const& input, uint64_t noise_key) const {
  int64_t const B = x_BTD.size(0), T = x_BTD.size(1);
  auto const weight = [&](std::string const& name) { return w.at(layer + "router." + name); };
  if (depth.router == "random") return normal_tensor({B, T}, noise_key).to(x_BTD.scalar_type());
  at::Tensor const place = input.positions_BT.defined() ? input.positions_BT : at::arange(T).unsqueeze(0).expand({B, T});
  if (depth.router == "position") return weight("position.weight").index_select(0, place.reshape({-1})).view({B, T});
  if (depth.router == "token") return weight("token.weight").index_select(0, input.tokens_BT.reshape({-1})).view({B, T});
  if (depth.router == "norm") return x_BTD.detach().pow(2).mean(-1).sqrt();
  if (depth.router == "cosine") return unit_rms(x_BTD).matmul(unit_rms(weight("weight"))) / std::sqrt(static_cast<double>(model.width));
  at::Tensor const x = depth.router_input.name() == "normalised" ? unit_rms(x_BTD) : x_BTD;
  if (depth.router == "mlp") return swish(x.matmul(weight("up.weight").t())).matmul(weight("down.weight"));
  return x.matmul(weight("weight"));
}

at::Tensor Reference::causal_logit(std::string const& layer, at::Tensor const& x_BTD, at::Tensor const& score_BT, ModelInput const& input,
                                   uint64_t noise_key) const {
  if (depth.causal.name() == "bce") return depth.bce_detach ? score(layer, x_BTD.detach(), input, noise_key) : score_BT;
  if (depth.causal.name() != "predictor") return score_BT - w.at(layer + "router.threshold")[0];
  at::Tensor const n = unit_rms(x_BTD.detach());
  at::Tensor const hidden = swish(n.matmul(w.at(layer + "predictor.up.weight").t()) + w.at(layer + "predictor.up.bias"));
  return hidden.matmul(w.at(layer + "predictor.down.weight").t()).squeeze(2) + w.at(layer + "predictor.down.bias");
}

at::Tensor Reference::gate(at::Tensor const& score_BT) const {
  if (depth.gate.name() == "sigmoid") return depth.gate_alpha * score_BT.sigmoid();
  if (depth.gate.name() == "sigmoid2") return 2 * score_BT.sigmoid();
  if (depth.gate.name() == "tanh") return 1 + 0.2 * score_BT.tanh();
  if (depth.gate.name() == "none") return at::ones_like(score_BT);
  return score_BT;
}

double Reference::capacity_of(size_t layer) const {
  size_t const routed = static_cast<size_t>((model.layers - depth.offset + depth.stride - 1) / depth.stride),
               entries = depth.capacity.size();
  if (entries == 1 || routed == 1) return depth.capacity[0];
  for (size_t i = 0; i + 1 < entries; ++i) {  // entry i stands at i / (entries - 1) of the way
    double const from = static_cast<double>(i * (routed - 1)), to = static_cast<double>((i + 1) * (routed - 1));
    double const at = static_cast<double>(layer * (entries - 1));
    if (at <= to) return depth.capacity[i] + (depth.capacity[i + 1] - depth.capacity[i]) * (at - from) / (to - from);
  }
  return depth.capacity.back();
}

Reference::Output Reference::forward(ModelInput const& input, Routing routing, NoiseKey const& noise,
                                     std::vector<at::Tensor> const& topk_BT) const {
  int64_t const B = input.tokens_BT.size(0), T = input.tokens_BT.size(1);
  Output out;
  at::Tensor x = at::embedding(w.at("model.embed_tokens.weight"), input.tokens_BT);
  at::Tensor const everyone = at::ones({B, T}, at::kBool);
  std::vector<at::Tensor> router_losses, predictor_losses, z_losses;
  for (int64_t i = 0; i < model.layers; ++i) {
    std::string const layer = "model.layers." + std::to_string(i) + ".";
    bool const routed = depth.kind == "mod" && i >= depth.offset && (i - depth.offset) % depth.stride == 0;
    if (!routed) {
      x = x + attention(layer, x, input, everyone);
      x = x + mlp(layer, x);
      continue;
    }
    if (depth.target.name() == "mlp") x = x + attention(layer, x, input, everyone);
    uint64_t const noise_key =
        make_key({noise.seed, static_cast<uint64_t>(noise.step), static_cast<uint64_t>(noise.stream), static_cast<uint64_t>(i)});
    at::Tensor const r = score(layer, x, input, noise_key);
    int64_t const K = std::max<int64_t>(1, static_cast<int64_t>(std::floor(capacity_of(out.executed_BT.size()) * static_cast<double>(T))));
    at::Tensor const picked = topk_BT.empty() ? best(r, input.segments_BT, K) : topk_BT.at(out.executed_BT.size());
    at::Tensor const logit = causal_logit(layer, x, r, input, noise_key);
    at::Tensor const bce = (log_one_plus_exp(logit) - logit * picked.to(logit.scalar_type())).mean();
    if (depth.causal.name() == "bce") router_losses.push_back(bce);
    if (depth.causal.name() == "predictor") predictor_losses.push_back(bce);
    if (depth.z_loss_weight > 0 && depth.router != "random" && depth.router != "norm")
      z_losses.push_back(log_one_plus_exp(r).pow(2).mean());
    double const cut = training ? 0 : w.at(layer + "router.cut").item<double>();
    bool const everyone_runs = capacity_of(out.executed_BT.size()) >= 1;
    at::Tensor const ran = routing == Routing::topk ? picked : everyone_runs ? everyone : logit.detach().gt(cut);
    at::Tensor const attended =
        depth.target.name() == "mlp" ? at::Tensor() : attention(layer, x, input, depth.skipped_kv.name() == "keep" ? everyone : ran);
    at::Tensor const delta = depth.target.name() == "attention" ? attended
                             : depth.target.name() == "mlp"     ? mlp(layer, x)
                                                                : attended + mlp(layer, x + attended);
    at::Tensor const runs = ran.to(r.scalar_type());
    at::Tensor next = x + (gate(r) * runs).unsqueeze(2) * delta;
    if (depth.skip_path.name() != "identity") {
      at::Tensor skip = unit_rms(x);
      if (depth.skip_path.name() == "low_rank") skip = skip.matmul(w.at(layer + "skip.down.weight").t());
      next = next + (1 - runs).unsqueeze(2) * skip.matmul(w.at(layer + "skip.up.weight").t());
    }
    x = depth.target.name() == "attention" ? next + mlp(layer, next) : next;
    out.executed_BT.push_back(ran);
    out.score_BT.push_back(r);
  }
  out.x_BTD = norm(x, w.at("model.norm.weight"));
  if (!router_losses.empty()) out.router_loss = at::stack(router_losses).mean();
  if (!predictor_losses.empty()) out.predictor_loss = at::stack(predictor_losses).mean();
  if (!z_losses.empty()) out.z_loss = at::stack(z_losses).mean();
  return out;
}

at::Tensor Reference::loss_sum(Output const& output, at::Tensor const& targets_BT) const {
  at::Tensor const& head = w.at(model.tie_embeddings ? "model.embed_tokens.weight" : "lm_head.weight");
  at::Tensor const logits = output.x_BTD.matmul(head.t()).flatten(0, 1);
  return at::cross_entropy_loss(logits, targets_BT.reshape({-1}), {}, at::Reduction::Sum, -100);
}

Shape small_shape(std::string const& kind) {
  Shape shape;
  shape.model.layers = 4;
  shape.model.width = 16;
  shape.model.heads = 4;
  shape.model.kv_heads = 2;
  shape.model.mlp_width = 20;
  shape.model.context = 24;
  shape.depth.kind = kind;
  shape.depth.capacity = {0.25};
  return shape;
}

Shape tiny_shape() {
  Shape shape;
  shape.model.layers = 3;
  shape.model.width = 8;
  shape.model.heads = 2;
  shape.model.kv_heads = 1;
  shape.model.mlp_width = 12;
  shape.model.context = 16;
  shape.depth.kind = "mod";
  shape.depth.stride = 1;
  shape.depth.offset = 1;
  shape.depth.capacity = {0.25};
  shape.depth.router_width = 5;
  shape.depth.predictor_width = 6;
  shape.vocab = 11;
  return shape;
}

std::shared_ptr<LanguageModel> make_model(Shape const& shape, at::ScalarType type, uint64_t seed) {
  auto model = std::make_shared<LanguageModel>(shape.model, shape.depth, shape.vocab, seed);
  model->to(type);
  at::NoGradGuard no_grad;
  uint64_t key = 77;
  for (auto const& stored : model->stored()) {
    if (stored.name.ends_with("router.cut")) continue;  // younger than the weights of tests/golden/reference.safetensors
    ++key;
    if (!is_trained(stored.name)) continue;
    // Larger than a fresh start, so that attention, gates and norms all matter.
    at::Tensor(stored.tensor).add_(0.15 * normal_tensor(stored.tensor.sizes(), key));
  }
  return model;
}

std::map<std::string, at::Tensor> stored_gradients(LanguageModel const& model) {
  // A second model that holds the gradients as its values splits the fused tensors.
  auto holder = std::make_shared<LanguageModel>(model.model_config(), model.depth_config(), model.vocab_size(), 1);
  holder->to(model.head_weight().scalar_type());
  at::NoGradGuard no_grad;
  auto to = holder->named_parameters();
  for (auto const& item : model.named_parameters()) {
    at::Tensor const g = item.value().grad();
    if (g.defined())
      to[item.key()].copy_(g);
    else
      to[item.key()].zero_();
  }
  std::map<std::string, at::Tensor> gradients;
  for (auto const& stored : holder->stored())
    if (is_trained(stored.name)) gradients[stored.name] = stored.tensor;
  return gradients;
}

at::Tensor normal_tensor(at::IntArrayRef sizes, uint64_t key) {
  at::Tensor values = at::empty(sizes, at::kDouble);
  for (int64_t i = 0; i < values.numel(); ++i) values.data_ptr<double>()[i] = random_normal(key, static_cast<uint64_t>(i));
  return values;
}

at::Tensor random_tokens(int64_t B, int64_t T, int64_t vocab, uint64_t seed) {
  at::Tensor tokens = at::empty({B, T}, at::kLong);
  for (int64_t i = 0; i < tokens.numel(); ++i)
    tokens.data_ptr<int64_t>()[i] = static_cast<int64_t>(random_bits(seed, static_cast<uint64_t>(i)) % static_cast<uint64_t>(vocab));
  // Equal leading tokens leave the first layers equal but for rounding: a tie that no two implementations break alike.
  tokens.select(1, 1).copy_((tokens.select(1, 0) + 1) % vocab);
  return tokens;
}

void check_direction(LanguageModel& model, std::function<at::Tensor()> const& loss, std::function<bool(std::string const&)> const& moves) {
  model.zero_grad();
  loss().backward();
  auto const gradients = stored_gradients(model);
  std::vector<std::pair<at::Tensor, at::Tensor>> steps;
  double squares = 0, analytic = 0;
  for (auto const& stored : model.stored()) {
    if (!moves(stored.name)) continue;
    at::Tensor const direction = normal_tensor(stored.tensor.sizes(), 1000 + steps.size());
    squares += direction.pow(2).sum().item<double>();
    analytic += (direction * gradients.at(stored.name)).sum().item<double>();
    steps.emplace_back(stored.tensor, direction);
  }
  REQUIRE(!steps.empty());
  analytic /= std::sqrt(squares);
  at::NoGradGuard no_grad;
  auto const loss_moved_by = [&](double distance) {
    for (auto const& [parameter, direction] : steps) parameter.add_(direction, distance / std::sqrt(squares));
    return loss().item<double>();
  };
  double const h = 1e-5;
  double const up = loss_moved_by(h), down = loss_moved_by(-2 * h);
  loss_moved_by(h);
  double const numeric = (up - down) / (2 * h);
  INFO("numeric " << numeric << ", analytic " << analytic);
  CHECK(std::abs(numeric - analytic) <= 1e-6 * std::max(1.0, std::abs(analytic)));
}

double largest_relative_difference(at::Tensor const& a, at::Tensor const& b) {
  double const scale = b.abs().max().item<double>();
  double const difference = (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
  return scale > 0 ? difference / scale : difference;
}

at::Tensor stored_tensor(LanguageModel const& model, std::string const& name) {
  for (auto const& stored : model.stored())
    if (stored.name == name) return stored.tensor;
  FAIL("the model stores no " << name);
  return {};
}

void finish_step(LanguageModel& model, ModelOutput const& output, bool updated, double progress) {
  StepStatistics step;
  step.add(output.statistics);
  step.updated = at::full({}, updated, at::kBool);
  step.progress = progress;
  model.end_of_step(step);
}

}  // namespace isobath::test
