#pragma once
// Compressed files: the supported formats, how they are recognised, and decompression as a stream.

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "data/sources/byte_reader.h"

namespace isobath {

enum class Packing { none, gzip, zstd, xz, bzip2 };

Packing packing_of(std::string_view beginning);     // by the first bytes of a file
Packing packing_of_name(fs::path const& path);      // by the extension, in any case
char const* name_of(Packing packing);               // "gzip"
std::vector<std::string> packed_extensions();       // ".gz", ".zst", ...: the usual ones
fs::path without_packing(fs::path const& path);     // "a.jsonl.zst" -> "a.jsonl"
std::string lower_extension(fs::path const& path);  // ".jsonl" of "A.JSONL"

// What `packed` holds: all its gzip members (zstd frames, xz and bzip2 streams), one after another. `path` is for messages.
std::unique_ptr<ByteReader> unpack(Packing packing, std::unique_ptr<ByteReader> packed, fs::path const& path);

}  // namespace isobath
