#pragma once
// Models that exist already: checkpoints and exported files of this program, folders for Hugging Face transformers, files of llama.cpp.

#include <cmath>
#include <string>

#include "trainer/run/saved_model.h"

namespace isobath {

// A model as `train.init_from` takes it.
struct Pretrained {
  fs::path path;       // of the checkpoint, the folder or the file
  std::string format;  // "checkpoint", "GGUF file (llama)", for people
  ModelConfig model;
  DepthConfig depth;
  StoredWeights weights;
  double train_flops = std::nan("");  // that the weights were trained with, from random values on; NaN: the file does not say
};

// Reads all but the tensors of a checkpoint or run folder, an exported .safetensors file, a Hugging Face folder or a GGUF file. Throws
// Error(checkpoint) that lists everything about the model that cannot be computed here.
Pretrained open_pretrained(fs::path const& path);

// The tokenizer that lies with the model; null where there is none. Throws Error(data) for a kind that cannot be read.
std::shared_ptr<Tokenizer const> pretrained_tokenizer(Pretrained const& pretrained);

// Throws Error(data) where the model that `key` names was trained with another tokenizer than the run's.
void check_tokenizer(Pretrained const& pretrained, Tokenizer const& of_run, std::string const& key);

// The same for commands that run a model: a checkpoint, or a file of another program as if it were one, with the default configuration
// besides the model's. Throws Error(checkpoint), and Error(data) where there is no tokenizer.
Checkpoint open_model(fs::path const& path);
// The configuration of such a model with overrides. Throws Error(config).
Config model_config_with(Checkpoint const& model, std::vector<std::string> const& overrides);
// Whether `path` is a model of another program rather than a checkpoint, a run or a configuration.
bool is_of_other_program(fs::path const& path);

}  // namespace isobath
