#pragma once
// Tensors of which each rank holds a part, in one file that is the same for any number of ranks.

#include <vector>

#include "format/safetensors.h"
#include "trainer/parallel/ranks.h"
#include "trainer/train/parameter_group.h"

namespace isobath {

// Rank 0 reserves the file `path`, whose folder all ranks see, and each rank writes its parts there. Every rank has to call it. Throws
// Error(disk).
void write_parts(fs::path const& path, std::vector<TensorPart> const& own, Metadata const& metadata, Ranks const& ranks);

// Fills part.values from the tensor `stored_name` of the file. Throws Error(checkpoint) when it is missing or of another shape or type.
void read_part(SafetensorsFile const& file, std::string const& stored_name, TensorPart const& part);

}  // namespace isobath
