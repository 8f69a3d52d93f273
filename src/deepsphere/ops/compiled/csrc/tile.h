/* Inner loops for any number of channels, on a few rows at a time. */

#ifndef DEEPSPHERE_TILE_H
#define DEEPSPHERE_TILE_H

#include "vectors.h"

/* `lanes` gives the layout of features in the buffers of a walk, see vectors.h: 16, 8 or 4 samples,
   or 1 for the layout by channels. */

/* out = factor * A in [- old] on rows lo to hi of `samples` (1, 2 or 4) blocks at intervals of
   `apart` floats. A row has `stride` floats, a multiple of 4, or of 8 if samples > 1. */
void tile_product(const Matrix *a, int64_t lo, int64_t hi, const float *in, const float *old,
                  float *out, int64_t stride, int samples, int64_t apart, float factor);

/* The most arrays that are multiplied with the kernel at a time. */
#define MOST_TERMS 3

/* out[row][o] (+)= sum_t sum_s in[t][row][s] w[t][s][o], where w is (terms, sources, outputs). */
void tile_mix(const float *const *in, int terms, const float *w, float *out, int64_t rows,
              int sources, int outputs, int lanes, int add);

/* out[row][c] (+)= in[row][c] w[c]: the product with a kernel that does not mix channels. */
void tile_scale(const float *in, const float *w, float *out, int64_t rows, int channels, int lanes,
                int add);

/* out[c] += sum over rows of left[row][c] right[row][c]; out is (channels, lanes). */
void tile_dot(const float *left, const float *right, float *out, int64_t rows, int channels,
              int lanes);

/* out[a][b] += sum over rows of left[row][a] right[row][b]; out is (lefts, rights, lanes). */
void tile_correlate(const float *left, const float *right, float *out, int64_t rows, int lefts,
                    int rights, int lanes);

/* Interleave `lanes` arrays of `count` floats, at intervals of `apart` floats, to `count` vectors;
   lanes from `filled` on become 0. */
void tile_gather(const float *in, int64_t apart, int filled, int64_t count, int lanes, float *out);

/* The inverse, for the filled lanes. */
void tile_scatter(const float *in, int64_t count, int lanes, int filled, int64_t apart,
                  float *out);

#endif
