#pragma once
// Ranks as threads of the test: the same code as that of processes, without starting any.

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <exception>
#include <functional>
#include <thread>
#include <vector>

#include "trainer/parallel/ranks.h"

namespace isobath::test {

inline int unused_port() {
  int const descriptor = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  bind(descriptor, reinterpret_cast<sockaddr*>(&address), size);
  getsockname(descriptor, reinterpret_cast<sockaddr*>(&address), &size);
  close(descriptor);
  return ntohs(address.sin_port);
}

// Calls `work` in `count` threads, each of which is a rank. Rethrows what the first of them threw.
inline void in_threads(int64_t count, std::function<void(Ranks&)> const& work) {
  // LibTorch keeps one list of a process's collective operations, which is not made for several groups in one process.
  setenv("TORCH_FR_BUFFER_SIZE", "0", /*overwrite=*/1);
  int const port = unused_port();
  std::vector<std::exception_ptr> problems(static_cast<size_t>(count));
  std::vector<std::thread> threads;
  for (int64_t rank = 0; rank < count; ++rank)
    threads.emplace_back([&, rank] {
      try {
        RankPlace place;
        place.rank = rank;
        place.size = count;
        place.address = "127.0.0.1";
        place.port = port;
        Ranks ranks(place);
        ranks.open(at::kCPU);
        work(ranks);
        if (!ranks.alone()) ranks.wait_for_all();
      } catch (...) {
        problems[static_cast<size_t>(rank)] = std::current_exception();
      }
    });
  for (std::thread& thread : threads) thread.join();
  for (std::exception_ptr const& problem : problems)
    if (problem) std::rethrow_exception(problem);
}

}  // namespace isobath::test
