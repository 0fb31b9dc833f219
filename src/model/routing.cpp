#include "model/routing.h"

#include <ATen/ops/cat.h>

namespace isobath {

void StepStatistics::add(std::vector<at::Tensor> const& of_micro_batch) {
  parts_.resize(of_micro_batch.size());
  for (size_t i = 0; i < of_micro_batch.size(); ++i) parts_[i].push_back(of_micro_batch[i]);
}

std::vector<at::Tensor> StepStatistics::joined() const {
  std::vector<at::Tensor> all;
  for (auto const& part : parts_) all.push_back(ranks.joined(part.size() == 1 ? part.front() : at::cat(part)));
  return all;
}

}  // namespace isobath
