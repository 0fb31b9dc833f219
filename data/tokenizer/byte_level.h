#pragma once
// How byte-level vocabularies (GPT-2's and those after it) write bytes: printable Latin-1 stands for itself, every other byte for a
// character from U+0100 on. A space is U+0120.

#include <array>
#include <optional>
#include <string>
#include <string_view>

namespace isobath {

std::array<std::string, 256> const& byte_level_names();  // of each byte, in UTF-8

std::optional<std::string> byte_level_bytes(std::string_view names);  // nullopt: some character stands for no byte

}  // namespace isobath
