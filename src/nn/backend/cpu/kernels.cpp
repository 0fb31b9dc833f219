#include "nn/backend/cpu/kernels.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "nn/backend/cpu/math.h"

namespace isobath::kernels {

namespace {

ISOBATH_INLINE float sigmoid(float x) { return 1.0f / (1.0f + exp_fast(-x)); }

}  // namespace

ISOBATH_MULTIVERSION
void rms_norm(float const* x, float const* weight, float* y, float* rstd, int64_t rows, int64_t width, float eps) {
  for (int64_t r = 0; r < rows; ++r) {
    float const* __restrict in = x + r * width;
    float* __restrict out = y + r * width;
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < width; ++i) sum += in[i] * in[i];
    float const scale = 1.0f / std::sqrt(sum / static_cast<float>(width) + eps);
    rstd[r] = scale;
#pragma omp simd
    for (int64_t i = 0; i < width; ++i) out[i] = in[i] * scale * weight[i];
  }
}

ISOBATH_MULTIVERSION
void rms_norm_backward(float const* dy, float const* x, float const* weight, float const* rstd, float* dx, float* dweight, int64_t rows,
                       int64_t width) {
  for (int64_t r = 0; r < rows; ++r) {
    float const* __restrict in = x + r * width;
    float const* __restrict grad = dy + r * width;
    float* __restrict out = dx + r * width;
    float const scale = rstd[r];
    float dot = 0;
#pragma omp simd reduction(+ : dot)
    for (int64_t i = 0; i < width; ++i) dot += grad[i] * weight[i] * in[i];
    float const shift = dot * scale * scale * scale / static_cast<float>(width);
#pragma omp simd
    for (int64_t i = 0; i < width; ++i) {
      out[i] = grad[i] * weight[i] * scale - in[i] * shift;
      dweight[i] += grad[i] * in[i] * scale;
    }
  }
}

ISOBATH_MULTIVERSION
void swiglu(float const* gate_up, float* y, int64_t rows, int64_t hidden) {
  for (int64_t r = 0; r < rows; ++r) {
    float const* __restrict gate = gate_up + r * 2 * hidden;
    float const* __restrict up = gate + hidden;
    float* __restrict out = y + r * hidden;
#pragma omp simd
    for (int64_t i = 0; i < hidden; ++i) out[i] = gate[i] * sigmoid(gate[i]) * up[i];
  }
}

ISOBATH_MULTIVERSION
void swiglu_backward(float const* dy, float const* gate_up, float* dgate_up, int64_t rows, int64_t hidden) {
  for (int64_t r = 0; r < rows; ++r) {
    float const* __restrict gate = gate_up + r * 2 * hidden;
    float const* __restrict up = gate + hidden;
    float const* __restrict grad = dy + r * hidden;
    float* __restrict dgate = dgate_up + r * 2 * hidden;
    float* __restrict dup = dgate + hidden;
#pragma omp simd
    for (int64_t i = 0; i < hidden; ++i) {
      float const s = sigmoid(gate[i]);
      float const silu = gate[i] * s;
      dup[i] = grad[i] * silu;
      dgate[i] = grad[i] * up[i] * (s + silu * (1.0f - s));
    }
  }
}

namespace {

constexpr float gelu_scale = 0.7978845608028654f;  // sqrt(2 / pi)
constexpr float gelu_cubic = 0.044715f;

// tanh(z) = 2 sigmoid(2z) - 1
ISOBATH_INLINE float gelu_tanh(float x) { return 2.0f * sigmoid(2.0f * gelu_scale * (x + gelu_cubic * x * x * x)) - 1.0f; }

}  // namespace

ISOBATH_MULTIVERSION
void gelu(float const* __restrict x, float* __restrict y, int64_t count) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) y[i] = 0.5f * x[i] * (1.0f + gelu_tanh(x[i]));
}

ISOBATH_MULTIVERSION
void gelu_backward(float const* __restrict dy, float const* __restrict x, float* __restrict dx, int64_t count) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) {
    float const t = gelu_tanh(x[i]);
    float const slope = gelu_scale * (1.0f + 3.0f * gelu_cubic * x[i] * x[i]);
    dx[i] = dy[i] * (0.5f * (1.0f + t) + 0.5f * x[i] * (1.0f - t * t) * slope);
  }
}

ISOBATH_MULTIVERSION
void rotate(float const* x, int64_t x_stride, float* y, int64_t y_stride, int64_t const* positions, float const* cos, float const* sin,
            int64_t rows, int64_t heads, int64_t head_dim, bool inverse) {
  int64_t const half = head_dim / 2;
  float const direction = inverse ? -1.0f : 1.0f;
  for (int64_t r = 0; r < rows; ++r) {
    float const* __restrict c = cos + positions[r] * half;
    float const* __restrict s = sin + positions[r] * half;
    for (int64_t h = 0; h < heads; ++h) {
      float const* __restrict in = x + r * x_stride + h * head_dim;
      float* __restrict out = y + r * y_stride + h * head_dim;
#pragma omp simd
      for (int64_t i = 0; i < half; ++i) {
        float const turn = direction * s[i];
        out[i] = in[i] * c[i] - in[i + half] * turn;
        out[i + half] = in[i + half] * c[i] + in[i] * turn;
      }
    }
  }
}

void copy_rows(float const* x, int64_t x_stride, float* y, int64_t y_stride, int64_t rows, int64_t width) {
  for (int64_t r = 0; r < rows; ++r) std::memcpy(y + r * y_stride, x + r * x_stride, static_cast<size_t>(width) * sizeof(float));
}

ISOBATH_MULTIVERSION
void cross_entropy(float* logits, int64_t const* targets, float* losses, int64_t rows, int64_t vocab, bool gradients) {
  for (int64_t r = 0; r < rows; ++r) {
    float* __restrict row = logits + r * vocab;
    if (targets[r] < 0) {
      losses[r] = 0;
      if (gradients) std::memset(row, 0, static_cast<size_t>(vocab) * sizeof(float));
      continue;
    }
    float largest = row[0];
#pragma omp simd reduction(max : largest)
    for (int64_t i = 0; i < vocab; ++i) largest = row[i] > largest ? row[i] : largest;
    float const at_target = row[targets[r]];
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < vocab; ++i) {
      float const e = exp_fast(row[i] - largest);
      row[i] = e;
      sum += e;
    }
    losses[r] = largest + std::log(sum) - at_target;
    if (!gradients) continue;
    float const scale = 1.0f / sum;
#pragma omp simd
    for (int64_t i = 0; i < vocab; ++i) row[i] *= scale;
    row[targets[r]] -= 1.0f;
  }
}

ISOBATH_MULTIVERSION
void scatter_add(float* y, int64_t const* index, float const* delta, float const* weight, int64_t rows, int64_t width) {
  for (int64_t r = 0; r < rows; ++r) {
    float* __restrict out = y + index[r] * width;
    float const* __restrict in = delta + r * width;
    float const w = weight ? weight[r] : 1.0f;
#pragma omp simd
    for (int64_t i = 0; i < width; ++i) out[i] += w * in[i];
  }
}

ISOBATH_MULTIVERSION
void scatter_add_backward(float const* dy, int64_t const* index, float const* delta, float const* weight, float* ddelta, float* dweight,
                          int64_t rows, int64_t width) {
  for (int64_t r = 0; r < rows; ++r) {
    float const* __restrict grad = dy + index[r] * width;
    float const* __restrict in = delta + r * width;
    float* __restrict out = ddelta + r * width;
    float const w = weight ? weight[r] : 1.0f;
    float dot = 0;
#pragma omp simd reduction(+ : dot)
    for (int64_t i = 0; i < width; ++i) {
      dot += grad[i] * in[i];
      out[i] = w * grad[i];
    }
    if (dweight) dweight[r] = dot;
  }
}

void top_k(float const* scores, int64_t* index, int64_t first, int64_t last, int64_t length, int64_t K) {
  auto const larger = [](float a, float b) { return std::isnan(a) ? !std::isnan(b) : a > b; };
  std::vector<float> order(static_cast<size_t>(length));
  for (int64_t sequence = first; sequence < last; ++sequence, scores += length) {
    std::copy_n(scores, length, order.begin());
    auto const kth = order.begin() + K - 1;
    std::nth_element(order.begin(), kth, order.end(), larger);
    float const bound = *kth;
    int64_t ties = K - std::count_if(order.begin(), kth, [&](float score) { return larger(score, bound); });
    for (int64_t t = 0; t < length; ++t) {
      bool const in = larger(scores[t], bound) || (!larger(bound, scores[t]) && ties-- > 0);
      if (in) *index++ = sequence * length + t;
    }
  }
}

}  // namespace isobath::kernels
