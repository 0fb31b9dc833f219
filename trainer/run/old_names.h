#pragma once
// Names of optimizer tensors in old checkpoints, which were written before optimizers used the parameters' public names.

#include <cstdint>
#include <string>
#include <vector>

#include "format/safetensors.h"

namespace isobath {

// The old name of the optimizer tensor `name` ("language_model.exp_avg.model.layers.1.self_attn.qkv_proj.weight") in such a file
// ("language_model.exp_avg.layer1.attention.qkv"); empty when the file does not hold that tensor. exits: the layers that have the routers
// of exits 0, 1, ...
std::string name_before(std::string const& name, SafetensorsFile const& file, std::vector<int64_t> const& exits);

}  // namespace isobath
