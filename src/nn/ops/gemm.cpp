#include "nn/ops/gemm.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>

#include <algorithm>

#if defined(__x86_64__)
#include <cpuid.h>

#include <cstring>
#endif

#include "nn/backend/backend.h"
#include "nn/backend/cpu/kernels.h"

// LibTorch exports this function but declares it in no header; the weak declaration links even with a LibTorch built without it. It takes
// operands of any strides; result = alpha mat1 mat2 + beta result.
namespace at::native {
__attribute__((weak)) void mkldnn_matmul(Tensor const& mat1, Tensor const& mat2, Tensor const& result, float beta, float alpha);
}

namespace isobath {

namespace {

bool is_intel() {
#if defined(__x86_64__)
  unsigned level = 0, vendor[3] = {};
  return __get_cpuid(0, &level, &vendor[0], &vendor[2], &vendor[1]) && std::memcmp(vendor, "GenuineIntel", 12) == 0;
#else
  return false;
#endif
}

bool prefers_onednn() {
#if defined(__x86_64__)
  static bool const answer = at::native::mkldnn_matmul != nullptr && at::globalContext().hasMKLDNN() && !is_intel();
  return answer;
#else
  return false;  // not measured
#endif
}

bool takes_onednn(at::Tensor const& a) { return &backend_for(a) == &cpu_backend() && a.numel() > 0 && prefers_onednn(); }

// How many of `rows` go to oneDNN.
int64_t whole_blocks(at::Tensor const& a, int64_t rows) {
  constexpr int64_t block = 64;
  return takes_onednn(a) ? rows - rows % block : rows;
}

}  // namespace

at::Tensor gemm_of_rows(at::Tensor const& a_RK, at::Tensor const& b_KN) {
  // Up to this many rows, as in decoding, our own kernel is faster because it fetches each weight once; beyond, oneDNN is.
  constexpr int64_t few = 128;
  if (a_RK.size(0) <= few && &backend_for(a_RK) == &cpu_backend() && b_KN.t().is_contiguous()) {
    at::Tensor const a = a_RK.contiguous(), out_RN = at::empty({a.size(0), b_KN.size(1)}, a.options());
    constexpr int64_t weights_of_a_thread = 32768;  // a few microseconds for one row (memory-bound) as for sixteen (compute-bound)
    int64_t const columns_of_a_thread = (weights_of_a_thread / std::max<int64_t>(1, a.size(1)) + 3) / 4 * 4;
    at::parallel_for(0, b_KN.size(1), columns_of_a_thread, [&](int64_t first, int64_t last) {
      kernels::few_rows_product(a.const_data_ptr<float>(), b_KN.const_data_ptr<float>(), out_RN.mutable_data_ptr<float>(), a.size(0),
                                a.size(1), b_KN.size(1), first, last);
    });
    return out_RN;
  }
  int64_t const rows = a_RK.size(0), whole = whole_blocks(a_RK, rows);
  if (whole == rows) return gemm(a_RK, b_KN);
  at::Tensor const out_RN = at::empty({rows, b_KN.size(1)}, a_RK.options());
  if (whole > 0) gemm_into(out_RN.narrow(0, 0, whole), a_RK.narrow(0, 0, whole), b_KN);
  at::Tensor rest = out_RN.narrow(0, whole, rows - whole);
  at::mm_out(rest, a_RK.narrow(0, whole, rows - whole), b_KN);
  return out_RN;
}

at::Tensor gemm_over_rows(at::Tensor const& a_MR, at::Tensor const& b_RN) {
  int64_t const rows = b_RN.size(0), whole = whole_blocks(a_MR, rows);
  if (whole == rows) return gemm(a_MR, b_RN);
  at::Tensor const a_rest = a_MR.narrow(1, whole, rows - whole), b_rest = b_RN.narrow(0, whole, rows - whole);
  if (whole == 0) return at::mm(a_rest, b_rest);
  return gemm(a_MR.narrow(1, 0, whole), b_RN.narrow(0, 0, whole)).addmm_(a_rest, b_rest);
}

at::Tensor gemm(at::Tensor const& a_MK, at::Tensor const& b_KN) {
  at::Tensor const out_MN = at::empty({a_MK.size(0), b_KN.size(1)}, a_MK.options());
  gemm_into(out_MN, a_MK, b_KN);
  return out_MN;
}

at::Tensor gemm(at::Tensor const& a_MK, at::Tensor const& b_KN, at::ScalarType type) {
  bool const wide = type != a_MK.scalar_type();
  if (wide && a_MK.is_cuda() && type == at::kFloat) return at::mm(a_MK, b_KN, type);  // its sums are never rounded to the narrow type
  return wide ? gemm(a_MK, b_KN).to(type) : gemm(a_MK, b_KN);
}

void gemm_into(at::Tensor const& out_MN, at::Tensor const& a_MK, at::Tensor const& b_KN, bool accumulate) {
  at::Tensor out = out_MN;
  if (out.scalar_type() != a_MK.scalar_type()) {
    at::Tensor const product_MN = gemm(a_MK, b_KN, out.scalar_type());
    accumulate ? out.add_(product_MN) : out.copy_(product_MN);
  } else if (takes_onednn(a_MK)) {
    at::native::mkldnn_matmul(a_MK, b_KN, out, accumulate ? 1.0f : 0.0f, 1.0f);
  } else if (accumulate) {
    out.addmm_(a_MK, b_KN);
  } else {
    at::mm_out(out, a_MK, b_KN);
  }
}

std::string gemm_library() { return prefers_onednn() ? "oneDNN" : "BLAS"; }

}  // namespace isobath
