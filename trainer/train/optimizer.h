#pragma once
// Fused AdamW (Loshchilov & Hutter 2019) over parameter groups. Clipping and the check for non-finite gradients happen on the device: the
// host reads nothing back, and a step with non-finite gradients changes nothing.

#include <ATen/core/Tensor.h>

#include <functional>
#include <string>
#include <vector>

#include "trainer/train/parameter_group.h"

namespace isobath {

struct AdamWSettings {
  double beta1 = 0.9, beta2 = 0.95, eps = 1e-8;
  double clip_norm = 1.0;  // 0: no clipping
  // Where this optimizer holds parts of the parameters: adds up a number over the ranks that hold the others, in place.
  std::function<void(at::Tensor const&)> sum_over_parts = {};
};

// An AdamW optimizer with its own global gradient norm. The language model and the predictors have one each, so that clipping the gradients
// of one does not depend on those of the other.
class AdamW {
 public:
  // `name` marks this optimizer's tensors in state().
  AdamW(std::string name, std::vector<ParameterGroup> const& groups, AdamWSettings const& settings);

  void zero_grad();
  void step(double learning_rate);

  // Of the last step: 0-dim float tensors. skipped is 1 when the gradients were not finite and nothing was updated.
  at::Tensor const& grad_norm() const { return grad_norm_; }
  at::Tensor const& skipped() const { return skipped_; }
  bool empty() const { return parameters_.empty() && !settings_.sum_over_parts; }

  // Moments and step count by name. These are the live tensors: writing into them restores the optimizer.
  std::vector<TensorPart> state() const;

 private:
  struct Range {
    size_t first, last;
    double weight_decay, lr_factor;
  };
  std::string name_;
  AdamWSettings settings_;
  std::vector<TensorPart> parameters_;
  std::vector<at::Tensor> exp_avgs_, exp_avg_sqs_;
  std::vector<Range> ranges_;  // one per group, into the vectors above
  at::Tensor steps_, grad_norm_, skipped_;
};

}  // namespace isobath
