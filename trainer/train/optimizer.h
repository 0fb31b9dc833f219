#pragma once
// Fused AdamW (Loshchilov & Hutter 2019) over parameter groups. Clipping and the check for non-finite gradients happen on the device: the
// host reads nothing back, and a step with non-finite gradients changes nothing.

#include <ATen/core/Tensor.h>

#include <string>
#include <utility>
#include <vector>

namespace isobath {

using NamedParameters = std::vector<std::pair<std::string, at::Tensor>>;

// Parameters that share a weight decay and a learning rate.
struct ParameterGroup {
  NamedParameters parameters;
  double weight_decay = 0;
  double lr_factor = 1;  // multiplies the learning rate of a step
};

struct AdamWSettings {
  double beta1 = 0.9, beta2 = 0.95, eps = 1e-8;
  double clip_norm = 1.0;  // 0: no clipping
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
  bool empty() const { return names_.empty(); }

  // Moments and step count by name. These are the live tensors: writing into them restores the optimizer.
  NamedParameters state() const;

 private:
  struct Range {
    size_t first, last;
    double weight_decay, lr_factor;
  };
  std::string name_;
  AdamWSettings settings_;
  std::vector<std::string> names_;
  std::vector<at::Tensor> parameters_, exp_avgs_, exp_avg_sqs_;
  std::vector<Range> ranges_;  // one per group, into the vectors above
  at::Tensor steps_, grad_norm_, skipped_;
};

}  // namespace isobath
