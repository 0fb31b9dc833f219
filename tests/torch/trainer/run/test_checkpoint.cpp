#include "trainer/run/checkpoint.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/error.h"
#include "tests/fast/scratch.h"
#include "trainer/run/record_file.h"
#include "trainer/run/state.h"

using namespace isobath;

namespace {

void put_file(fs::path const& path, std::string const& content) { write_file_atomic(path, content); }

fs::path make_checkpoint(fs::path const& checkpoints, int64_t step, std::string const& content = "weights") {
  fs::path const folder = checkpoints / checkpoint_name(step);
  write_checkpoint_folder(folder, [&](fs::path const& temporary) {
    put_file(temporary / "a.bin", content + std::to_string(step));
    put_file(temporary / "b.txt", "text");
  });
  return folder;
}

// The message of the Error(checkpoint) that verification ends with; empty: the folder is whole.
std::string damage_of(fs::path const& folder) {
  try {
    verify_checkpoint(folder);
    return "";
  } catch (Error const& error) {
    CHECK(error.code() == ExitCode::checkpoint);
    return error.what();
  }
}

size_t entries_in(fs::path const& folder) {
  return static_cast<size_t>(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

}  // namespace

TEST_CASE("a written checkpoint is whole; any damage is found and named") {
  Scratch const scratch;
  fs::path const folder = make_checkpoint(scratch.path(), 12);
  CHECK(folder.filename() == "step-00000012");
  CHECK(damage_of(folder).empty());
  CHECK(entries_in(scratch.path()) == 1);

  SECTION("a changed byte") {
    std::ofstream(folder / "a.bin", std::ios::binary) << "wEights12";
    CHECK(damage_of(folder).find("a.bin does not match its checksum") != std::string::npos);
  }
  SECTION("a cut file") {
    fs::resize_file(folder / "a.bin", 3);
    CHECK(damage_of(folder).find("a.bin has 3 bytes") != std::string::npos);
  }
  SECTION("a missing file") {
    fs::remove(folder / "b.txt");
    CHECK(damage_of(folder).find("b.txt is missing") != std::string::npos);
  }
  SECTION("no manifest") {
    fs::remove(folder / "manifest.json");
    CHECK(damage_of(folder).find("manifest.json is missing") != std::string::npos);
  }
  SECTION("half a manifest") {
    fs::resize_file(folder / "manifest.json", 20);
    CHECK(damage_of(folder).find("manifest.json cannot be read") != std::string::npos);
  }
}

TEST_CASE("a checkpoint that fails half way leaves the one before it, and nothing else") {
  Scratch const scratch;
  fs::path const folder = make_checkpoint(scratch.path(), 1, "old");
  auto const fill = [](fs::path const& temporary) {
    put_file(temporary / "a.bin", "new");
    throw Error(ExitCode::disk, "no space left");
  };
  try {
    write_checkpoint_folder(folder, fill);
    FAIL("not thrown");
  } catch (Error const& error) {
    CHECK(error.code() == ExitCode::disk);
    CHECK(std::string(error.what()).find("no space left") != std::string::npos);
  }
  CHECK(damage_of(folder).empty());
  CHECK(read_file(folder / "a.bin") == "old1");
  CHECK(entries_in(scratch.path()) == 1);
  make_checkpoint(scratch.path(), 1, "new");  // replaces it
  CHECK(read_file(folder / "a.bin") == "new1");
  CHECK(entries_in(scratch.path()) == 1);
}

TEST_CASE("recovery goes back to the newest whole checkpoint and sets damaged ones aside") {
  Scratch const scratch;
  CHECK_FALSE(recover_newest_checkpoint(scratch.path()));
  for (int64_t step : {5, 10, 100'000'000}) make_checkpoint(scratch.path(), step);
  CHECK(recover_newest_checkpoint(scratch.path())->filename() == "step-100000000");

  fs::resize_file(scratch / "step-100000000" / "a.bin", 1);
  CHECK(recover_newest_checkpoint(scratch.path())->filename() == "step-00000010");
  CHECK(fs::exists(scratch / "step-100000000.damaged"));
  CHECK(list_checkpoints(scratch.path()).size() == 2);

  fs::remove(scratch / "step-00000010" / "a.bin");
  fs::remove(scratch / "step-00000005" / "manifest.json");
  CHECK_THROWS_AS(recover_newest_checkpoint(scratch.path()), Error);
  CHECK(list_checkpoints(scratch.path()).size() == 2);  // nothing is touched when nothing can be saved
}

TEST_CASE("a checkpoint of a newer format is left alone, and nothing older is taken instead") {
  Scratch const scratch;
  for (int64_t step : {5, 10}) make_checkpoint(scratch.path(), step);
  fs::path const manifest = scratch / "step-00000010" / "manifest.json";
  std::string text = read_file(manifest);
  text.replace(text.find("\"version\": 1"), 12, "\"version\": 2");
  write_file_atomic(manifest, text);
  CHECK_THROWS_WITH(recover_newest_checkpoint(scratch.path()), Catch::Matchers::ContainsSubstring("format version 2"));
  CHECK(list_checkpoints(scratch.path()).size() == 2);
}

TEST_CASE("pruning keeps the newest and the protected") {
  Scratch const scratch;
  for (int64_t step = 1; step <= 6; ++step) make_checkpoint(scratch.path(), step);
  prune_checkpoints(scratch.path(), 2, {3, -1});
  std::vector<int64_t> steps;
  for (fs::path const& folder : list_checkpoints(scratch.path())) steps.push_back(*checkpoint_step(folder));
  CHECK(steps == std::vector<int64_t>{3, 5, 6});
  CHECK(entries_in(scratch.path()) == 3);
}

TEST_CASE("what a crash leaves behind is removed, and a checkpoint on its way out is put back") {
  Scratch const scratch;
  make_checkpoint(scratch.path(), 2);
  fs::rename(scratch / "step-00000002", scratch / ".old-step-00000002");  // died between the two renames of a replacement
  fs::create_directory(scratch / ".tmp-step-00000002");
  fs::create_directory(scratch / ".tmp-step-00000009");
  remove_leftovers(scratch.path());
  CHECK(damage_of(scratch / "step-00000002").empty());
  CHECK(entries_in(scratch.path()) == 1);
}

TEST_CASE("a path means a checkpoint: itself, a link to it, or its run folder") {
  Scratch const scratch;
  make_checkpoint(scratch / "checkpoints", 3);
  make_checkpoint(scratch / "checkpoints", 7);
  CHECK(find_checkpoint(scratch.path()).filename() == "step-00000007");
  point_link(scratch / "latest", "checkpoints/step-00000003");
  CHECK(find_checkpoint(scratch.path()).filename() == "step-00000003");
  point_link(scratch / "latest", "checkpoints/step-00000007");
  CHECK(find_checkpoint(scratch.path()).filename() == "step-00000007");
  CHECK(damage_of(find_checkpoint(scratch / "latest")).empty());
  CHECK_THROWS_AS(find_checkpoint(scratch / "nothing"), Error);
  fs::create_directory(scratch / "empty");
  CHECK_THROWS_AS(find_checkpoint(scratch / "empty"), Error);
}

TEST_CASE("a link may be a file, or the folder that a copy made of it") {
  Scratch const scratch;
  make_checkpoint(scratch / "checkpoints", 3);
  make_checkpoint(scratch / "checkpoints", 7);
  put_file(scratch / "latest", "checkpoints/step-00000003\n");  // what a file system without links gets
  CHECK(find_checkpoint(scratch.path()).filename() == "step-00000003");
  CHECK(find_checkpoint(scratch / "latest").filename() == "step-00000003");
  fs::remove(scratch / "latest");
  fs::copy(scratch / "checkpoints/step-00000003", scratch / "latest");
  CHECK(find_checkpoint(scratch.path()).filename() == "latest");
  point_link(scratch / "latest", "checkpoints/step-00000007");
  CHECK(find_checkpoint(scratch.path()).filename() == "step-00000007");
  CHECK(fs::is_symlink(scratch / "latest"));
  CHECK(entries_in(scratch.path()) == 2);
  fs::create_symlink("checkpoints/step-00000003", scratch / "other");  // no link of a run: it stands for itself
  CHECK(followed_link(scratch / "other") == scratch / "other");
}

TEST_CASE("a checkpoint that is deleted while it is read is replaced by the latest one") {
  Scratch const scratch;
  make_checkpoint(scratch / "checkpoints", 3);
  make_checkpoint(scratch / "checkpoints", 7);
  point_link(scratch / "latest", "checkpoints/step-00000003");
  auto const deletes_the_first = [&](fs::path const& folder) {
    if (folder.filename() == "step-00000007") return;
    point_link(scratch / "latest", "checkpoints/step-00000007");
    fs::remove_all(folder);
    read_file(folder / "state.json");
  };
  CHECK(find_checkpoint(scratch.path(), deletes_the_first).filename() == "step-00000007");
  fs::path const named = scratch / "checkpoints/step-00000007";
  try {
    find_checkpoint(named, [](fs::path const& folder) {
      fs::remove_all(folder);
      read_file(folder / "state.json");
    });
    FAIL("the folder is gone");
  } catch (Error const& error) {
    CHECK(error.code() == ExitCode::checkpoint);
    CHECK(std::string(error.what()).find("deleted while it was read") != std::string::npos);
  }
}

TEST_CASE("a checkpoint is written under a bare name and under one that ends in slashes") {
  Scratch const scratch;
  fs::path const before = fs::current_path();
  fs::current_path(scratch.path());
  for (char const* name : {"bare", "slash/", "new/slashes//"}) {
    for (int round = 0; round < 2; ++round)  // the second one replaces the first
      CHECK_NOTHROW(write_checkpoint_folder(name, [](fs::path const& temporary) { write_file_atomic(temporary / "state.json", "{}"); }));
    CHECK_NOTHROW(verify_checkpoint(name));
  }
  size_t const entries = static_cast<size_t>(std::distance(fs::directory_iterator("."), fs::directory_iterator()));
  fs::current_path(before);
  CHECK(entries == 3);  // nothing temporary is left
}

TEST_CASE("a training state survives JSON exactly") {
  TrainState state;
  state.step = 7;
  state.train_flops = *parse_int128("1000000000000000000000001");  // neither a double nor 64 bits
  state.window_flops = (int64_t{1} << 53) - 1;
  state.train_seconds = 0.1 + 0.2;
  state.best_value = 2.345678901234567;
  state.finished = true;
  // Every number differs, so that none can be lost or take another's place.
  state.tokens = 8;
  state.next_sample = 9;
  state.window_steps = 10;
  state.window_seconds = 11.5;
  state.data_wait_seconds = 12.5;
  state.best_step = 13;
  state.validated_step = 14;
  state.checkpointed_step = 15;
  state.seed = 16;
  state.micro_batch_tokens = 17;
  state.data_key = "18";
  state.tokenizer_fingerprint = "19";
  state.machine = {"1.2.3", "2.11.0", "AVX2", "BLAS", 3};
  state.segments = {{0, 10, {}}, {5, 20, {"train.lr: 1 -> 2"}}};
  std::string const text = to_json(state).dump();
  TrainState const back = state_from_json(text, "here");
  CHECK(to_json(back).dump() == text);
  CHECK(back.train_flops == state.train_flops);
  CHECK(back.window_flops == state.window_flops);
  CHECK(text.find("\"train_flops\":\"1000000000000000000000001\"") != std::string::npos);
  CHECK(text.find("\"window_flops\":9007199254740991,") != std::string::npos);
  CHECK(back.train_seconds == state.train_seconds);
  CHECK(back.machine == state.machine);
  CHECK(back.segments[1].changes == state.segments[1].changes);
  CHECK(state_from_json(to_json(TrainState{}).dump(), "here").best_value == std::numeric_limits<double>::infinity());
  auto older = to_json(state);
  older["train_flops"] = (int64_t{1} << 62) + 1;  // a number, as totals of any size were written before
  older.erase("window_flops");
  CHECK(state_from_json(older.dump(), "here").train_flops == (int64_t{1} << 62) + 1);
  CHECK(state_from_json(older.dump(), "here").window_flops == -1);
  std::string const deep = std::string(200'000, '[') + std::string(200'000, ']');
  CHECK_THROWS_AS(state_from_json(R"({"step": 1, "tokens": 2, "train_flops": )" + deep + "}", "here"), Error);
  older["train_flops"] = "1e24";
  CHECK_THROWS_AS(state_from_json(older.dump(), "here"), Error);
  CHECK_THROWS_AS(state_from_json("{\"step\": 1}", "here"), Error);
  CHECK_THROWS_AS(state_from_json("[", "here"), Error);
}

TEST_CASE("metrics are cut back to what a resumed run will not write again") {
  Scratch const scratch;
  fs::path const path = scratch / "metrics.jsonl";
  {
    RecordFile metrics(path);
    auto const write = [&](char const* kind, int64_t step, char const* reason = "") {
      metrics.write({{"kind", kind}, {"step", step}, {"reason", reason}});
    };
    write("run", 0);
    write("train", 10);
    write("validation", 10);
    write("checkpoint", 10, "scheduled");
    write("train", 20);
    write("validation", 20);
    write("checkpoint", 20, "scheduled");
    write("checkpoint", 20, "stopped");
    write("end", 20);
    write("train", 30);
  }
  std::ofstream(path, std::ios::app) << "{\"kind\":\"train\",\"st";
  auto const kept = [&](int64_t validated, int64_t checkpointed) {
    Scratch const other;
    fs::copy_file(path, other / "m");
    TrainState state;
    state.step = 20;
    state.validated_step = validated;
    state.checkpointed_step = checkpointed;
    cut_back_records(other / "m", state);
    std::string kinds;
    std::istringstream lines(read_file(other / "m"));
    for (std::string line; std::getline(lines, line);) {
      auto const record = nlohmann::json::parse(line);
      kinds += record["kind"].get<std::string>().substr(0, 1) + std::to_string(record["step"].get<int>()) + " ";
    }
    return kinds;
  };
  CHECK(kept(20, 20) == "r0 t10 v10 c10 t20 v20 c20 ");
  CHECK(kept(20, 10) == "r0 t10 v10 c10 t20 v20 ");
  CHECK(kept(10, 10) == "r0 t10 v10 c10 t20 ");
}
