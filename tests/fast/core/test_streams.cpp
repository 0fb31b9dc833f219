// write_whole() writes everything, or returns the error.

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <catch2/catch_test_macros.hpp>
#include <cerrno>
#include <csignal>
#include <string>
#include <thread>

#include "core/process.h"
#include "core/streams.h"

using namespace isobath;

TEST_CASE("streams: a pipe that does not block is waited for") {
  std::array<int, 2> ends{};
  REQUIRE(pipe2(ends.data(), O_NONBLOCK) == 0);
  std::string const text(1 << 20, 'x');  // more than a pipe holds
  std::string read_text;
  std::thread reader([&] {
    std::array<char, 4096> buffer;
    for (ssize_t got; (got = read(ends[0], buffer.data(), buffer.size())) != 0;)
      if (got > 0) read_text.append(buffer.data(), static_cast<size_t>(got));
  });
  CHECK(write_whole(ends[1], text) == 0);
  close(ends[1]);
  reader.join();
  close(ends[0]);
  CHECK(read_text == text);
}

TEST_CASE("streams: a reader that stands still or is gone is an error in the end") {
  std::array<int, 2> ends{};
  REQUIRE(pipe2(ends.data(), O_NONBLOCK) == 0);
  CHECK(write_whole(ends[1], std::string(1 << 20, 'x'), /*patience_s=*/0.15) == EAGAIN);
  REQUIRE(fcntl(ends[1], F_SETFL, 0) == 0);  // one that would block
  CHECK(write_whole(ends[1], "a line of a log\n", /*patience_s=*/0.15) == EAGAIN);
  close(ends[0]);
  auto const before = signal(SIGPIPE, SIG_IGN);
  CHECK(write_whole(ends[1], "x") == EPIPE);
  signal(SIGPIPE, before);
  close(ends[1]);
}

TEST_CASE("process: a program that was started by its own name needs no words of a loader") {
  CHECK(own_program() == fs::canonical("/proc/self/exe"));
  CHECK(loader_words().empty());
}
