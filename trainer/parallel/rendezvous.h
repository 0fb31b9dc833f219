#pragma once
// How the ranks of a run find each other and exchange texts: a key-value store (LibTorch's TCPStore) that rank 0 or torchrun serves.

#include <memory>
#include <string>
#include <vector>

#include "trainer/launch/rank_place.h"

namespace c10d {
class Store;
}

namespace isobath {

// One connection to the store, for one thread. Every function throws Error(distributed) when the connection is lost.
class KeyStore {
 public:
  // Rank 0 serves the store as well, unless the launcher does, if `serves`. Waits for the server `patience` seconds.
  // Keys are those of `room`: rooms do not see each other.
  KeyStore(RankPlace const& place, std::string const& room, bool serves, double patience);
  ~KeyStore();
  KeyStore(KeyStore&&) noexcept;

  void set(std::string const& key, std::string const& value);
  std::string set_once(std::string const& key, std::string const& value);  // sets what is not set; returns what then is
  bool has(std::string const& key);
  std::vector<std::string> get(std::vector<std::string> const& keys);  // waits for all of them
  bool wait(std::string const& key, double seconds);                   // false: it did not come
  c10d::Store* store() const;                                          // for the backends
  void enter(std::string const& room);

 private:
  struct Connection;
  std::unique_ptr<Connection> connection_;
};

// Where a rank counts on while it lives (rank_watch.h); there from the beginning.
std::string beat_key(int64_t rank);

class Rendezvous {
 public:
  // Waits until all ranks have connected. Throws Error(distributed) naming those that have not within `patience` seconds.
  Rendezvous(RankPlace const& place, double patience);

  RankPlace const& place() const { return place_; }
  int64_t local_rank() const;            // among the ranks of this host
  int64_t local_ranks() const;           // how many there are on this host
  int64_t sharing_cores() const;         // how many ranks may run on just those cores that this one may run on, itself included
  std::string name(int64_t rank) const;  // "rank 2 (host gpu7, process 4711)"
  std::string own_address() const;       // of this host, as the others reach it

  // The texts of all ranks, in their order: every rank has to call it. Waits as long as it takes.
  std::vector<std::string> collect(std::string const& mine);
  KeyStore& store() { return store_; }
  KeyStore connect_again() const;  // for another thread

 private:
  struct Host {
    std::string name, process, cores, boot;
  };
  std::string meet(double patience);
  bool is_here(Host const& other) const;  // on this host

  RankPlace place_;
  KeyStore store_;
  std::string room_;         // of this start of the job
  std::vector<Host> hosts_;  // of each rank
  int64_t exchanges_ = 0;
};

}  // namespace isobath
