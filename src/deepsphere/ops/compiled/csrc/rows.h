/* Operations on whole rows of channels before and after a filter: bias, activation, normalization,
   and their gradients. */

#ifndef DEEPSPHERE_ROWS_H
#define DEEPSPHERE_ROWS_H

#include <stdint.h>

#include "activations.h"

/* Per-channel values of a normalization, repeated to fill whole vectors: `period` floats, where
   element m belongs to channel m % channels. */
typedef struct {
  int channels, period;
  float *scale, *shift; /* normalized = scale * raw + shift */
  float *bias;
  float *slope, *offset; /* gradient = scale * g - (slope * raw + offset) */
} Channels;

/* The length of the arrays of Channels. */
int channels_period(int channels);

/* Repeat `channels` values (zeros if NULL) to a period. */
void channels_repeat(const float *numbers, int channels, float *out);

/* sums[0..channels) += in - origin, and the second half += its square. An origin near the data,
   such as one of its rows, avoids cancellation later; it is repeated to a period. `scratch` holds
   2 periods. */
void moments_add(const float *in, int64_t rows, int channels, const float *origin, double *sums,
                 float *scratch);

/* Count, mean, and sum of squared deviations of a channel's values. */
typedef struct {
  double count, mean, squares;
} Moments;

/* Merge the moments of other values into `to`. */
void moments_merge(Moments *to, const Moments *from, int channels);

/* values = activation(values + bias) on rows in place. */
void rows_activate(float *values, int64_t rows, const Channels *c, int activation);

/* out = activation(scale * raw + shift + bias). */
void rows_normalize(const float *raw, float *out, int64_t rows, const Channels *c,
                    int activation);

/* out = g * the derivative of an activation at its output y, see derivative_from_output. */
void rows_activation_gradient(const float *g, const float *y, float *out, int64_t count,
                              int activation);

/* sums[0..channels) += g, and the second half += g * normalized, where g is propagated back through
   the activation first. `scratch` holds 2 periods. */
void rows_normalize_sums(const float *g, const float *raw, int64_t rows, const Channels *c,
                         int activation, double *sums, float *scratch);

/* out = the gradient with respect to raw. Requires slope and offset. */
void rows_normalize_gradient(const float *g, const float *raw, float *out, int64_t rows,
                             const Channels *c, int activation);

/* sums += g, per channel. */
void rows_sum(const float *g, int64_t rows, int channels, double *sums, float *scratch);

#endif
