#pragma once
// What an experiment is. Plain data; each part of the program takes its own section.
// Each file in sections/ holds one section: its options, their meaning, range, default and resume class (rendered for people as
// configs/README.md), and what must hold between them.

#include "config/sections/checkpoint.h"
#include "config/sections/compare.h"
#include "config/sections/data.h"
#include "config/sections/depth.h"
#include "config/sections/eval.h"
#include "config/sections/model.h"
#include "config/sections/parallel.h"
#include "config/sections/run.h"
#include "config/sections/tokenizer.h"
#include "config/sections/train.h"

namespace isobath {

struct Config : RunConfig {
  DataConfig data;
  TokenizerConfig tokenizer;
  ModelConfig model;
  DepthConfig depth;
  TrainConfig train;
  EvalConfig eval;
  CheckpointConfig checkpoint;
  ParallelConfig parallel;
  CompareConfig compare;
};

}  // namespace isobath
