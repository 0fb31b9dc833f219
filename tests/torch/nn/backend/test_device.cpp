// Training and evaluation on a device other than the CPU: tensors are on it, the host never waits, and the numbers are the CPU's.

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/record_function.h>
#include <dlfcn.h>

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators_range.hpp>
#include <chrono>
#include <memory>

#include "core/error.h"
#include "core/random.h"
#include "model/decode/generate.h"
#include "nn/backend/backend.h"
#include "nn/device.h"
#include "nn/ops/ops.h"
#include "tests/fast/scratch.h"
#include "tests/torch/fake_device.h"
#include "tests/torch/reference.h"
#include "trainer/bench/ops.h"
#include "trainer/bench/profile.h"
#include "trainer/run/records.h"
#include "trainer/train/step.h"

using namespace isobath;
using namespace isobath::test;

namespace {

struct Arm {
  char const *name, *kind, *router, *gate, *causal;
};
constexpr Arm arms[] = {
    {"dense", "dense", "linear", "raw", "none"},
    {"linear, predictor", "mod", "linear", "raw", "predictor"},
    {"linear, bce", "mod", "linear", "sigmoid", "bce"},
    {"linear, none", "mod", "linear", "tanh", "none"},
    {"random, no gate", "mod", "random", "none", "none"},
    {"mlp, noise, z-loss, routed MLP", "mod", "mlp", "tanh", "bce"},
    {"token, routed attention", "mod", "token", "tanh", "predictor"},
    {"position", "mod", "position", "raw", "none"},
    {"norm", "mod", "norm", "none", "none"},
    {"expert choice, predictor", "expert", "linear", "sigmoid", "predictor"},
    {"expert choice, none", "expert", "linear", "raw", "none"},
};

// Branches of different depth wait for row counts at every exit, hardened tokens at every layer: their steps do read.
constexpr Arm reading_arms[] = {
    {"nested, weight", "nested", "linear", "weight", "none"},
    {"nested, gumbel", "nested", "mlp", "gumbel", "none"},
    {"nested, hindsight, by sequence", "nested", "linear", "hindsight", "none"},
    {"nested, random", "nested", "random", "weight", "none"},
    {"scaled layers", "scaled", "layer", "raw", "none"},
    {"scaled channels", "scaled", "channel", "raw", "none"},
    {"scaled tokens", "scaled", "token", "raw", "none"},
};

struct Run {
  explicit Run(Arm const& arm, at::Device device, bool narrow = false)
      : to_device(device),
        window_(arm.kind == std::string("dense")    ? 0
                : arm.kind == std::string("mod")    ? 1
                : arm.kind == std::string("scaled") ? 3
                                                    : 2,
                device) {
    ModelConfig config;
    config.layers = 3;
    config.width = 32;
    config.heads = 4;
    config.kv_heads = 2;
    config.context = 24;
    DepthConfig depth;
    depth.kind = arm.kind;
    depth.router = arm.router;
    if (depth.kind == "nested")
      depth.gate_training = arm.gate;
    else
      depth.gate = arm.gate;
    depth.causal = arm.causal;
    depth.capacity = {0.25};
    if (depth.router == "mlp") {
      depth.router_input = "normalised";
      depth.score_noise = 0.3;
      depth.z_loss_weight = 0.01;
      depth.target = "mlp";
      depth.skip_path = "low_rank";
    }
    if (depth.router == "token") {
      depth.target = "attention";
      depth.skip_path = "linear";
      depth.skipped_kv = "keep";
    }
    if (depth.kind == "expert") {
      depth.kind = "nested";
      depth.choice = "expert";
      depth.exits = {1, 2};
      depth.recursion = depth.exit_norms = depth.causal.name() == "none";
    } else if (depth.kind == "nested") {
      depth.choice = depth.gate_training.name() == "hindsight" ? "sequence" : "token";
      depth.balance = depth.router == "random" ? "none" : "bias";
      depth.exits = {1, 2};
      depth.mean_depth = 2.2;
    }
    if (depth.kind == "scaled") {
      depth.scale = arm.router;
      depth.router = "linear";
      depth.mean_depth = 2;
    }
    model = std::make_unique<LanguageModel>(config, depth, 61, 1);
    model->to(device);
    if (narrow) model->compute_in_bfloat16();
    model->train();
    optimizers = std::make_unique<Optimizers>(make_optimizers(*model, {}));
  }

  static Batch batch_of(int64_t step) {
    Batch batch;
    batch.sequences = 4;
    batch.length = 24;
    batch.target_count = 4 * 24 - 1;
    for (uint64_t i = 0; i < 4 * 24; ++i) {
      batch.tokens.push_back(static_cast<int64_t>(random_bits(static_cast<uint64_t>(step), i) % 61));
      batch.targets.push_back((batch.tokens.back() * 7 + 1) % 61);
    }
    batch.targets[5] = ignore_target;
    for (int64_t row = 0; row < 4; ++row) batch.windows.push_back(4 * step + row);
    return batch;
  }

  // Learns the likeliest tokens of a teacher, too. file: that keeps what it says.
  void learn_from_teacher(fs::path const& file) {
    settings.teaching = {std::make_shared<LanguageModel>(model->model_config(), DepthConfig{}, 61, 7), 1, 2, 5,
                         std::make_shared<TeacherCache>(file, 24, 5)};
    settings.teaching.teacher->to(model->device());
    settings.teaching.teacher->eval();
  }

  // Two micro-batches a step.
  void steps(int64_t first, int64_t last, int64_t micro_sequences = 2) {
    settings.micro_sequences = micro_sequences;
    for (int64_t step = first; step < last; ++step) {
      Batch const batch = batch_of(step);
      train_step(*model, *optimizers, to_device.load(batch), settings, {step, 0, 0, 1e-2}, window_);
    }
  }

  std::unique_ptr<LanguageModel> model;
  std::unique_ptr<Optimizers> optimizers;
  DevicePrefetcher to_device;
  MetricWindow window_;
  StepSettings settings{2, 0.01, 1};
};

}  // namespace

TEST_CASE("a training step on another device reads nothing and stays in place", "[device]") {
  Arm const arm = GENERATE(Catch::Generators::from_range(arms));
  bool const narrow = GENERATE(false, true);
  INFO(arm.name << (narrow ? ", bf16" : ""));
  Run run(arm, fake_device(), narrow);
  run.steps(0, 1);
  take_meetings();
  run.steps(1, 3);
  Meetings const of_steps = take_meetings();
  for (auto const& [name, times] : of_steps.reads) FAIL_CHECK(name << " " << times << " times");
  CHECK(of_steps.copies_from_host == 2);  // the batches
  CHECK(std::isfinite(read_window(run.window_, 3 * 96).loss));
  CHECK_FALSE(take_meetings().reads.empty());  // a record does read
}

TEST_CASE("training on another device gives the CPU's numbers", "[device]") {
  std::vector<Arm> all(std::begin(arms), std::end(arms));
  all.insert(all.end(), std::begin(reading_arms), std::end(reading_arms));
  Arm const arm = GENERATE_COPY(Catch::Generators::from_range(all));
  INFO(arm.name);
  Run host(arm, at::kCPU), device(arm, fake_device());
  for (Run* run : {&host, &device}) {
    run->steps(0, 1);
    run->model->harden();
    run->steps(1, 3);
  }
  auto const a = read_window(host.window_, 3 * 96), b = read_window(device.window_, 3 * 96);
  CHECK(b.loss == Catch::Approx(a.loss).epsilon(1e-5));
  CHECK(b.grad_norm == Catch::Approx(a.grad_norm).epsilon(1e-4));
  CHECK(at::equal(host.window_.routing_NC, device.window_.routing_NC.cpu()));
}

TEST_CASE("what a teacher has said before is learned on another device without a wait, and gives the CPU's numbers", "[device]") {
  Scratch const scratch;
  Run host(arms[0], at::kCPU), cold(arms[0], fake_device()), warm(arms[0], fake_device());
  host.learn_from_teacher(scratch / "host");
  for (Run* run : {&cold, &warm}) run->learn_from_teacher(scratch / "device");
  host.steps(0, 3);
  cold.steps(0, 3);
  warm.steps(0, 1);
  take_meetings();
  warm.steps(1, 3);
  Meetings const of_steps = take_meetings();
  for (auto const& [name, times] : of_steps.reads) FAIL_CHECK(name << " " << times << " times");
  CHECK(of_steps.copies_from_host == 2 + 2 * 2);  // the batches, and for each micro-batch what was said
  auto const a = read_window(host.window_, 3 * 96), b = read_window(cold.window_, 3 * 96), c = read_window(warm.window_, 3 * 96);
  CHECK(b.loss == Catch::Approx(a.loss).epsilon(1e-5));
  CHECK(b.divergence == Catch::Approx(a.divergence).epsilon(1e-4));
  CHECK(c.divergence == b.divergence);
}

TEST_CASE("causal evaluation and generation run on another device", "[device]") {
  Arm const arm = GENERATE(Catch::Generators::from_range(arms));
  INFO(arm.name);
  Run host(arm, at::kCPU), device(arm, fake_device());
  at::NoGradGuard const no_grad;
  Batch const batch = Run::batch_of(0);
  for (Run* run : {&host, &device}) run->model->eval();
  host.model->calibrate({host.to_device.load(batch).input(0, 4)}, {});  // a threshold that nothing has set is not decoded
  device.model->set_offsets(host.model->offsets());
  auto const losses = [&](Run& run) {
    DeviceBatch const loaded = run.to_device.load(batch);
    auto const output = run.model->forward(loaded.input(0, 4), Routing::causal, {});
    return ops::token_losses(output.x_ND, run.model->head_weight(), loaded.targets_N(0, 4)).cpu();
  };
  CHECK(largest_relative_difference(losses(host), losses(device)) < 1e-5);
  GenerateSettings settings;
  settings.max_tokens = 5;
  CHECK(generate(*host.model, {{1, 2, 3}}, settings).texts == generate(*device.model, {{1, 2, 3}}, settings).texts);
}

TEST_CASE("every operator of training and evaluation exists on CUDA", "[device]") {
  Scratch const scratch;
  take_operators();
  for (Arm const& arm : arms) {
    Run run(arm, fake_device(), /*narrow=*/true);
    if (run.model->plan().routed_layers().empty()) run.learn_from_teacher(scratch / "kept");
    run.steps(0, 1);
    at::NoGradGuard const no_grad;
    run.model->eval();
    Batch const batch = Run::batch_of(0);
    run.model->forward(run.to_device.load(batch).input(0, 4), Routing::causal, {});
  }
  auto operators = take_operators();
  REQUIRE(operators.size() > 40);
  for (char const* only_there :
       {"aten::_scaled_dot_product_flash_attention", "aten::_scaled_dot_product_flash_attention_backward",
        "aten::_scaled_dot_product_cudnn_attention", "aten::_scaled_dot_product_cudnn_attention_backward", "aten::mm.dtype"})
    operators[only_there] = 1;

  // The backend needs no GPU to say what it has, but all of CUDA's libraries.
  Dl_info info = {};
  REQUIRE(dladdr(reinterpret_cast<void*>(&at::globalContext), &info) != 0);
  std::string const path(info.dli_fname);
  if (dlopen((path.substr(0, path.rfind('/') + 1) + "libtorch_cuda.so").c_str(), RTLD_NOW | RTLD_GLOBAL) == nullptr)
    SKIP("LibTorch's CUDA backend does not load here: " << dlerror());
  for (auto const& [name, calls] : operators) {
    size_t const dot = name.find('.');
    auto const handle =
        c10::Dispatcher::singleton().findSchema({name.substr(0, dot), dot == std::string::npos ? std::string() : name.substr(dot + 1)});
    INFO(name);
    REQUIRE(handle.has_value());
    CHECK(handle->hasComputedKernelForDispatchKey(c10::DispatchKey::CUDA));
  }
}

TEST_CASE("bf16 follows fp32 while a small model learns", "[device]") {
  Arm const arm = GENERATE(Catch::Generators::from_range(arms));
  INFO(arm.name);
  Run wide(arm, at::kCPU), narrow(arm, at::kCPU, /*narrow=*/true);
  auto const loss_after = [](Run& run, int64_t first, int64_t last) {
    run.window_.clear();
    run.steps(first, last, 4);
    return read_window(run.window_, (last - first) * 96).loss;
  };
  CHECK(loss_after(narrow, 0, 5) == Catch::Approx(loss_after(wide, 0, 5)).epsilon(2e-3));
  CHECK(loss_after(narrow, 5, 30) == Catch::Approx(loss_after(wide, 5, 30)).epsilon(2e-2));
  for (auto const& parameter : narrow.model->parameters()) {
    CHECK(parameter.scalar_type() == at::kFloat);
    if (parameter.grad().defined()) CHECK(parameter.grad().scalar_type() == at::kFloat);
  }
  CHECK(narrow.model->forward(narrow.to_device.load(Run::batch_of(0)).input(0, 4), Routing::topk, {}).x_ND.scalar_type() == at::kBFloat16);
}

TEST_CASE("random scores are the same numbers on every device", "[device]") {
  at::Tensor const host = ops::random_normal(0xfedcba9876543210ULL, 4097, at::TensorOptions().dtype(at::kDouble));
  at::Tensor const device = ops::random_normal(0xfedcba9876543210ULL, 4097, at::TensorOptions().dtype(at::kDouble).device(fake_device()));
  CHECK(at::allclose(host, device.cpu(), 1e-12, 1e-12));
}

TEST_CASE("a batch on the device is not touched by the loads that follow it", "[device]") {
  DevicePrefetcher to_device(fake_device());
  std::vector<DeviceBatch> loaded;
  for (int64_t step = 0; step < 5; ++step) loaded.push_back(to_device.load(Run::batch_of(step)));
  for (int64_t step = 0; step < 5; ++step) {
    Batch const batch = Run::batch_of(step);
    at::Tensor const tokens = loaded[static_cast<size_t>(step)].tokens_BT.cpu().contiguous();
    CHECK(std::equal(batch.tokens.begin(), batch.tokens.end(), tokens.const_data_ptr<int64_t>()));
  }
}

TEST_CASE("a device that cannot be had is refused with what is missing", "[device]") {
  CHECK(open_device("cpu") == at::Device(at::kCPU));
  if (dlopen("libcuda.so.1", RTLD_NOW) != nullptr) SKIP("this machine has an NVIDIA driver");
  CHECK(open_device("auto") == at::Device(at::kCPU));
  try {
    open_device("cuda:1");
    FAIL("no error");
  } catch (Error const& error) {
    CHECK(error.code() == ExitCode::config);
    std::string const message = error.what();
    CHECK(message.starts_with("device cuda:1 cannot be used: missing is an NVIDIA driver"));
  }
}

TEST_CASE("the kernels' check finds them right", "[device]") {
  at::Tensor const good = at::ones({3}), bad = at::tensor({1.0f, std::nanf(""), 1.0f});
  CHECK(largest_difference({good}, {2 * good}) == 0.5);
  CHECK(std::isnan(largest_difference({good, bad}, {good, good})));
  CHECK(std::isnan(largest_difference({bad, good}, {good, 2 * good})));
  CHECK(std::isnan(largest_difference({good}, {bad})));
  Config config;
  config.train.batch_tokens = 512;
  int const threads = at::get_num_threads();
  at::set_num_threads(2);
  for (char const* precision : {"fp32", "bf16"}) {
    config.precision = precision;
    std::vector<OpResult> const results = bench_ops(config, 300, 1);
    CHECK(results.size() == 16);
    for (OpResult const& result : results) {
      INFO(precision << " " << result.name << " " << result.difference);
      CHECK(result.ok());
    }
  }
  at::set_num_threads(threads);
}

TEST_CASE("a profile divides a step into routing and the rest, forward and backward", "[device]") {
  Run dense(arms[0], at::kCPU), routed(arms[1], at::kCPU);
  dense.steps(0, 1);
  routed.steps(0, 1);
  Profile const of_dense = profile(at::kCPU, [&] { dense.steps(1, 2); });
  double wall_seconds = 0;
  Profile const of_routed = profile(at::kCPU, [&] {
    auto const start = std::chrono::steady_clock::now();
    routed.steps(1, 2);
    wall_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  });
  CHECK(of_routed.seconds == Catch::Approx(wall_seconds).epsilon(0.2));  // nothing counts twice
  CHECK(of_dense.routing_seconds == 0);
  CHECK(of_routed.routing_share() > 0.02);
  CHECK(of_routed.routing_share() < 0.9);
  auto const parts_of = [&](std::string const& name) {
    std::string parts;
    for (ProfileEntry const& entry : of_routed.entries)
      if (entry.name == name) parts += entry.part;
    return parts;
  };
  CHECK(parts_of("ops::top_k") == "routing");
  CHECK(parts_of("ScatterAddRows backward") == "routing");
  CHECK(parts_of("SwiGlu backward") == "model");
  CHECK(parts_of("ops::swiglu") == "model");
  double sum = 0;
  for (ProfileEntry const& entry : of_routed.entries) sum += entry.seconds;
  CHECK(sum == Catch::Approx(of_routed.seconds));
}
