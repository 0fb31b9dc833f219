#pragma once
// Tables for a terminal.

#include <string>
#include <vector>

namespace isobath {

// One line a row, heads first; the first column is aligned left, the others right. Every row has as many cells as the first.
std::string aligned_columns(std::vector<std::vector<std::string>> const& rows);

}  // namespace isobath
