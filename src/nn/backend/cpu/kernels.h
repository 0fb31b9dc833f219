#pragma once
// Float loops behind ops.h: no LibTorch, no threads (backend.cpp hands each thread a range of rows), one build with run-time dispatch to
// AVX-512, AVX2 or baseline. All pointers are contiguous, row-major.

#include <cstdint>

namespace isobath::kernels {

void rms_norm(float const* x, float const* weight, float* y, float* rstd, int64_t rows, int64_t width, float eps);
// Writes dx; adds to dweight[width].
void rms_norm_backward(float const* dy, float const* x, float const* weight, float const* rstd, float* dx, float* dweight, int64_t rows,
                       int64_t width);

// gate_up: [rows, 2 hidden], y: [rows, hidden].
void swiglu(float const* gate_up, float* y, int64_t rows, int64_t hidden);
void swiglu_backward(float const* dy, float const* gate_up, float* dgate_up, int64_t rows, int64_t hidden);

void gelu(float const* x, float* y, int64_t count);
void gelu_backward(float const* dy, float const* x, float* dx, int64_t count);

// Rotates `heads` heads of every row of x (row stride x_stride) into y (row stride y_stride). inverse: rotates back.
void rotate(float const* x, int64_t x_stride, float* y, int64_t y_stride, int64_t const* positions, float const* cos, float const* sin,
            int64_t rows, int64_t heads, int64_t head_dim, bool inverse);
void copy_rows(float const* x, int64_t x_stride, float* y, int64_t y_stride, int64_t rows, int64_t width);

// Sets losses to -log softmax(logits)[target]; with `gradients` also turns each row of logits into its softmax minus the one-hot target, in
// place. A target below 0 gives loss 0 and gradient 0.
void cross_entropy(float* logits, int64_t const* targets, float* losses, int64_t rows, int64_t vocab, bool gradients);

// y[index[r]] += weight[r] * delta[r]; weight may be null (1).
void scatter_add(float* y, int64_t const* index, float const* delta, float const* weight, int64_t rows, int64_t width);
// ddelta[r] = weight[r] * dy[index[r]]; dweight[r] = dot(delta[r], dy[index[r]]) where dweight is not null.
void scatter_add_backward(float const* dy, int64_t const* index, float const* delta, float const* weight, float* ddelta, float* dweight,
                          int64_t rows, int64_t width);

// For sequences [first, last): positions of the K largest of `length` scores, ascending, as sequence * length + position; scores and index
// point at the first sequence's. Ties go to the lower position; NaN counts as larger than every number.
void top_k(float const* scores, int64_t* index, int64_t first, int64_t last, int64_t length, int64_t K);

// out[r, n] = x[r] . w[n] for n in [first, last); x [rows, depth] with few rows, w [columns, depth], out [rows, columns]. Each row of w is
// fetched from memory once. A row's result does not depend on the other rows.
void few_rows_product(float const* x, float const* w, float* out, int64_t rows, int64_t depth, int64_t columns, int64_t first,
                      int64_t last);

}  // namespace isobath::kernels
