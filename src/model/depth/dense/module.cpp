#include "model/depth/dense/module.h"

namespace isobath {

namespace {

class DensePass : public DepthPass {
 public:
  DensePass(ForwardContext const& context, int64_t layers) : DepthPass(context), layers_(layers) {}

  at::Tensor layer(int64_t, BlockImpl& block, at::Tensor const& x_ND) override { return block.forward(x_ND, context.rows, context.rotary); }
  void report(ModelOutput& output) override { report_layers(output, context, layers_, false, {}); }

 private:
  int64_t layers_;
};

}  // namespace

DenseModule::DenseModule(ModelConfig const& model, DepthConfig const&, int64_t) : layers(model.layers) {}

std::unique_ptr<DepthPass> DenseModule::begin(ForwardContext const& context) { return std::make_unique<DensePass>(context, layers); }

}  // namespace isobath
