// Several ranks train the same model as one process that cuts its batch into as many micro-batches.

#include <ATen/ATen.h>

#include <catch2/catch_message.hpp>
#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <mutex>
#include <thread>

#include "core/error.h"
#include "model/weights.h"
#include "tests/fast/scratch.h"
#include "tests/torch/trainer/parallel/in_threads.h"
#include "tests/torch/trainer/train/small_training.h"
#include "trainer/parallel/agreement.h"
#include "trainer/run/saved_model.h"
#include "trainer/run/tensor_parts.h"

using namespace isobath;
using namespace isobath::test;

namespace {

ParallelConfig sharded(bool shards) {
  ParallelConfig parallel;
  if (shards) parallel.shard = Sharding::optimizer;
  parallel.bucket_bytes = 4096;  // several buckets
  return parallel;
}

struct Trained {
  std::map<std::string, at::Tensor> weights;
  std::vector<at::Tensor> window;
  int64_t moments = 0;  // values that one rank holds
};

Trained trained(SmallTraining& run) {
  run.window.gather(run.ranks);
  Trained result{stored_copies(*run.model), {}};
  for (TensorPart const& part : run.window.tensors()) result.window.push_back(part.values.clone());
  for (TensorPart const& part : run.optimizers.language_model.state()) result.moments += part.values.numel();
  return result;
}

// What each rank ends with. micro_sequences: of each rank.
std::vector<Trained> train_in_threads(DepthCase const& depth_case, int64_t count, bool shards, int64_t micro_sequences = 1) {
  std::vector<Trained> results(static_cast<size_t>(count));
  in_threads(count, [&](Ranks& ranks) {
    SmallTraining run(depth_case, micro_sequences, ranks, sharded(shards));
    for (int64_t step = 0; step < trained_steps; ++step) run.step(step);
    results[static_cast<size_t>(ranks.rank())] = trained(run);
  });
  return results;
}

// tolerance: of the weights; 0: to the last bit.
void check_equal(Trained const& a, Trained const& b, double tolerance, double window_tolerance) {
  for (auto const& [name, tensor] : a.weights) {
    INFO(name);
    at::Tensor const& other = b.weights.at(name);
    CHECK((tolerance > 0 ? (tensor - other).abs().max().item<double>() <= tolerance : tensor.equal(other)));
  }
  for (size_t i = 0; i < a.window.size(); ++i) {
    INFO("window, tensor " << i);
    bool const exact = a.window[i].scalar_type() == at::kLong || window_tolerance == 0;
    CHECK((exact ? a.window[i].equal(b.window[i]) : a.window[i].allclose(b.window[i], window_tolerance, window_tolerance)));
  }
}

}  // namespace

TEST_CASE("ranks: 2 and 4 train what one process trains, whatever the kind of depth", "[ranks]") {
  for (DepthCase const& depth_case : depth_cases()) {
    SmallTraining alone(depth_case, 1);
    for (int64_t step = 0; step < trained_steps; ++step) alone.step(step);
    Trained const expected = trained(alone);
    bool const more = std::string(depth_case.label).starts_with("mod predictor") || std::string(depth_case.label) == "scaled token";
    for (auto const& [count, shards] : std::vector<std::pair<int64_t, bool>>{{2, false}, {2, true}, {4, false}, {4, true}}) {
      if (count == 4 && !more) continue;
      std::vector<Trained> const results = train_in_threads(depth_case, count, shards);
      INFO(depth_case.label << ", " << count << " ranks" << (shards ? ", optimizer sharded" : ""));
      for (Trained const& result : results) {
        check_equal(result, expected, 1e-9, 1e-6);
        check_equal(result, results.front(), 0, 0);
      }
    }
  }
}

// Both add the gradients of the first half of the batch and those of the second half, and nothing else.
TEST_CASE("ranks: 2 train bit for bit what one process trains in 2 micro-batches", "[ranks]") {
  for (DepthCase const& depth_case : depth_cases()) {
    SmallTraining alone(depth_case, 2);
    for (int64_t step = 0; step < trained_steps; ++step) alone.step(step);
    INFO(depth_case.label);
    check_equal(train_in_threads(depth_case, 2, /*shards=*/false, 2).front(), trained(alone), 0, 1e-12);
  }
  DepthCase const predictor = depth_cases()[2];
  check_equal(train_in_threads(predictor, 3, true).front(), train_in_threads(predictor, 3, true).back(), 0, 0);  // and again, as before
}

TEST_CASE("ranks: a sharded optimizer holds 1/N of the moments", "[ranks]") {
  DepthCase const depth_case = depth_cases()[2];
  int64_t const all = train_in_threads(depth_case, 2, false).front().moments;
  for (int64_t const count : {2, 3, 4})
    for (Trained const& rank : train_in_threads(depth_case, count, true))
      CHECK(static_cast<double>(rank.moments) < 1.02 * static_cast<double>(all) / static_cast<double>(count));
}

// Every rank computes with the bf16 values of the fp32 weights, of which a sharded optimizer leaves it 1/N. AdamW rounds the last elements
// of a tensor otherwise than those before them, and so a part of a tensor otherwise than all of it.
TEST_CASE("ranks: in bf16 a sharded optimizer holds 1/N of the fp32 weights of blocks, and trains the same", "[ranks]") {
  Scratch const scratch;
  auto const tokenizer = byte_tokenizer();
  DepthCase const depth_case = depth_cases()[2];
  std::vector<Trained> whole(3), divided(3), resumed(3);
  std::vector<int64_t> full(3), masters(3);
  fs::path const folder = scratch / checkpoint_name(6);
  in_threads(3, [&](Ranks& ranks) {
    auto const rank = static_cast<size_t>(ranks.rank());
    SmallTraining run(depth_case, 1, ranks, sharded(false), at::kBFloat16);
    for (int64_t step = 0; step < trained_steps; ++step) run.step(step);
    whole[rank] = trained(run);
  });
  in_threads(3, [&](Ranks& ranks) {
    auto const rank = static_cast<size_t>(ranks.rank());
    SmallTraining run(depth_case, 1, ranks, sharded(true), at::kBFloat16);
    for (int64_t step = 0; step < trained_steps; ++step) {
      if (step == 6) {
        run.window.gather(ranks);
        Config config;
        config.depth = run.model->depth_config();
        TrainState state;
        save_checkpoint(folder, *run.model, run.optimizers, run.window, {state, config, *tokenizer}, ranks);
      }
      run.step(step);
    }
    for (TrainedParameter const& parameter : run.model->parameters_of({"blocks"})) {
      if (parameter.tensor.scalar_type() != at::kBFloat16) throw std::runtime_error(parameter.name + " is kept in full");
      full[rank] += parameter.tensor.numel();
    }
    for (ParameterGroup const& group : run.optimizers.exchange->own_groups())
      if (group.compute_type)
        for (TensorPart const& part : group.parameters) masters[rank] += part.values.numel();
    WholeWeights const all(run.optimizers.exchange.get());
    divided[rank] = trained(run);
  });
  in_threads(3, [&](Ranks& ranks) {
    SmallTraining run(depth_case, 1, ranks, sharded(true), at::kBFloat16);
    restore_training(folder, *run.model, run.optimizers, run.window);
    for (int64_t step = 6; step < trained_steps; ++step) run.step(step);
    WholeWeights const all(run.optimizers.exchange.get());
    resumed[static_cast<size_t>(ranks.rank())] = trained(run);
  });
  for (size_t rank = 0; rank < 3; ++rank) {
    check_equal(divided[rank], whole.front(), 1e-5, 1e-5);
    check_equal(divided[rank], divided.front(), 0, 0);
    check_equal(resumed[rank], divided.front(), 0, 0);
    CHECK(static_cast<double>(masters[rank]) < 1.02 * static_cast<double>(full[rank]) / 3);
  }
}

// More ranks add the same gradients in another order, which rounds differently in fp32. A dense model makes no routing decision that such a
// difference could flip.
TEST_CASE("ranks: 1, 2 and 4 have the same dense losses over 50 steps in fp32", "[ranks]") {
  auto const losses_of = [](Ranks const& ranks, bool shards) {
    SmallTraining run(depth_cases()[0], 1, ranks, sharded(shards), at::kFloat);
    std::vector<double> losses;
    for (int64_t step = 0; step < 50; ++step) {
      run.window.clear();
      run.step(step % trained_steps);
      losses.push_back(run.window.sums_S[MetricWindow::loss].item<double>());
    }
    return losses;
  };
  std::vector<double> const alone = losses_of(one_process(), false);
  CHECK(alone.back() < 0.9 * alone.front());
  for (auto const& [count, shards] : std::vector<std::pair<int64_t, bool>>{{2, false}, {2, true}, {4, false}, {4, true}}) {
    std::vector<double> losses;
    in_threads(count, [&](Ranks& ranks) {
      std::vector<double> const own = losses_of(ranks, shards);
      if (ranks.is_first()) losses = own;
    });
    double largest = 0;
    for (size_t step = 0; step < losses.size(); ++step) largest = std::max(largest, std::abs(losses[step] / alone[step] - 1));
    INFO(count << " ranks" << (shards ? ", optimizer sharded" : "") << ": " << largest);
    CHECK(largest < 1e-5);
  }
}

TEST_CASE("ranks: any number of them goes on from a checkpoint of any other", "[ranks]") {
  Scratch const scratch;
  auto const tokenizer = byte_tokenizer();
  for (size_t const which : {2, 5, 10, 16}) {  // predictor, trained by threshold, hindsight, scaled by token
    DepthCase const depth_case = depth_cases()[which];
    SmallTraining straight(depth_case, 1);
    for (int64_t step = 0; step < trained_steps; ++step) straight.step(step);
    Trained const expected = trained(straight);
    for (auto const& [before, after] : std::vector<std::pair<int64_t, int64_t>>{{1, 3}, {2, 1}, {3, 2}, {4, 4}}) {
      fs::path const folder = scratch / (std::to_string(which) + "-" + std::to_string(before)) / checkpoint_name(6);
      in_threads(before, [&](Ranks& ranks) {
        SmallTraining run(depth_case, 1, ranks, sharded(true));
        for (int64_t step = 0; step < 6; ++step) run.step(step);
        run.window.gather(ranks);
        Config config;
        config.depth = run.model->depth_config();
        TrainState state;
        save_checkpoint(folder, *run.model, run.optimizers, run.window, {state, config, *tokenizer}, ranks);
      });
      verify_checkpoint(folder);
      in_threads(after, [&](Ranks& ranks) {
        SmallTraining run(depth_case, 1, ranks, sharded(after != 2));
        restore_training(folder, *run.model, run.optimizers, run.window);
        for (int64_t step = 6; step < trained_steps; ++step) run.step(step);
        Trained const result = trained(run);
        if (!ranks.is_first()) return;
        INFO(depth_case.label << ": from " << before << " ranks to " << after);
        check_equal(result, expected, 1e-9, 1e-6);
      });
    }
  }
}

TEST_CASE("ranks: tensors of different lengths are joined in the order of the ranks", "[ranks]") {
  for (at::ScalarType const type : {at::kFloat, at::kDouble, at::kLong, at::kBool})
    in_threads(3, [&](Ranks& ranks) {
      at::Tensor const all = at::arange(12).remainder(2).to(type).view({6, 2});
      at::Tensor const own = all.narrow(0, ranks.rank() == 2 ? 1 : 0, ranks.rank() == 2 ? 5 : ranks.rank());
      at::Tensor const expected = at::cat({all.narrow(0, 0, 0), all.narrow(0, 0, 1), all.narrow(0, 1, 5)});
      if (!ranks.joined(own).equal(expected)) throw std::runtime_error("joined wrongly");
      if (ranks.joined(own.narrow(0, 0, 0)).size(0) != 0) throw std::runtime_error("nothing joined is something");
    });
}

TEST_CASE("ranks: what differs is refused, and the ranks are named", "[ranks]") {
  std::mutex mutex;
  std::vector<std::string> messages;
  auto const note = [&](auto const& work) {
    messages.clear();
    in_threads(3, [&](Ranks& ranks) {
      try {
        work(ranks);
      } catch (Error const& error) {
        std::lock_guard const lock(mutex);
        messages.push_back(error.what());
      }
    });
  };
  note([](Ranks& ranks) { check_same(ranks, "text", ranks.rank() == 1 ? "other" : "usual"); });
  REQUIRE(messages.size() == 3);
  CHECK(messages[0].find("do not have the same text") != std::string::npos);
  CHECK(messages[0].find("\n  rank 1 ") < messages[0].find(": other"));
  note([](Ranks& ranks) { check_same(ranks, "text", "usual"); });
  CHECK(messages.empty());

  note([](Ranks& ranks) {
    at::Tensor const weights = at::ones({1000});
    if (ranks.rank() == 2) weights[999].fill_(1 + 1e-7);
    check_weights(ranks, {at::zeros({3}), weights}, 12);
  });
  REQUIRE(messages.size() == 3);
  CHECK(messages[0].starts_with("after step 12 the weights of rank 2 "));
  note([](Ranks& ranks) { check_weights(ranks, {at::ones({1000})}, 12); });
  CHECK(messages.empty());
}

// torchrun keeps its store over the starts of a job.
TEST_CASE("ranks: they meet in a store that holds what earlier ranks have left", "[ranks]") {
  RankPlace place;
  place.address = "127.0.0.1";
  place.port = unused_port();
  KeyStore store(place, "lobby", /*serves=*/true, 5);
  store.set("mark/1", "of a rank that died before the others came");
  place.size = 3;
  place.store_is_running = true;
  for (int start = 0; start < 3; ++start) {
    std::vector<std::vector<std::string>> heard(3);
    std::vector<std::thread> threads;
    for (int64_t rank = 0; rank < 3; ++rank)
      threads.emplace_back([&, rank] {
        RankPlace own = place;
        own.rank = rank;
        std::this_thread::sleep_for(std::chrono::milliseconds(30 * rank));
        Ranks const ranks(own, 20);
        heard[static_cast<size_t>(rank)] = ranks.collect(std::to_string(start) + "/" + std::to_string(rank));
      });
    for (std::thread& thread : threads) thread.join();
    std::string const now = std::to_string(start) + "/";
    for (auto const& texts : heard) CHECK(texts == std::vector<std::string>{now + "0", now + "1", now + "2"});
  }
}

TEST_CASE("ranks: one that does not come is named", "[ranks]") {
  RankPlace place;
  place.size = 3;
  place.address = "127.0.0.1";
  place.port = unused_port();
  std::string message;
  try {
    Ranks const ranks(place, 0.5);
  } catch (Error const& error) {
    CHECK(error.code() == ExitCode::distributed);
    message = error.what();
  }
  CHECK(message.find("of 3 ranks these did not come") == 0);
  CHECK(message.ends_with(": 1, 2"));
}

TEST_CASE("ranks: shares of a batch cover it", "[ranks]") {
  for (int64_t ranks = 1; ranks < 9; ++ranks)
    for (int64_t sequences = ranks; sequences < 30; ++sequences) {
      int64_t next = 0;
      for (int64_t rank = 0; rank < ranks; ++rank) {
        BatchShare const share = batch_share(sequences, rank, ranks);
        CHECK(share.first == next);
        CHECK((share.count == sequences / ranks || share.count == sequences / ranks + 1));
        next += share.count;
      }
      CHECK(next == sequences);
    }
}
