#include "trainer/parallel/rendezvous.h"

#include <arpa/inet.h>
#include <c10/util/Logging.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "core/error.h"

namespace isobath {
namespace {

std::chrono::milliseconds milliseconds(double seconds) { return std::chrono::milliseconds(static_cast<int64_t>(1000 * seconds)); }

constexpr double as_long_as_it_takes = 1e7;  // seconds; who has gone is noticed by RankWatch

std::vector<uint8_t> bytes_of(std::string const& text) { return {text.begin(), text.end()}; }
std::string text_of(std::vector<uint8_t> const& bytes) { return {bytes.begin(), bytes.end()}; }

std::string host_name() {
  std::array<char, 256> name = {};
  gethostname(name.data(), name.size() - 1);
  return name.data();
}

// The value behind `key` in a file of lines "key: value".
std::string line_of(char const* file, std::string const& key) {
  std::ifstream lines(file);
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with(key)) return line.substr(line.find_first_not_of(" \t:", key.size()));
  return "";
}

// What the store's own words of a failure boil down to: LibTorch appends a stack.
std::string first_sentence(std::string const& what) { return what.substr(0, what.find('\n')); }

template <typename Call>
auto guarded(Call const& call) {
  try {
    return call();
  } catch (Error const&) {
    throw;
  } catch (std::exception const& problem) {
    throw LostRank("lost the connection to the store of the ranks: " + first_sentence(problem.what()));
  }
}

// LibTorch warns of what is none of a person's concern, such as a host without a name. TORCH_CPP_LOG_LEVEL in the environment shows more.
void quieten_c10d() {
  if (std::getenv("TORCH_CPP_LOG_LEVEL"))
    c10::initLogging();
  else
    FLAGS_caffe2_log_level = c10::GLOG_ERROR;
}

std::string here(int64_t rank) { return "here/" + std::to_string(rank); }

}  // namespace

std::string beat_key(int64_t rank) { return "beat/" + std::to_string(rank); }

struct KeyStore::Connection {
  c10::intrusive_ptr<c10d::Store> server, store;  // store: server's keys of one room
};

KeyStore::KeyStore(RankPlace const& place, std::string const& room, bool serves, double patience)
    : connection_(std::make_unique<Connection>()) {
  quieten_c10d();
  c10d::TCPStoreOptions options;
  options.port = static_cast<uint16_t>(place.port);
  options.isServer = serves && place.rank == 0 && !place.store_is_running;
  options.waitWorkers = false;
  options.timeout = milliseconds(patience);
  try {
    auto store = c10::make_intrusive<c10d::TCPStore>(place.address, options);
    store->setTimeout(milliseconds(as_long_as_it_takes));
    connection_->server = std::move(store);
    enter(room);
  } catch (std::exception const& problem) {
    std::string const where = place.address + ":" + std::to_string(place.port);
    throw Error(ExitCode::distributed, (options.isServer ? "cannot serve the store of the ranks at " : "found no rank 0 at ") + where +
                                           ": " + first_sentence(problem.what()));
  }
}

void KeyStore::enter(std::string const& room) {
  connection_->store = c10::make_intrusive<c10d::PrefixStore>("isobath/" + room, connection_->server);
}

KeyStore::~KeyStore() = default;
KeyStore::KeyStore(KeyStore&&) noexcept = default;

void KeyStore::set(std::string const& key, std::string const& value) {
  guarded([&] { connection_->store->set(key, bytes_of(value)); });
}

std::string KeyStore::set_once(std::string const& key, std::string const& value) {
  return guarded([&] { return text_of(connection_->store->compareSet(key, {}, bytes_of(value))); });
}

bool KeyStore::has(std::string const& key) {
  return guarded([&] { return connection_->store->check({key}); });
}

std::vector<std::string> KeyStore::get(std::vector<std::string> const& keys) {
  return guarded([&] {
    std::vector<std::string> texts;
    for (std::vector<uint8_t> const& value : connection_->store->multiGet(keys)) texts.push_back(text_of(value));
    return texts;
  });
}

bool KeyStore::wait(std::string const& key, double seconds) {
  auto const end = std::chrono::steady_clock::now() + milliseconds(seconds);
  while (!has(key)) {
    if (std::chrono::steady_clock::now() >= end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return true;
}

c10d::Store* KeyStore::store() const { return connection_->store.get(); }

namespace {

std::string numbered(char const* key, int64_t rank) { return key + std::to_string(rank); }

// A text that no other process has.
std::string own_mark() {
  auto const now = std::chrono::system_clock::now().time_since_epoch().count();
  static std::atomic<int> count = 0;
  return host_name() + "/" + std::to_string(getpid()) + "/" + std::to_string(now) + "/" + std::to_string(count++);
}

struct Round {
  std::string room;
  std::vector<std::string> marks;  // of the ranks that are in it
};

Round read_round(std::string const& text) {
  nlohmann::json const round = nlohmann::json::parse(text);
  return {round.at("room"), round.at("marks")};
}

// Rank 0 opens a room for the marks that it finds, and another one whenever a mark changes, until all of them have said that they are in.
class RoundHost {
 public:
  RoundHost(KeyStore& lobby, RankPlace const& place, std::string mark) : lobby_(lobby), size_(place.size), mark_(std::move(mark)) {}

  bool everybody_is_in() {
    std::vector<std::string> marks{mark_};
    for (int64_t rank = 1; rank < size_ && lobby_.has(numbered("mark/", rank)); ++rank)
      marks.push_back(lobby_.get({numbered("mark/", rank)}).front());
    if (std::ssize(marks) < size_) return false;
    if (marks != round_.marks) {
      round_ = {mark_ + "#" + std::to_string(rounds_++), marks};
      lobby_.set("round", nlohmann::json{{"room", round_.room}, {"marks", marks}}.dump());
    }
    if (!missing().empty()) return false;
    lobby_.set("begun/" + round_.room, "");
    return true;
  }
  // The ranks that are not in, "1, 2".
  std::string missing() {
    std::string numbers;
    for (int64_t rank = 1; rank < size_; ++rank)
      if (round_.room.empty() ? !lobby_.has(numbered("mark/", rank)) : !lobby_.has("in/" + round_.room + numbered("/", rank)))
        numbers += (numbers.empty() ? "" : ", ") + std::to_string(rank);
    return numbers;
  }
  std::string const& room() const { return round_.room; }

 private:
  KeyStore& lobby_;
  int64_t size_;
  std::string mark_;
  Round round_;
  int rounds_ = 0;
};

// Another rank looks for a room that knows its mark.
class RoundGuest {
 public:
  RoundGuest(KeyStore& lobby, RankPlace const& place, std::string mark) : lobby_(lobby), place_(place), mark_(std::move(mark)) {
    lobby_.set(numbered("mark/", place.rank), mark_);
  }

  bool has_begun() {
    if (!lobby_.has("round")) return false;
    Round const round = read_round(lobby_.get({"round"}).front());
    if (std::ssize(round.marks) != place_.size || round.marks[static_cast<size_t>(place_.rank)] != mark_) return false;
    if (round.room != room_) lobby_.set("in/" + round.room + numbered("/", place_.rank), "");
    room_ = round.room;
    return lobby_.has("begun/" + room_);
  }
  std::string const& room() const { return room_; }

 private:
  KeyStore& lobby_;
  RankPlace const& place_;
  std::string mark_, room_;
};

}  // namespace

// torchrun keeps its store when it starts the ranks again, and does not number these starts alike on all hosts. So the store may hold what
// earlier ranks have left, and the ranks of this start have to find each other first. Returns the room that they share.
std::string Rendezvous::meet(double patience) {
  auto const end = std::chrono::steady_clock::now() + milliseconds(patience);
  auto const pause = [&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    return std::chrono::steady_clock::now() < end;
  };
  std::string const where = place_.address + ":" + std::to_string(place_.port);
  if (place_.rank > 0) {
    RoundGuest guest(store_, place_, own_mark());
    while (!guest.has_begun())
      if (!pause()) throw Error(ExitCode::distributed, "rank 0 at " + where + " has not begun in time: it or other ranks did not come");
    return guest.room();
  }
  RoundHost host(store_, place_, own_mark());
  while (!host.everybody_is_in())
    if (!pause())
      throw Error(ExitCode::distributed,
                  "of " + std::to_string(place_.size) + " ranks these did not come to " + where + " in time: " + host.missing());
  return host.room();
}

Rendezvous::Rendezvous(RankPlace const& place, double patience)
    : place_(place), store_(place, "lobby", /*serves=*/true, patience), room_(meet(patience)) {
  store_.enter(room_);
  nlohmann::json const mine = {{"host", host_name()},
                               {"process", std::to_string(getpid())},
                               {"cores", line_of("/proc/self/status", "Cpus_allowed_list")},
                               {"boot", line_of("/proc/sys/kernel/random/boot_id", "")}};
  store_.set(beat_key(place.rank), "0");
  store_.set(here(place.rank), mine.dump());
  std::vector<std::string> keys;
  for (int64_t rank = 0; rank < place.size; ++rank) {
    keys.push_back(here(rank));
    if (!store_.wait(here(rank), patience))
      throw Error(ExitCode::distributed, "rank " + std::to_string(rank) + " came and is gone before the run has begun");
  }
  for (std::string const& text : store_.get(keys)) {
    nlohmann::json const host = nlohmann::json::parse(text);
    hosts_.push_back({host.at("host"), host.at("process"), host.at("cores"), host.at("boot")});
  }
}

int64_t Rendezvous::local_rank() const {
  if (place_.local_rank >= 0) return place_.local_rank;
  return std::count_if(hosts_.begin(), hosts_.begin() + place_.rank, [&](Host const& other) { return is_here(other); });
}

int64_t Rendezvous::local_ranks() const {
  return std::count_if(hosts_.begin(), hosts_.end(), [&](Host const& other) { return is_here(other); });
}

bool Rendezvous::is_here(Host const& other) const {
  Host const& own = hosts_[static_cast<size_t>(place_.rank)];
  return other.name == own.name && other.boot == own.boot;
}

int64_t Rendezvous::sharing_cores() const {
  Host const& own = hosts_[static_cast<size_t>(place_.rank)];
  return std::count_if(hosts_.begin(), hosts_.end(), [&](Host const& other) { return other.boot == own.boot && other.cores == own.cores; });
}

std::string Rendezvous::name(int64_t rank) const {
  Host const& host = hosts_[static_cast<size_t>(rank)];
  return "rank " + std::to_string(rank) + " (host " + host.name + ", process " + host.process + ")";
}

// The address from which a packet to the store would be sent: unlike the host's name it is one that the other hosts can reach.
std::string Rendezvous::own_address() const {
  addrinfo hints = {}, *found = nullptr;
  hints.ai_socktype = SOCK_DGRAM;
  if (getaddrinfo(place_.address.c_str(), std::to_string(place_.port).c_str(), &hints, &found) != 0) return place_.address;
  std::array<char, NI_MAXHOST> text = {};
  int const probe = socket(found->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_storage own = {};
  socklen_t size = sizeof own;
  bool const known = probe >= 0 && connect(probe, found->ai_addr, found->ai_addrlen) == 0 &&
                     getsockname(probe, reinterpret_cast<sockaddr*>(&own), &size) == 0 &&
                     getnameinfo(reinterpret_cast<sockaddr*>(&own), size, text.data(), text.size(), nullptr, 0, NI_NUMERICHOST) == 0;
  if (probe >= 0) close(probe);
  freeaddrinfo(found);
  return known ? text.data() : place_.address;
}

std::vector<std::string> Rendezvous::collect(std::string const& mine) {
  std::string const exchange = "text/" + std::to_string(exchanges_++) + "/";
  store_.set(exchange + std::to_string(place_.rank), mine);
  std::vector<std::string> keys;
  for (int64_t rank = 0; rank < place_.size; ++rank) keys.push_back(exchange + std::to_string(rank));
  return store_.get(keys);
}

KeyStore Rendezvous::connect_again() const { return {place_, room_, /*serves=*/false, /*patience=*/30}; }

}  // namespace isobath
