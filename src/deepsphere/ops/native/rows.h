/* What is done to whole rows of channels on the way into and out of a filter: bias, activation,
   normalization, and their gradients. */

#ifndef DEEPSPHERE_ROWS_H
#define DEEPSPHERE_ROWS_H

#include <stdint.h>

enum { LINEAR = 0, RELU = 1 };

/* Per-channel numbers of a normalization, repeated until they fill whole vectors:
   `period` floats, element m being of channel m % channels. */
typedef struct {
  int channels, period;
  float *scale, *shift; /* normalized = scale * raw + shift */
  float *bias;
  float *slope, *offset; /* gradient = scale * g - (slope * raw + offset) */
} Channels;

/* How many floats the arrays of Channels take. */
int channels_period(int channels);

/* Repeat `channels` numbers (NULL: zeros) to a period. */
void channels_repeat(const float *numbers, int channels, float *out);

/* sums[0..channels) += in - origin, and the second half += its square: with some row of the data,
   repeated to a period, as origin, nothing cancels in what follows; `scratch` holds 2 periods. */
void moments_add(const float *in, int64_t rows, int channels, const float *origin, double *sums,
                 float *scratch);

/* Mean and sum of squared deviations per channel of some numbers. */
typedef struct {
  double count, mean, squares;
} Moments;

/* Add those of others. */
void moments_merge(Moments *to, const Moments *from, int channels);

/* values = activation(values + bias) on rows in place. */
void rows_activate(float *values, int64_t rows, const Channels *c, int activation);

/* out = activation(scale * raw + shift + bias). */
void rows_normalize(const float *raw, float *out, int64_t rows, const Channels *c,
                    int activation);

/* out = g where y > 0, and 0 elsewhere. */
void rows_relu_gradient(const float *g, const float *y, float *out, int64_t count);

/* sums[0..channels) += g, and the second half += g * normalized, where g has gone back through
   the activation; `scratch` holds 2 periods. */
void rows_normalize_sums(const float *g, const float *raw, int64_t rows, const Channels *c,
                         int activation, double *sums, float *scratch);

/* out = the gradient with respect to raw, after slope and offset have been set. */
void rows_normalize_gradient(const float *g, const float *raw, float *out, int64_t rows,
                             const Channels *c, int activation);

/* sums += g, per channel. */
void rows_sum(const float *g, int64_t rows, int channels, double *sums, float *scratch);

#endif
