#include "rows.h"

#include <string.h>

/* Rows are processed a period at a time: 16 rows of any number of channels fill whole vectors, so
   that the compiler can vectorize the loops below. */

#define ROWS 16

int channels_period(int channels) { return ROWS * channels; }

void channels_repeat(const float *numbers, int channels, float *out) {
  for (int m = 0; m < ROWS * channels; m++) out[m] = numbers ? numbers[m % channels] : 0;
}

/* Run BODY for `length` floats from `at` on, the first of which belongs to channel 0. */
#define BY_PERIODS(COUNT, CHANNELS, BODY)                                 \
  for (int64_t at = 0, left = (COUNT); left > 0;) {                       \
    const int length = left < ROWS * (CHANNELS) ? (int)left : ROWS * (CHANNELS); \
    BODY;                                                                 \
    at += length;                                                         \
    left -= length;                                                       \
  }

#ifdef __clang__
#define VECTORIZED _Pragma("clang loop vectorize(assume_safety)")
#else
#define VECTORIZED _Pragma("GCC ivdep")
#endif

/* ---- activations ---- */

#define FOR_EACH(FUNCTION)                                             \
  VECTORIZED for (int m = 0; m < count; m++) values[m] = FUNCTION(values[m]); \
  break

/* values = activation(values). */
static void activate(float *restrict values, int count, int activation) {
  switch (activation) {
    case RELU: FOR_EACH(relu);
    case ELU: FOR_EACH(elu);
    case SELU: FOR_EACH(selu);
    case LEAKY_RELU: FOR_EACH(leaky_relu);
    case TANH: FOR_EACH(tanh_of);
    case SIGMOID: FOR_EACH(sigmoid);
    case SOFTPLUS: FOR_EACH(softplus);
    case SILU: FOR_EACH(silu);
    case GELU: FOR_EACH(gelu);
  }
}

/* Replace outputs of an activation by its derivatives there. */
static void find_slopes(float *restrict values, int count, int activation) {
  switch (activation) {
    case RELU: FOR_EACH(relu_slope);
    case ELU: FOR_EACH(elu_slope);
    case SELU: FOR_EACH(selu_slope);
    case LEAKY_RELU: FOR_EACH(leaky_relu_slope);
    case TANH: FOR_EACH(tanh_slope);
    case SIGMOID: FOR_EACH(sigmoid_slope);
    case SOFTPLUS: FOR_EACH(softplus_slope);
  }
}

/* Replace inputs of an activation by its derivatives there. */
static void find_slopes_at_inputs(float *restrict values, int count, int activation) {
  if (derivative_from_output(activation)) {
    activate(values, count, activation);
    find_slopes(values, count, activation);
    return;
  }
  switch (activation) {
    case SILU: FOR_EACH(silu_slope);
    case GELU: FOR_EACH(gelu_slope);
  }
}

static void fold(const float *sums, int channels, double *out) {
  for (int r = 0; r < ROWS; r++)
    for (int c = 0; c < channels; c++) out[c] += sums[r * channels + c];
}

void moments_add(const float *in, int64_t rows, int channels, const float *origin, double *sums,
                 float *scratch) {
  const int period = ROWS * channels;
  float *restrict plain = scratch, *restrict squares = scratch + period;
  memset(scratch, 0, 2 * (size_t)period * sizeof(float));
  BY_PERIODS(rows * channels, channels, {
    const float *restrict from = in + at;
    VECTORIZED for (int m = 0; m < length; m++) {
      const float d = from[m] - origin[m];
      plain[m] += d;
      squares[m] += d * d;
    }
  });
  fold(plain, channels, sums);
  fold(squares, channels, sums + channels);
}

void moments_merge(Moments *to, const Moments *from, int channels) {
  for (int c = 0; c < channels; c++) {
    const double count = to[c].count + from[c].count;
    if (count == 0) continue;
    const double difference = from[c].mean - to[c].mean;
    to[c].squares += from[c].squares + difference * difference * to[c].count * from[c].count / count;
    to[c].mean += difference * from[c].count / count;
    to[c].count = count;
  }
}

void rows_activate(float *values, int64_t rows, const Channels *c, int activation) {
  const float *restrict bias = c->bias;
  BY_PERIODS(rows * c->channels, c->channels, {
    float *restrict v = values + at;
    if (activation == RELU) {
      VECTORIZED for (int m = 0; m < length; m++) {
        const float z = v[m] + bias[m];
        v[m] = z < 0 ? 0 : z; /* keeps NaN */
      }
    } else {
      VECTORIZED for (int m = 0; m < length; m++) v[m] += bias[m];
      activate(v, length, activation);
    }
  });
}

void rows_normalize(const float *raw, float *out, int64_t rows, const Channels *c,
                    int activation) {
  const float *restrict scale = c->scale, *restrict shift = c->shift, *restrict bias = c->bias;
  BY_PERIODS(rows * c->channels, c->channels, {
    const float *restrict from = raw + at;
    float *restrict to = out + at;
    if (activation == RELU) {
      VECTORIZED for (int m = 0; m < length; m++) {
        const float z = scale[m] * from[m] + shift[m] + bias[m];
        to[m] = z < 0 ? 0 : z;
      }
    } else {
      VECTORIZED for (int m = 0; m < length; m++) to[m] = scale[m] * from[m] + shift[m] + bias[m];
      activate(to, length, activation);
    }
  });
}

#define CHUNK 256 /* floats: derivatives are computed for so many at a time */

void rows_activation_gradient(const float *g, const float *y, float *out, int64_t count,
                              int activation) {
  if (activation == RELU) {
    VECTORIZED for (int64_t m = 0; m < count; m++) out[m] = y[m] > 0 ? g[m] : 0;
    return;
  }
  float slopes[CHUNK];
  for (int64_t at = 0; at < count; at += CHUNK) {
    const int length = count - at < CHUNK ? (int)(count - at) : CHUNK;
    memcpy(slopes, y + at, (size_t)length * sizeof(float));
    find_slopes(slopes, length, activation);
    VECTORIZED for (int m = 0; m < length; m++) out[at + m] = slopes[m] * g[at + m];
  }
}

/* The derivatives of the activation of a normalization for `count` numbers from `raw` on, the first
   of which is number `start` of a period. */
static void find_normalized_slopes(const float *restrict raw, const Channels *c, int start,
                                   int count, int activation, float *restrict slopes) {
  const float *restrict scale = c->scale + start, *restrict shift = c->shift + start;
  const float *restrict bias = c->bias + start;
  VECTORIZED for (int m = 0; m < count; m++) slopes[m] = scale[m] * raw[m] + shift[m] + bias[m];
  find_slopes_at_inputs(slopes, count, activation);
}

/* Run BODY for `length` numbers from `start` on, whose derivatives are in `slopes`. */
#define BY_SLOPES(BODY)                                                                      \
  for (int start = 0; start < length; start += CHUNK) {                                       \
    float slopes[CHUNK];                                                                      \
    const int end = length - start < CHUNK ? length : start + CHUNK;                          \
    find_normalized_slopes(from + start, c, start, end - start, activation, slopes);          \
    VECTORIZED for (int m = start; m < end; m++) {                                            \
      const float passed = slopes[m - start] * gradient[m];                                   \
      BODY;                                                                                   \
    }                                                                                         \
  }

void rows_normalize_sums(const float *g, const float *raw, int64_t rows, const Channels *c,
                         int activation, double *sums, float *scratch) {
  const int channels = c->channels, period = ROWS * channels;
  const float *restrict scale = c->scale, *restrict shift = c->shift, *restrict bias = c->bias;
  float *restrict plain = scratch, *restrict weighted = scratch + period;
  memset(scratch, 0, 2 * (size_t)period * sizeof(float));
  BY_PERIODS(rows * channels, channels, {
    const float *restrict from = raw + at;
    const float *restrict gradient = g + at;
    if (activation == RELU) {
      VECTORIZED for (int m = 0; m < length; m++) {
        const float normalized = scale[m] * from[m] + shift[m];
        const float passed = normalized + bias[m] > 0 ? gradient[m] : 0;
        plain[m] += passed;
        weighted[m] += passed * normalized;
      }
    } else if (activation != LINEAR) {
      BY_SLOPES({
        plain[m] += passed;
        weighted[m] += passed * (scale[m] * from[m] + shift[m]);
      })
    } else {
      VECTORIZED for (int m = 0; m < length; m++) {
        plain[m] += gradient[m];
        weighted[m] += gradient[m] * (scale[m] * from[m] + shift[m]);
      }
    }
  });
  fold(plain, channels, sums);
  fold(weighted, channels, sums + channels);
}

void rows_normalize_gradient(const float *g, const float *raw, float *out, int64_t rows,
                             const Channels *c, int activation) {
  const float *restrict scale = c->scale, *restrict shift = c->shift, *restrict bias = c->bias;
  const float *restrict slope = c->slope, *restrict offset = c->offset;
  BY_PERIODS(rows * c->channels, c->channels, {
    const float *restrict from = raw + at;
    const float *restrict gradient = g + at;
    float *restrict to = out + at;
    if (activation == RELU) {
      VECTORIZED for (int m = 0; m < length; m++) {
        const float passed = scale[m] * from[m] + shift[m] + bias[m] > 0 ? gradient[m] : 0;
        to[m] = scale[m] * passed - (slope[m] * from[m] + offset[m]);
      }
    } else if (activation != LINEAR) {
      BY_SLOPES(to[m] = scale[m] * passed - (slope[m] * from[m] + offset[m]))
    } else {
      VECTORIZED for (int m = 0; m < length; m++)
        to[m] = scale[m] * gradient[m] - (slope[m] * from[m] + offset[m]);
    }
  });
}

void rows_sum(const float *g, int64_t rows, int channels, double *sums, float *scratch) {
  float *restrict plain = scratch;
  memset(scratch, 0, (size_t)(ROWS * channels) * sizeof(float));
  BY_PERIODS(rows * channels, channels, {
    const float *restrict gradient = g + at;
    VECTORIZED for (int m = 0; m < length; m++) plain[m] += gradient[m];
  });
  fold(plain, channels, sums);
}
