#pragma once
// What llama.cpp calls the tensors that Hugging Face's Llama has.

#include <string>

namespace isobath {

// "model.layers.3.mlp.up_proj.weight" <-> "blk.3.ffn_up.weight". Empty for a name that the other side does not know.
std::string llama_cpp_name(std::string const& hugging_face);
std::string hugging_face_name(std::string const& llama_cpp);

}  // namespace isobath
