#include <catch2/catch_test_macros.hpp>
#include <nlohmann/json.hpp>

#include "tests/fast/report_runs.h"
#include "trainer/report/page/page_json.h"
#include "trainer/report/report.h"

using namespace isobath;
using nlohmann::ordered_json;

TEST_CASE("page: holds what it shows, rounded; very many runs have fewer points each") {
  Folder const root;
  std::vector<std::string> const arms{"dense", "mod", "more"};
  write_experiment(root.path, arms, {1, 2}, "dense");
  for (std::string const& arm : arms)
    for (int64_t seed : {1, 2}) write_run(root.path, arm, seed, {.loss = 3.123456789, .routed = arm != "dense", .trained = 300});
  ordered_json whole = report_json(read_report({root.path}));
  ordered_json const page = page_json(whole);
  CHECK(whole["arms"][2]["runs"][0].contains("depth_text"));
  int texts = 0;
  for (ordered_json const& arm : page["arms"])
    if (arm["runs"][0].contains("depth_text")) {
      ++texts;
      CHECK(arm["name"] == page["challenger"]);
    }
  CHECK(texts == 1);
  CHECK(page["arms"][1]["runs"][0]["curve"][3] ==
        ordered_json{{"train_flops_total", 1000000000000}, {"time_s", 100}, {"loss_causal", 3.123457}});
  CHECK(page["arms"][0]["loss_causal"]["mean"] == 3.123457);
  CHECK(page["arms"][1]["runs"][0]["training"]["step"].size() == 150);

  for (int i = 0; i < 100; ++i) whole["arms"][0]["runs"].push_back(whole["arms"][0]["runs"][1]);
  ordered_json const many = page_json(whole)["arms"][1]["runs"][0]["training"];
  REQUIRE(many["step"].size() == 75);
  CHECK(many["step"][0] == whole["arms"][1]["runs"][0]["training"]["step"][1]);
  CHECK(std::abs(many["train_loss"][0].get<double>() - 4.9975) < 1e-3);
  CHECK(many["grad_norm"][0].is_null());
}
