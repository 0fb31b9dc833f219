#include "core/slot_file.h"

#include <algorithm>
#include <array>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <thread>

#include "core/error.h"
#include "core/files.h"
#include "tests/fast/scratch.h"

using namespace isobath;
using Catch::Matchers::ContainsSubstring;

namespace {

constexpr size_t slot_bytes = 100, slot_stride = slot_bytes + 8;

std::span<std::byte const> as_record(std::string const& text) { return std::as_bytes(std::span(text)); }

// What a slot holds; "": it is empty.
std::string content_of(SlotFile const& file, int64_t slot, size_t bytes = slot_bytes) {
  std::string record(bytes, '?');
  return file.read(slot, std::as_writable_bytes(std::span(record))) ? record : "";
}

// Replaces what a file has from `offset` on.
void overwrite(fs::path const& path, size_t offset, std::string const& bytes) {
  FilePatcher patcher(path);
  patcher.write(offset, as_record(bytes));
  patcher.finish();
}

}  // namespace

TEST_CASE("slot file: what is written is read, by others and later, and every other slot is empty") {
  Scratch const scratch;
  fs::path const path = scratch / "not" / "there" / "yet";
  std::string const second = random_bytes(slot_bytes, 2), ninth = random_bytes(slot_bytes, 9), zeros(slot_bytes, '\0');
  {
    SlotFile const one(path, slot_bytes), other(path, slot_bytes);
    CHECK(content_of(one, 0).empty());
    one.write(9, as_record(ninth));
    other.write(2, as_record(second));
    one.write(4, as_record(zeros));
    CHECK(content_of(one, 2) == second);
    CHECK(content_of(other, 9) == ninth);
    one.write(9, as_record(second));
    one.write(9, as_record(ninth));
  }
  SlotFile const again(path, slot_bytes);
  for (int64_t slot = 0; slot < 12; ++slot) {
    INFO(slot);
    bool const as_written = content_of(again, slot) == (slot == 2 ? second : slot == 4 ? zeros : slot == 9 ? ninth : "");
    CHECK(as_written);  // not the bytes themselves, which a failure would print
  }
}

TEST_CASE("slot file: a record that is cut short, damaged or another slot's counts as empty") {
  Scratch const scratch;
  fs::path const path = scratch / "slots";
  SlotFile const file(path, slot_bytes);
  std::array<std::string, 4> records;
  for (int64_t slot = 0; slot < 4; ++slot) {
    records[static_cast<size_t>(slot)] = random_bytes(slot_bytes, static_cast<uint64_t>(slot));
    file.write(slot, as_record(records[static_cast<size_t>(slot)]));
  }
  std::string const whole = read_file(path);
  REQUIRE(whole.size() == 4 * slot_stride);
  for (size_t const kept : {size_t{1}, size_t{7}, slot_stride - 1}) {
    fs::resize_file(path, 3 * slot_stride + kept);
    CHECK(content_of(file, 3).empty());
  }
  for (size_t const at : {size_t{0}, size_t{7}, size_t{8}, slot_stride - 1}) {  // of the checksum and of the record
    std::string damaged = whole.substr(slot_stride, slot_stride);
    damaged[at] = static_cast<char>(damaged[at] ^ 1);
    overwrite(path, slot_stride, damaged);
    CHECK(content_of(file, 1).empty());
  }
  overwrite(path, 2 * slot_stride, whole.substr(0, slot_stride));
  CHECK(content_of(file, 2).empty());
  CHECK(content_of(file, 0) == records[0]);
  file.write(1, as_record(records[1]));
  CHECK(content_of(file, 1) == records[1]);
}

TEST_CASE("slot file: two writers of one slot leave a whole record or an empty slot") {
  Scratch const scratch;
  constexpr size_t size = 1 << 18;
  auto const write_often = [&](char letter) {
    SlotFile const file(scratch / "slots", size);
    std::string const record(size, letter);
    for (int i = 0; i < 40; ++i) file.write(1, as_record(record));
  };
  std::thread first(write_often, 'a'), second(write_often, 'b');
  SlotFile const file(scratch / "slots", size);
  for (int i = 0; i < 40; ++i) {
    std::string const seen = content_of(file, 1, size);
    if (!seen.empty()) CHECK(static_cast<size_t>(std::count(seen.begin(), seen.end(), seen.front())) == size);
  }
  first.join();
  second.join();
  file.write(1, as_record(std::string(size, 'c')));
  CHECK(content_of(file, 1, size) == std::string(size, 'c'));
}

TEST_CASE("slot file: a full disk and a folder that cannot be are disk errors that name the file") {
  Scratch const scratch;
  if (!fs::exists("/dev/full")) SKIP("no /dev/full here");
  auto const code = [](auto const& action) {
    try {
      action();
    } catch (Error const& error) {
      return error.code();
    }
    return ExitCode::ok;
  };
  auto const fill = [] { SlotFile("/dev/full", 1).write(0, as_record("x")); };
  CHECK_THROWS_WITH(fill(), ContainsSubstring("/dev/full") && ContainsSubstring("No space left"));
  CHECK(code(fill) == ExitCode::disk);
  auto const below_a_file = [&] { SlotFile(scratch.write("file", "x") / "slots", 1); };
  CHECK_THROWS_WITH(below_a_file(), ContainsSubstring("file"));
  CHECK(code(below_a_file) == ExitCode::disk);
}
