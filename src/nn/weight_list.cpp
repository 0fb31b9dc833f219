#include "nn/weight_list.h"

#include <cmath>

namespace isobath {

void WeightList::random(std::string const& name, at::Tensor const& parameter, Role role, double init_std) {
  if (!parameter.defined()) return;
  stored.push_back({name, parameter.detach(), init_std});
  trained.push_back({name, parameter, role});
}

void WeightList::constant(std::string const& name, at::Tensor const& parameter, Role role, double value) {
  if (!parameter.defined()) return;
  stored.push_back({name, parameter.detach(), -1, value});
  trained.push_back({name, parameter, role});
}

void WeightList::fused(std::string const& name, at::Tensor const& parameter, Role role, std::vector<Part> const& parts) {
  int64_t first = 0;
  for (Part const& part : parts) {
    stored.push_back({part.name, parameter.detach().narrow(0, first, part.rows), part.init_std});
    first += part.rows;
  }
  trained.push_back({name, parameter, role});
}

void WeightList::low_rank(std::string const& name, at::Tensor const& down_KI, at::Tensor const& up_OK, LowRankParts const& parts) {
  if (!down_KI.defined()) return;
  random(name + ".lora_down.weight", down_KI, Role::matrix, 1 / std::sqrt(static_cast<double>(down_KI.size(1))));
  std::vector<Part> rows;
  for (auto const& [part, outputs] : parts) rows.push_back({part + ".lora_up.weight", outputs, 0});
  fused(name + ".lora_up.weight", up_OK, Role::matrix, rows);
}

bool is_low_rank(std::string const& name) { return name.find(".lora_") != std::string::npos; }

void WeightList::buffer(std::string const& name, at::Tensor const& tensor, double value, bool optional) {
  if (tensor.defined()) stored.push_back({name, tensor.detach(), -1, value, optional});
}

}  // namespace isobath
