#pragma once
// The matrix products behind ops.h, and the choice of the library that computes them.

#include <ATen/core/Tensor.h>

#include <string>

namespace isobath {

// a_MK b_KN, either of them possibly a transposed view. Without autograd. The result has the operands' type, or a wider one.
at::Tensor gemm(at::Tensor const& a_MK, at::Tensor const& b_KN);
at::Tensor gemm(at::Tensor const& a_MK, at::Tensor const& b_KN, at::ScalarType type);
// out_MN = a_MK b_KN, or out_MN += a_MK b_KN. out_MN has rows of its own or is a range of rows of a larger tensor; its type may be wider
// than the operands'.
void gemm_into(at::Tensor const& out_MN, at::Tensor const& a_MK, at::Tensor const& b_KN, bool accumulate = false);

// The same where R is the number of selected rows, which is another in every call. oneDNN makes and keeps a kernel for every shape it
// meets; so it gets whole blocks of rows, and the BLAS the remaining rows.
at::Tensor gemm_of_rows(at::Tensor const& a_RK, at::Tensor const& b_KN);
at::Tensor gemm_over_rows(at::Tensor const& a_MR, at::Tensor const& b_RN);

// The library that multiplies fp32 matrices on this CPU: "oneDNN" or "BLAS". The BLAS of LibTorch's x86 wheels is MKL, which uses its fast
// kernels on Intel's CPUs only; oneDNN, which LibTorch contains as well, goes by the CPU's instruction sets. So Intel's CPUs use the BLAS
// and other x86 ones oneDNN, where LibTorch has it (docs/speed.md).
std::string gemm_library();

}  // namespace isobath
