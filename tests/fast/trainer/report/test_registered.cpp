#include <catch2/catch_test_macros.hpp>
#include <nlohmann/json.hpp>
#include <regex>

#include "tests/fast/report_runs.h"
#include "trainer/report/registered.h"
#include "trainer/report/report.h"

using namespace isobath;

namespace {

Config experiment(std::vector<std::string> const& arms, std::vector<int64_t> const& seeds) {
  Config config;
  config.compare.baseline = "dense";
  config.compare.seeds = seeds;
  for (std::string const& arm : arms) config.compare.arms.push_back({arm, {}, {}});
  return config;
}

}  // namespace

TEST_CASE("registered: the experiment is written once, before the first run") {
  Folder const root;
  Config config = experiment({"dense", "mod"}, {1, 2});
  keep_registered(root.path, config, "abc123");
  std::string const first = read_file(root.path / "registered.yaml");
  CHECK(std::regex_search(first, std::regex("^# registered \\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\dZ by isobath abc123\nname: ")));
  config.train.lr = 5e-3;
  keep_registered(root.path, config, "later");
  CHECK(read_file(root.path / "registered.yaml") == first);

  Folder const older;  // from before there were such files
  write_run(older.path, "mod", 2, {});
  keep_registered(older.path, config, "abc123");
  CHECK_FALSE(fs::exists(older.path / "registered.yaml"));
  CHECK_FALSE(read_registered(older.path, config));

  Folder const sweep;  // whose runs lie in folders of their budgets
  config.compare.budgets = {{3e12, Unit::flop}};
  write_run(sweep.path / "mod", "3e12flop", 2, {});
  keep_registered(sweep.path, config, "abc123");
  CHECK_FALSE(fs::exists(sweep.path / "registered.yaml"));
}

TEST_CASE("registered: changes since then are said in words") {
  Config const before = experiment({"dense", "mod", "gone"}, {1, 2, 9});
  CHECK(changes_in_words(before, before).empty());
  Config now = experiment({"dense", "mod", "keep"}, {1, 2, 3, 4, 5});
  now.compare.arms[1].set.push_back({"model.layers", "3", ""});
  now.train.lr = 2 * before.train.lr;
  now.compare.jobs = 2;
  std::vector<std::string> const expected{"arm mod: {} -> {set: {model.layers: 3}}",
                                          "arm keep was added",
                                          "arm gone was removed",
                                          "seeds 3 to 5 were added",
                                          "seed 9 was removed",
                                          "train.lr: 0.003 -> 0.006",
                                          "compare.jobs: auto -> 2"};
  CHECK(changes_in_words(before, now) == expected);
  CHECK(changes_in_words(experiment({"dense"}, {1}), experiment({"dense"}, {1, 2, 3, 7})).front() == "seeds 2, 3, 7 were added");
}

TEST_CASE("registered: report.json has the file, what it sets and what has changed") {
  Folder const root;
  write_experiment(root.path, {"dense", "mod"}, {1}, "dense");
  write_run(root.path, "dense", 1, {});
  CHECK(report_json(read_report({root.path}))["registered"].is_null());

  Config config = experiment({"dense"}, {1});
  config.name = root.path.filename().string();
  config.train.lr = 1e-3;
  config.compare.arms[0].set.push_back({"model.layers", "3", ""});
  std::string const head = "# registered 2026-11-27T18:30:11Z by isobath v1-2-gabc\n";
  write_file_atomic(root.path / "registered.yaml", head + to_yaml(config));
  json const registered = report_json(read_report({root.path}))["registered"];
  CHECK(registered["time"] == "2026-11-27T18:30:11Z");
  CHECK(registered["revision"] == "v1-2-gabc");
  CHECK(registered["yaml"] == to_yaml(config));
  CHECK(registered["changes"] == json{"arm dense: {set: {model.layers: 3}} -> {}", "arm mod was added", "train.lr: 0.001 -> 0.003"});
  CHECK(registered["arms"] == json{{{"name", "dense"}, {"text", "{set: {model.layers: 3}}"}}});
  CHECK(contains(registered["settings"].dump(), R"({"key":"train.lr","value":"0.001"})"));
  CHECK(contains(registered["settings"].dump(), R"({"key":"compare.jobs","value":"auto"})"));
  CHECK(contains(registered["settings"].dump(), "train.batch_tokens"));
  CHECK_FALSE(contains(registered["settings"].dump(), "train.schedule"));  // as by default

  write_file_atomic(root.path / "registered.yaml", head + "model: {a_key_of_another_time: 3}\n");
  json const unread = report_json(read_report({root.path}))["registered"];
  CHECK(unread["changes"].size() == 1);
  CHECK(contains(unread["changes"][0], "a_key_of_another_time"));
  CHECK(unread["arms"].empty());
}
