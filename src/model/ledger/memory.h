#pragma once
// What training a model takes of memory, before anything is allocated. No LibTorch.

#include "config/config.h"
#include "model/ledger/ledger.h"

namespace isobath {

struct PlannedMemory {
  double state = 0;        // bytes of weights, gradients and the optimizer's moments; a teacher's weights, too
  double activations = 0;  // bytes that the backward pass of one micro-batch needs
  double total() const { return state + activations; }
};

PlannedMemory planned_memory(Config const& config, int64_t vocab_size, int64_t micro_batch_tokens);

}  // namespace isobath
