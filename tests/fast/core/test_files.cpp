#include <sys/stat.h>
#include <sys/wait.h>

#include <array>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <cstdlib>
#include <thread>

#include "core/error.h"
#include "core/files.h"
#include "tests/fast/scratch.h"

using namespace isobath;
using Catch::Matchers::ContainsSubstring;

namespace {

template <typename Call>
ExitCode code_of(Call const& call) {
  try {
    call();
  } catch (Error const& error) {
    return error.code();
  }
  return ExitCode::ok;
}

size_t entries(fs::path const& folder) {
  return static_cast<size_t>(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

std::span<std::byte const> as_bytes(std::string const& text) { return std::as_bytes(std::span(text)); }

}  // namespace

TEST_CASE("files: what is written is read back, any bytes") {
  Scratch const scratch;
  for (size_t const size : {0, 1, 65'535, 65'536, 300'000}) {
    std::string const content = random_bytes(size, size + 1);
    write_file_atomic(scratch / "file", content);
    CHECK(read_file(scratch / "file") == content);
    MappedFile const map(scratch / "file");
    CHECK(std::string(reinterpret_cast<char const*>(map.bytes().data()), map.bytes().size()) == content);
    CHECK(checksum_file(scratch / "file") == checksum(as_bytes(content)));
  }
  CHECK(entries(scratch.path()) == 1);  // no temporary neighbour stays
}

TEST_CASE("files: a missing file is a data error that names it") {
  Scratch const scratch;
  CHECK_THROWS_WITH(read_file(scratch / "absent.txt"), ContainsSubstring("absent.txt") && ContainsSubstring("No such file"));
  CHECK(code_of([&] { read_file(scratch / "absent.txt"); }) == ExitCode::data);
  CHECK(code_of([&] { MappedFile map(scratch / "absent.txt"); }) == ExitCode::data);
  CHECK_THROWS_WITH(read_file(scratch.path()), ContainsSubstring("folder"));
}

TEST_CASE("files: a full disk is a disk error and leaves nothing behind") {
  Scratch const scratch;
  if (!fs::exists("/dev/full")) SKIP("no /dev/full here");
  auto const fill = [] {
    FileWriter writer("/dev/full");
    writer.write("x");
    writer.finish();
  };
  CHECK_THROWS_WITH(fill(), ContainsSubstring("/dev/full") && ContainsSubstring("No space left"));
  CHECK(code_of(fill) == ExitCode::disk);
  CHECK(fs::exists("/dev/full"));
  CHECK(code_of([&] { write_file_atomic(scratch / "no" / "such" / "folder", "x"); }) == ExitCode::disk);
}

TEST_CASE("files: an unfinished or failed write never replaces the file that was there") {
  Scratch const scratch;
  { FileWriter(scratch / "half").write("half"); }
  CHECK_FALSE(fs::exists(scratch / "half"));
  fs::create_directories(scratch / "target" / "inner");  // renaming a file over a full folder fails
  CHECK(code_of([&] { write_file_atomic(scratch / "target", "new"); }) == ExitCode::disk);
  CHECK(entries(scratch.path()) == 1);
}

TEST_CASE("files: checksum is XXH3-64 and hex has 16 digits") {
  CHECK(checksum({}) == 0x2d06800538d394c2ULL);  // published value for the empty input
  CHECK(hex(0x2d06800538d394c2ULL) == "2d06800538d394c2");
  CHECK(hex(10) == "000000000000000a");
}

TEST_CASE("files: a map survives being moved, and the file being replaced") {
  Scratch const scratch;
  scratch.write("a", "first");
  MappedFile map(scratch / "a");
  MappedFile moved = std::move(map);
  CHECK(map.bytes().empty());
  write_file_atomic(scratch / "a", "other");
  CHECK(std::string(reinterpret_cast<char const*>(moved.bytes().data()), moved.bytes().size()) == "first");
}

TEST_CASE("files: a lock keeps other processes out until it is released") {
  Scratch const scratch;
  auto const child_gets_it = [&] {
    pid_t const child = ::fork();
    if (child == 0) ::_exit(code_of([&] { FileLock lock(scratch / "lock", false); }) == ExitCode::ok ? 0 : 1);
    int status = 0;
    ::waitpid(child, &status, 0);
    return WEXITSTATUS(status) == 0;
  };
  {
    FileLock const lock(scratch / "lock");
    CHECK_FALSE(child_gets_it());
    CHECK(code_of([&] { FileLock second(scratch / "lock", false); }) == ExitCode::disk);
  }
  CHECK(child_gets_it());
}

TEST_CASE("files: a leading ~ is the home folder, nothing else is") {
  char const* const home = std::getenv("HOME");
  if (!home) SKIP("no HOME here");
  CHECK(expand_user("~") == fs::path(home));
  CHECK(expand_user("~/x/y") == fs::path(home) / "x/y");
  CHECK(expand_user("~other/x") == fs::path("~other/x"));
  CHECK(expand_user("a/~") == fs::path("a/~"));
}

TEST_CASE("the folder of a path, with and without a slash behind its name") {
  for (auto const& [path, name, folder] : {std::array{"x", "x", "."},
                                           {"x/", "x", "."},
                                           {"x//", "x", "."},
                                           {"a/x", "a/x", "a"},
                                           {"a/x//", "a/x", "a"},
                                           {"/x", "/x", "/"},
                                           {"/x/", "/x", "/"},
                                           {"/", "/", "/"},
                                           {".", ".", "."}}) {
    INFO(path);
    CHECK(without_last_slash(path) == name);
    CHECK(folder_of(path) == folder);
  }
}

TEST_CASE("a file to write has a name that is no folder's") {
  Scratch const scratch;
  std::string const folder = scratch.path().string();
  CHECK(output_file("new", "-o") == "new");
  CHECK(output_file(folder + "/new", "-o") == scratch / "new");
  CHECK(output_file(scratch.write("old", "").string(), "-o") == scratch / "old");
  for (std::string const& wrong : {std::string(), folder, folder + "/", folder + "/new/", std::string("."), std::string("/")}) {
    INFO(wrong);
    CHECK_THROWS_WITH(output_file(wrong, "--out"), ContainsSubstring("--out '" + wrong + "'"));
    CHECK(code_of([&] { output_file(wrong, "--out"); }) == ExitCode::config);
  }
}

TEST_CASE("a mapped file is the same after its memory was given back") {
  Scratch const scratch;
  std::string content(3 * 4096 + 100, 'x');
  for (size_t i = 0; i < content.size(); ++i) content[i] = static_cast<char>(i * 31 % 251);
  MappedFile const map(scratch.write("a", content));
  auto const text = [&] { return std::string(reinterpret_cast<char const*>(map.bytes().data()), map.bytes().size()); };
  REQUIRE(text() == content);
  for (size_t const begin : {0, 1, 5000})
    for (size_t const size : {0, 10, 4096, 7288}) {
      forget_mapped(map.bytes().subspan(begin, size));
      CHECK(text() == content);
    }
}

TEST_CASE("files: pipes and devices are written into, links stay links") {
  Scratch const scratch;
  fs::path const pipe = scratch / "pipe";
  REQUIRE(mkfifo(pipe.c_str(), 0600) == 0);
  std::string through;
  std::thread reader([&] { through = read_file(pipe); });
  write_file_atomic(pipe, "content");
  reader.join();
  CHECK(through == "content");
  CHECK(fs::is_fifo(pipe));
  CHECK(is_written_into("/dev/null"));
  CHECK_NOTHROW(write_file_atomic("/dev/null", "content"));
  CHECK(fs::is_character_file("/dev/null"));

  scratch.write("real", "old");
  fs::create_symlink("real", scratch / "link");
  write_file_atomic(scratch / "link", "new");
  CHECK(fs::is_symlink(scratch / "link"));
  CHECK(read_file(scratch / "real") == "new");
  CHECK(entries(scratch.path()) == 3);
}

TEST_CASE("files: a write that fails or that a folder is in the way of leaves nothing behind") {
  Scratch const scratch;
  fs::create_directory(scratch / "folder");
  scratch.write("folder/file", "stays");
  CHECK(code_of([&] { write_file_atomic(scratch / "folder", "content"); }) == ExitCode::disk);
  CHECK_THROWS_AS(write_atomically(scratch / "new",
                                   [](fs::path const& temporary) {
                                     write_file_atomic(temporary, "half");
                                     throw Error(ExitCode::data, "broken");
                                   }),
                  Error);
  CHECK(entries(scratch.path()) == 1);
  CHECK(read_file(scratch / "folder/file") == "stays");
}

TEST_CASE("files: two writers of one name do not share a temporary file") {
  Scratch const scratch;
  fs::path first;
  write_atomically(scratch / "file", [&](fs::path const& outer) {
    first = outer;
    FileWriter file(outer);
    file.write("outer");
    write_file_atomic(scratch / "file", "inner");
    CHECK(read_file(scratch / "file") == "inner");
    file.finish();
  });
  CHECK(read_file(scratch / "file") == "outer");
  CHECK(entries(scratch.path()) == 1);
}
