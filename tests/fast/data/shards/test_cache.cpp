// The cache of prepared data: what it reuses, prepares again and shares between processes.

#include <sys/resource.h>
#include <sys/wait.h>

#include <catch2/matchers/catch_matchers_string.hpp>
#include <csignal>
#include <set>
#include <thread>

#include "core/stop.h"
#include "data/shards/cache.h"
#include "tests/fast/data/corner.h"

using namespace isobath;
using namespace isobath::test;
using Catch::Matchers::ContainsSubstring;

TEST_CASE("cache: a second run finds the data, a changed file does not") {
  Corner corner;
  PreparedData const first = corner.prepare();
  CHECK_FALSE(first.from_cache);
  PreparedData const second = corner.prepare();
  CHECK(second.from_cache);
  CHECK(second.folder == first.folder);
  CHECK(second.train == first.train);
  CHECK(second.train_tokens == first.train_tokens);
  CHECK(second.valid_bytes == first.valid_bytes);
  CHECK(second.documents == first.documents);
  CHECK(second.tokenizer->fingerprint() == first.tokenizer->fingerprint());

  // Same content under another name and time: the same data. Same size, other content: other data.
  fs::rename(corner.scratch / "text/100.txt", corner.scratch / "text/100b.txt");
  CHECK(corner.prepare().folder == first.folder);
  std::string changed = story(5);
  changed[0] = 'Z';
  corner.scratch.write("text/105.txt", changed);
  PreparedData const third = corner.prepare();
  CHECK_FALSE(third.from_cache);
  CHECK(third.folder != first.folder);
  corner.scratch.write("text/105.txt", story(5));  // at once: no clock may be trusted here
  CHECK(corner.prepare().folder == first.folder);

  corner.data.valid_fraction = 0.3;
  CHECK(corner.prepare().folder != first.folder);
  corner.data.valid_fraction = 0.1;
  corner.tokenizer.vocab_size = 310;
  CHECK(corner.prepare().folder != first.folder);
  corner.tokenizer.vocab_size = 300;
  corner.data.isolate_documents = true;  // concerns the loader only
  CHECK(corner.prepare().folder == first.folder);
}

TEST_CASE("cache: unchanged sources are not read again") {
  Corner corner;
  PreparedData const first = corner.prepare();
  // A file that has just been written may change again within one tick of its clock: it is read each time.
  fs::path const index = fs::path(corner.data.cache_dir) / "index";
  CHECK_FALSE(fs::exists(index));

  // Later only the index is asked, which says what it is made to say here.
  std::this_thread::sleep_for(std::chrono::milliseconds(2100));
  CHECK(corner.prepare().folder == first.folder);
  fs::path const entry = fs::directory_iterator(index)->path();
  corner.data.valid_fraction = 0.3;
  PreparedData const other = corner.prepare();
  corner.data.valid_fraction = 0.1;
  write_file_atomic(entry, other.folder.filename().string());
  CHECK(corner.prepare().folder == other.folder);
  CHECK(other.folder != first.folder);

  // Other content of the same name, size and time is seen all the same, written into the file or put in its place.
  fs::path const file = corner.scratch / "text/105.txt";
  auto const time = fs::last_write_time(file);
  corner.scratch.write("text/105.txt", std::string(story(5).size(), 'x'));
  fs::last_write_time(file, time);
  fs::path const changed = corner.prepare().folder;
  CHECK(changed != other.folder);
  CHECK(changed != first.folder);
  corner.scratch.write("new", story(5));
  fs::last_write_time(corner.scratch / "new", time);
  fs::rename(corner.scratch / "new", file);
  CHECK(corner.prepare().folder == first.folder);
}

TEST_CASE("cache: text that has moved is the same text") {
  Corner corner;
  PreparedData const first = corner.prepare();
  fs::create_directories(corner.scratch / "elsewhere");
  fs::rename(corner.scratch / "text", corner.scratch / "elsewhere/text");
  corner.data.sources = {(corner.scratch / "elsewhere/text").string()};
  PreparedData const second = corner.prepare();
  CHECK(second.from_cache);
  CHECK(second.folder == first.folder);
}

TEST_CASE("cache: damaged data in the cache are made anew") {
  Corner corner;
  PreparedData const first = corner.prepare();
  std::string const text = text_of(first, first.train);
  auto const damage = [&](auto const& how) {
    how();
    PreparedData const again = corner.prepare();
    CHECK_FALSE(again.from_cache);
    CHECK(text_of(again, again.train) == text);
    CHECK(corner.prepare().from_cache);
  };
  damage([&] { fs::remove(first.train[0]); });
  damage([&] { fs::resize_file(first.valid[0], fs::file_size(first.valid[0]) - 1); });
  damage([&] { fs::remove(first.folder / "tokenizer.model"); });
  damage([&] { fs::remove(first.folder / "data.json"); });
  damage([&] { write_file_atomic(first.folder / "data.json", "{\"format\": 1"); });
  damage([&] {
    std::string bytes = read_file(first.train[0]);
    bytes[bytes.size() - 5] = static_cast<char>(bytes[bytes.size() - 5] ^ 1);
    write_file_atomic(first.train[0], bytes);
  });
}

TEST_CASE("cache: many shards are compared with their checksums once, and when they change") {
  Corner corner;
  fs::path const folder = corner.prepare().folder;
  auto const opens = [&] {
    try {
      open_prepared(folder, /*always_verified_bytes=*/0);
      return true;
    } catch (Error const&) {
      return false;
    }
  };
  fs::path const shard = corner.prepare().train[0];
  auto const flip = [&](bool keep_time) {
    auto const time = fs::last_write_time(shard);
    std::string bytes = read_file(shard);
    bytes[bytes.size() - 5] = static_cast<char>(bytes[bytes.size() - 5] ^ 1);
    write_file_atomic(shard, bytes);
    fs::last_write_time(shard, keep_time ? time : time + std::chrono::seconds(1));
  };
  flip(true);
  CHECK_FALSE(opens());  // never looked at before
  flip(true);
  CHECK(opens());
  CHECK(fs::exists(folder / "verified"));
  flip(true);
  CHECK_FALSE(opens());  // of the same size and time, and yet not the file that was compared
  flip(true);
  flip(false);
  CHECK_FALSE(opens());
  CHECK_THROWS_AS(open_prepared(folder), Error);  // few bytes: read every time
}

TEST_CASE("cache: processes that start at once do the work once") {
  Corner corner;
  std::vector<pid_t> children;
  for (int i = 0; i < 4; ++i) {
    children.push_back(::fork());
    if (children.back() != 0) continue;
    int code = 9;
    try {
      code = corner.prepare().from_cache ? 1 : 0;
    } catch (...) {
    }
    ::_exit(code);
  }
  int made = 0, found = 0;
  for (pid_t const child : children) {
    int status = 0;
    ::waitpid(child, &status, 0);
    REQUIRE(WIFEXITED(status));
    made += WEXITSTATUS(status) == 0;
    found += WEXITSTATUS(status) == 1;
  }
  CHECK(made == 1);
  CHECK(found == 3);
}

TEST_CASE("cache: what a killed process left is cleared away, what fails leaves nothing") {
  Corner corner;
  auto const entries = [&] {
    std::set<std::string> names;
    for (auto const& entry : fs::directory_iterator(corner.data.cache_dir)) names.insert(entry.path().filename().string());
    return names;
  };
  PreparedData const first = corner.prepare();
  auto const clean = entries();
  fs::rename(first.folder, first.folder.string() + ".tmp-1");
  CHECK_FALSE(corner.prepare().from_cache);
  CHECK(entries() == clean);

  fs::remove_all(first.folder);
  request_stop(SIGTERM);
  std::string const message = error_of([&] { corner.prepare(); }, stopped_by(SIGTERM));
  request_stop(0);
  CHECK_THAT(message, ContainsSubstring("stopped"));
  CHECK_FALSE(fs::exists(first.folder));

  // A disk that is full, in a child: files may not grow past a few bytes.
  pid_t const child = ::fork();
  if (child == 0) {
    ::signal(SIGXFSZ, SIG_IGN);
    rlimit const limit{2000, 2000};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    int code = 0;
    try {
      corner.prepare();
    } catch (Error const& error) {
      code = static_cast<int>(error.code());
    } catch (...) {
      code = 99;
    }
    ::_exit(code);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  CHECK(WEXITSTATUS(status) == static_cast<int>(ExitCode::disk));
  for (std::string const& name : entries()) CHECK_THAT(name, !ContainsSubstring(".tmp"));
  CHECK_FALSE(fs::exists(first.folder));
  CHECK_FALSE(corner.prepare().from_cache);
  CHECK(entries() == clean);
}

TEST_CASE("cache: a cache that cannot be written is a disk error that names it") {
  Corner corner;
  corner.data.cache_dir = (corner.scratch / "text" / "100.txt" / "cache").string();  // below a file
  CHECK_THAT(error_of([&] { corner.prepare(); }, ExitCode::disk), ContainsSubstring("100.txt"));
}

TEST_CASE("cache: without a home that can be written, prepared data goes to the temporary folder") {
  Scratch const scratch;
  std::string const before = std::getenv("XDG_CACHE_HOME") ? std::getenv("XDG_CACHE_HOME") : "";
  setenv("XDG_CACHE_HOME", "/proc/none", 1);
  setenv("TMPDIR", scratch.path().c_str(), 1);
  fs::path const folder = writable_cache_root({});
  unsetenv("TMPDIR");
  before.empty() ? unsetenv("XDG_CACHE_HOME") : setenv("XDG_CACHE_HOME", before.c_str(), 1);
  CHECK(folder.parent_path() == scratch.path());
  CHECK(fs::is_directory(folder));
  CHECK((fs::status(folder).permissions() & fs::perms::others_all) == fs::perms::none);
  DataConfig named;
  named.cache_dir = "/proc/none";  // a wish: no other folder is taken for it
  CHECK(writable_cache_root(named) == "/proc/none");
}
