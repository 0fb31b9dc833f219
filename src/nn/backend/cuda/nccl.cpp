// Collective operations between GPUs, for trainer/parallel: LibTorch's NCCL backend, whose code is in libtorch_cuda.

#define USE_C10D_NCCL  // without it the next header is empty
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>

namespace isobath::cuda {

c10d::Backend* open_nccl(c10d::Store* store, int rank, int size) {
  auto const shared = c10::intrusive_ptr<c10d::Store>::unsafe_reclaim_from_nonowning(store);
  auto const options = c10d::ProcessGroupNCCL::Options::create();
  // RankWatch ends a rank whose partner is gone; NCCL's own watchdog would abort the process without a word of who it was.
  options->timeout = std::chrono::hours(24);
  auto group = c10::make_intrusive<c10d::ProcessGroupNCCL>(c10::make_intrusive<c10d::PrefixStore>("nccl", shared), rank, size, options);
  return group.release();
}

}  // namespace isobath::cuda
