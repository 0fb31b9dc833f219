#include "trainer/pretrained/teacher.h"

#include <fmt/format.h>

#include "core/error.h"
#include "core/files.h"
#include "core/log.h"
#include "core/random.h"
#include "trainer/pretrained/pretrained.h"

namespace isobath {

void look_up_teacher(Config& config) {
  DistillConfig& distill = config.train.distill;
  distill.teacher.reset();
  if (distill.from.empty()) return;
  std::string const where = "train.distill.from: " + distill.from;
  fs::path const path = expand_user(distill.from);
  if (!fs::exists(path)) throw Error(ExitCode::checkpoint, where + " does not exist");
  Pretrained const pretrained = open_pretrained(path);
  if (pretrained.depth.kind != "dense")
    throw Error(ExitCode::config,
                where + " has depth.kind: " + pretrained.depth.kind + "; a teacher runs all layers for all tokens (dense)");
  distill.teacher = pretrained.model;
  if (distill.teacher->context < config.model.context)
    throw Error(ExitCode::config, fmt::format("{} reads at most {} tokens, fewer than model.context = {}", where, distill.teacher->context,
                                              config.model.context));
  distill.teacher->context = config.model.context;
}

TeacherFacts take_teacher_weights(DistillConfig const& distill, LanguageModel& teacher, Tokenizer const& tokenizer) {
  Pretrained const pretrained = open_pretrained(expand_user(distill.from));
  check_tokenizer(pretrained, tokenizer, "train.distill.from");
  import_weights(teacher, pretrained.weights);
  uint64_t sum = 0;
  for (auto const& [name, tensor] : export_weights(teacher)) {
    at::Tensor const values = tensor.contiguous();
    sum = make_key({sum, hash_text(name), checksum({static_cast<std::byte const*>(values.const_data_ptr()), values.nbytes()})});
  }
  log_info(fmt::format("learns from {}, a {}, at weight {:g} and temperature {:g}", distill.from, pretrained.format, distill.weight,
                       distill.temperature));
  return {fmt::format("{:016x}", sum), pretrained.train_flops};
}

}  // namespace isobath
