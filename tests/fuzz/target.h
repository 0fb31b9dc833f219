#pragma once
// What a fuzz target consists of: one function that gives bytes to a reader of the program.

#include <filesystem>
#include <stdexcept>
#include <string>
#include <string_view>

namespace isobath::fuzz {

// Defined by each target. An Error is what a reader says of bad input; any other exception, a crash, a leak, a second without an end or a
// large allocation is a finding.
void read(std::string_view input);

// Writes a file into this process's own folder, in memory where the system has such a folder; the folder is removed at the end.
std::filesystem::path file(std::string const& name, std::string_view content);

// A property of every value that could be read.
inline void require(bool holds, char const* property) {
  if (!holds) throw std::logic_error(std::string("does not hold: ") + property);
}

}  // namespace isobath::fuzz
