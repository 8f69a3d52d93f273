/* Activations and their derivatives, in forms that compilers vectorize. All keep NaN. */

#ifndef DEEPSPHERE_ACTIVATIONS_H
#define DEEPSPHERE_ACTIVATIONS_H

#include <math.h>
#include <stdint.h>
#include <string.h>

enum { LINEAR, RELU, ELU, SELU, LEAKY_RELU, TANH, SIGMOID, SOFTPLUS, SILU, GELU, ACTIVATIONS };

/* Whether the derivative can be computed from the output alone. */
static inline int derivative_from_output(int activation) { return activation < SILU; }

/* Klambauer et al., arXiv 1706.02515. */
#define SELU_SCALE 1.05070098735548f
#define SELU_ALPHA 1.67326324235437f
#define LEAKY_SLOPE 0.2f /* Keras' default */

/* ---- exponentials ---- */

/* exp(x) = scale (1 + part) for x <= 0, where scale is a power of 2. Below -87 the result is that
   of -87, about 1e-38. */
static inline float split_exp(float x, float *scale) {
  const float magic = 12582912.f; /* 1.5 * 2^23: adding it rounds to an integer */
  const float y = x < -87.f ? -87.f : x;
  const float shifted = y * 1.44269504f + magic, n = shifted - magic;
  const float r = (y - n * .693359375f) + n * 2.12194440e-4f; /* y - n ln 2 */
  uint32_t bits, zero;
  memcpy(&bits, &shifted, sizeof bits);
  memcpy(&zero, &magic, sizeof zero);
  bits = (bits - zero + 127) << 23;
  memcpy(scale, &bits, sizeof bits);
  /* The Taylor series: |r| <= ln(2) / 2 leaves a relative error of 2e-8. */
  const float higher = 1 / 24.f + r * (1 / 120.f + r * (1 / 720.f + r * (1 / 5040.f)));
  return r + r * r * (.5f + r * (1 / 6.f + r * higher));
}

/* exp(x) for x <= 0. */
static inline float exp_below(float x) {
  float scale;
  const float part = split_exp(x, &scale);
  return scale * part + scale;
}

/* exp(x) - 1 for x <= 0, without cancellation near 0. */
static inline float expm1_below(float x) {
  float scale;
  const float part = split_exp(x, &scale);
  return scale * part + (scale - 1);
}

/* log(1 + t) for t from 0 to 1: 2 atanh(t / (2 + t)), whose series ends below 1e-8. */
static inline float log1p_unit(float t) {
  const float u = t / (2 + t), w = u * u;
  const float higher = 1 / 9.f + w * (1 / 11.f + w * (1 / 13.f + w * (1 / 15.f)));
  return 2 * u * (1 + w * (1 / 3.f + w * (1 / 5.f + w * (1 / 7.f + w * higher))));
}

/* 1 - erf(x) for x >= 0 with a relative error of 1.2e-7: Press et al., Numerical Recipes,
   section 6.2. */
static inline float erfc_above(float x) {
  const float t = 1 / (1 + .5f * x);
  const float high = -.18628806f + t * (.27886807f + t * (-1.13520398f + t * (1.48851587f + t * (-.82215223f + t * .17087277f))));
  const float low = -1.26551223f + t * (1.00002368f + t * (.37409196f + t * (.09678418f + t * high)));
  const float exponent = low - x * x;
  return t * exp_below(exponent > 0 ? 0 : exponent);
}

/* ---- activations ---- */

static inline float relu(float z) { return z < 0 ? 0 : z; }

static inline float elu(float z) { return z > 0 ? z : expm1_below(z > 0 ? 0 : z); }

static inline float selu(float z) {
  return SELU_SCALE * (z > 0 ? z : SELU_ALPHA * expm1_below(z > 0 ? 0 : z));
}

static inline float leaky_relu(float z) { return z > 0 ? z : LEAKY_SLOPE * z; }

static inline float tanh_of(float z) {
  const float e = expm1_below(-2 * fabsf(z)), t = -e / (2 + e);
  return z < 0 ? -t : t;
}

static inline float sigmoid(float z) {
  const float e = exp_below(-fabsf(z)), p = 1 / (1 + e);
  return z < 0 ? e * p : p;
}

static inline float softplus(float z) { return relu(z) + log1p_unit(exp_below(-fabsf(z))); }

static inline float silu(float z) { return z * sigmoid(z); }

/* The distribution function of the standard normal distribution. */
static inline float normal_below(float z) {
  const float tail = .5f * erfc_above(fabsf(z) * .707106781f);
  return z < 0 ? tail : 1 - tail;
}

static inline float gelu(float z) { return z * normal_below(z); }

/* ---- derivatives, given the output ---- */

static inline float relu_slope(float y) { return y > 0 ? 1 : 0; }
static inline float elu_slope(float y) { return y > 0 ? 1 : y + 1; }
static inline float selu_slope(float y) {
  return y > 0 ? SELU_SCALE : y + SELU_SCALE * SELU_ALPHA;
}
static inline float leaky_relu_slope(float y) { return y > 0 ? 1 : LEAKY_SLOPE; }
static inline float tanh_slope(float y) { return 1 - y * y; }
static inline float sigmoid_slope(float y) { return y * (1 - y); }
static inline float softplus_slope(float y) { return -expm1_below(-y); }

/* ---- derivatives, given the input ---- */

static inline float silu_slope(float z) {
  const float s = sigmoid(z);
  return s * (1 + z * (1 - s));
}

static inline float gelu_slope(float z) {
  return normal_below(z) + z * .398942280f * exp_below(-.5f * z * z);
}

#endif
