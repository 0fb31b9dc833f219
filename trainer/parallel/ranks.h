#pragma once
// The processes that train one run together (its ranks), and what they do with tensors together. Built on LibTorch's c10d: Gloo between
// CPUs, NCCL (in the CUDA plug-in) between GPUs. Every rank has to make the same calls in the same order.

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <vector>

#include "model/across_ranks.h"
#include "trainer/parallel/rendezvous.h"

namespace isobath {

// A collective operation that runs beside the program.
class Pending {
 public:
  struct Work;
  Pending() = default;  // nothing to wait for
  explicit Pending(std::shared_ptr<Work> work) : work_(std::move(work)) {}
  // Throws Error(distributed) when another rank is gone. On a GPU it is the stream that waits, not the host.
  void wait();

 private:
  std::shared_ptr<Work> work_;
};

class Ranks {
 public:
  Ranks();                                                       // one process alone: everything below does nothing
  explicit Ranks(RankPlace const& place, double patience = 60);  // see Rendezvous
  ~Ranks();
  Ranks(Ranks const&) = delete;
  Ranks& operator=(Ranks const&) = delete;

  int64_t rank() const { return place_.rank; }
  int64_t size() const { return place_.size; }
  bool alone() const { return place_.size == 1; }
  bool is_first() const { return place_.rank == 0; }       // it alone writes logs, records and what is not divided of a checkpoint
  Rendezvous& rendezvous() const { return *rendezvous_; }  // not of one alone
  std::string own_name() const;                            // "rank 2 (host gpu7, process 4711)"

  // Opens the connections between CPUs and, where device is a GPU, between the GPUs. Before it only texts are exchanged.
  void open(at::Device device);

  // The sum over all ranks, in place, the same to the last bit on every rank. Integers are added as integers.
  void sum(at::Tensor const& x) const { start_sum(x).wait(); }
  Pending start_sum(at::Tensor const& x) const;
  Pending start_maximum(at::Tensor const& x) const;
  // all_X is size() parts of equal length; the sum over the ranks of part r arrives in own_P of rank r.
  Pending start_scatter_sum(at::Tensor const& all_X, at::Tensor const& own_P) const;
  // The reverse: all_X becomes the own_P of all ranks, in their order.
  Pending start_gather(at::Tensor const& own_P, at::Tensor const& all_X) const;
  // Concatenates the ranks' tensors along the first dimension, in which their lengths may differ, in the order of the ranks.
  at::Tensor joined(at::Tensor const& x) const;
  AcrossRanks across() const;

  std::vector<std::string> collect(std::string const& mine) const;  // see Rendezvous
  std::string from_first(std::string const& mine) const { return collect(is_first() ? mine : "").front(); }
  void wait_for_all() const { collect(""); }

 private:
  struct Groups;
  RankPlace place_;
  std::unique_ptr<Rendezvous> rendezvous_;
  std::unique_ptr<Groups> groups_;
};

Ranks& one_process();  // alone

}  // namespace isobath
