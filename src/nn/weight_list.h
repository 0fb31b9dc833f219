#pragma once
// What a model stores and trains, each tensor declared by the module that owns it: public name, initial values, role for the optimizer.

#include <ATen/core/Tensor.h>

#include <string>
#include <utility>
#include <vector>

namespace isobath {

// Matrices of linear maps and embeddings have weight decay, vectors have none; routers have a learning rate and decay of their own;
// predictors have their own optimizer (and clipping), so that switching them on changes nothing else.
enum class Role { matrix, vector, router, predictor };

// Standard deviations of blocks' initial weights; `residual` for maps whose output is added to the residual stream (GPT-2).
struct InitialStd {
  double matrix = 0, residual = 0;
};

// A stored tensor under its public (Hugging Face Llama) name, a detached view of the model's storage.
struct NamedWeight {
  std::string name;
  at::Tensor tensor;
  double init_std = -1;  // below 0: starts as the constant init_value
  double init_value = 0;
  bool optional = false;  // a weight file may lack it; then it keeps its initial value
};

struct TrainedParameter {
  std::string name;
  at::Tensor tensor;
  Role role;
};

// The matrices that share one update of low rank, as files name them, and how many outputs each has.
using LowRankParts = std::vector<std::pair<std::string, int64_t>>;

// Undefined tensors are ignored, so that a module can declare tensors that only some configurations have.
class WeightList {
 public:
  struct Part {
    std::string name;
    int64_t rows;
    double init_std;
  };
  void random(std::string const& name, at::Tensor const& parameter, Role role, double init_std);
  void constant(std::string const& name, at::Tensor const& parameter, Role role, double value);
  // One parameter that is trained as a whole under `name` and stored as its parts, successive ranges of its rows.
  void fused(std::string const& name, at::Tensor const& parameter, Role role, std::vector<Part> const& parts);
  // An update of the matrix `name`, which is stored as `parts`: NAME.lora_down.weight, and PART.lora_up.weight of each. It starts at zero.
  void low_rank(std::string const& name, at::Tensor const& down_KI, at::Tensor const& up_OK, LowRankParts const& parts);
  // Stored, not trained by gradients.
  void buffer(std::string const& name, at::Tensor const& tensor, double value, bool optional = false);

  std::vector<NamedWeight> stored;
  std::vector<TrainedParameter> trained;
};

bool is_low_rank(std::string const& name);  // whether a part of WeightList::low_rank has this name

}  // namespace isobath
