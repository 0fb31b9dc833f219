// Training counts the FLOPs of what it has computed: with isolated documents, of the pairs of query and key inside documents.
#include <catch2/catch_test_macros.hpp>
#include <nlohmann/json.hpp>
#include <sstream>

#include "config/io.h"
#include "data/loader.h"
#include "data/prepare.h"
#include "format/total.h"
#include "model/ledger/ledger.h"
#include "tests/fast/scratch.h"
#include "trainer/train/trainer.h"

using namespace isobath;
using nlohmann::json;

namespace {

constexpr int64_t batch_sequences = 2, context = 64;

// Many documents of 5 to 27 tokens in sequences of 64, and a budget in FLOPs.
Config documents_config(Scratch const& scratch, std::vector<std::string> const& overrides) {
  std::string text;
  for (int i = 0; i < 600; ++i)
    text += json{{"text", std::string(static_cast<size_t>(5 + i * i % 23), static_cast<char>('a' + i % 26))}}.dump() + "\n";
  scratch.write("text.jsonl", text);
  std::string const folder = scratch.path().string();
  scratch.write("run.yaml", "name: run\nrun_dir: " + folder + "/runs\ndata: {sources: [" + folder + "/text.jsonl], cache_dir: " + folder +
                                "/cache, isolate_documents: true}\ntokenizer: {kind: byte}\n"
                                "model: {layers: 4, width: 16, heads: 2, context: 64}\n"
                                "train: {budget: 4e8flop, batch_tokens: 128, log_every: 1000step, threads: 1}\n"
                                "eval: {every: 100%, tokens: 128, final_tokens: 128, sample_tokens: off}\n");
  return load_config(scratch / "run.yaml", overrides).config;
}

std::vector<json> records(Scratch const& scratch, std::string const& kind) {
  std::vector<json> found;
  std::istringstream lines(read_file(scratch / "runs/run/metrics.jsonl"));
  for (std::string line; std::getline(lines, line);)
    if (json record = json::parse(line); record["kind"] == kind) found.push_back(std::move(record));
  return found;
}

}  // namespace

TEST_CASE("training counts the attention of isolated documents, and no more", "[documents]") {
  std::vector<std::string> depth;
  SECTION("dense") {}
  SECTION("routed MLPs: every token attends in every layer") { depth = {"depth.kind=mod", "depth.capacity=25%", "depth.target=mlp"}; }
  Scratch const scratch;
  Config const config = documents_config(scratch, depth);
  REQUIRE(train(config, "test") == 0);
  json const end = records(scratch, "end").front();
  auto const steps = end["step"].get<int64_t>();
  REQUIRE(steps > 20);

  PreparedData const data = prepare_data(config);
  TokenStream const stream(data.train);
  Loader const loader(stream, context, static_cast<uint64_t>(config.seed), false, true);
  Ledger const ledger = make_ledger(config.model, config.depth, data.tokenizer->vocab_size());
  int64_t const triangle = batch_sequences * causal_pairs(context), layers = 4;
  Int128 expected, before;
  for (int64_t step = 0; step < steps; ++step) {
    int64_t const pairs = loader.at(step * batch_sequences, batch_sequences).pairs;
    CHECK(pairs < triangle / 2);
    before = expected;
    // What the step costs without isolation, less the pairs that isolation leaves out in each layer, forward and backward.
    expected += planned_train_flops(config.model, config.depth, data.tokenizer->vocab_size(), batch_sequences, context);
    expected = expected - Int128(3 * layers * (triangle - pairs)) * ledger.pair;
  }
  CHECK(end["train_flops_total"].is_number_integer());  // exact, not rounded
  CHECK(*read_total(end["train_flops_total"]) == expected);
  CHECK(before < 400000000);  // the last step brings the total nearest to the budget
  CHECK(400000000 - expected < expected - before);
  CHECK(records(scratch, "train").size() == 1);  // planned as it was realised: a false plan would make a record at a false end
}
