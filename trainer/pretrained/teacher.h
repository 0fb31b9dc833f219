#pragma once
// The teacher of a distillation (train.distill): a dense model whose distribution of the next token another one learns.

#include <string>

#include "config/config.h"
#include "data/tokenizer/tokenizer.h"
#include "model/language_model.h"

namespace isobath {

// Reads the sizes of the model at train.distill.from into train.distill.teacher, for texts as long as the configuration's. Does nothing
// where there is none. Throws Error(config) for one that is not dense or whose context is shorter.
void look_up_teacher(Config& config);

struct TeacherFacts {
  std::string fingerprint;  // of its weights
  double train_flops = 0;   // that they were trained with; NaN: not known
};

// Puts the weights at distill.from into `teacher`, a model of the sizes in distill.teacher. Throws Error(data) where they were trained with
// another tokenizer.
TeacherFacts take_teacher_weights(DistillConfig const& distill, LanguageModel& teacher, Tokenizer const& tokenizer);

}  // namespace isobath
