#pragma once
// What the ranks of a run have to agree on.

#include <string>

#include "trainer/parallel/ranks.h"

namespace isobath {

// Throws Error(distributed) when the ranks' values of `what` differ; the message says which ranks have which.
void check_same(Ranks const& ranks, std::string const& what, std::string const& mine);

// When to stop: as soon as any rank was asked to, all stop at the same step.
class StopAgreement {
 public:
  explicit StopAgreement(Ranks const& ranks) : ranks_(ranks) {}
  // The number of the signal that the ranks stop for, 0: none. To be called once before each step. With several ranks the answer is that
  // of the call before, so that nobody waits for it.
  int before_step();
  // Now: the largest number of all ranks.
  int largest(int signal);

 private:
  Ranks const& ranks_;
  at::Tensor asked_;
  Pending pending_;
};

// The device that a rank computes on: a configuration's `cuda` or `auto` is the GPU of its own number among the ranks of its host.
std::string rank_device(std::string const& device, Ranks const& ranks);

std::string kind_of(at::Device device);  // "CPU" or "GPU"

// Compares checksums of the parameters. Throws Error(distributed) naming the ranks whose weights differ from the others'.
void check_weights(Ranks const& ranks, std::vector<at::Tensor> const& parameters, int64_t step);

}  // namespace isobath
