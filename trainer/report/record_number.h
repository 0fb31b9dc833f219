#pragma once
// Reading numbers of records, which may lack them or hold null. Uses no LibTorch.

#include <limits>
#include <nlohmann/json.hpp>

namespace isobath {

inline double number(nlohmann::json const& record, char const* key, double otherwise = std::numeric_limits<double>::quiet_NaN()) {
  auto const found = record.find(key);
  return found != record.end() && found->is_number() ? found->get<double>() : otherwise;
}

}  // namespace isobath
