/* Vectors of floats, and the inner loops that take nearly all the time.

   Features lie in one of two layouts:

   lanes     [vertex][channel][lane], a lane being a sample: any number of channels fills vectors;
   channels  [sample][vertex][channel], the caller's layout: nothing is rearranged, but the numbers
             of channels must be multiples of 8.

   Loops have constant lengths to keep the sums in registers: each function below is instantiated
   for each length. */

#ifndef DEEPSPHERE_VECTORS_H
#define DEEPSPHERE_VECTORS_H

#include <stdint.h>

typedef float v16 __attribute__((vector_size(64), aligned(4), may_alias));
typedef float v8 __attribute__((vector_size(32), aligned(4), may_alias));
typedef float v4 __attribute__((vector_size(16), aligned(4), may_alias));

#ifdef __AVX512F__
#define WIDEST 16 /* floats in the processor's widest vector */
#else
#define WIDEST 8
#endif

#define UNROLLED _Pragma("GCC unroll 16")

/* A sparse matrix in CSR format. */
typedef struct {
  int64_t n;
  const int32_t *starts, *indices;
  const float *values;
} Matrix;

/* The processor cannot predict which rows of features a product needs next. If the features do not
   fit into the second-level cache, rows are prefetched this many matrix rows and entries ahead. */
#define CACHED (1 << 20) /* floats in total: 4 MB */
#define ROWS_AHEAD 4
#define ENTRIES_AHEAD 128
#define FETCH(VEC, COUNT, FROM) \
  UNROLLED for (int c = 0; c < COUNT; c++) __builtin_prefetch((const VEC *)(FROM) + c)

/* out = factor * A in [- old], on rows lo to hi and the columns from `in` on: COUNT vectors, and ENDS
   (0 or 1) of the shorter type END. Rows are at intervals of `stride` floats, and the samples that
   share a pass over the matrix at intervals of `apart`. */
#define PRODUCT_OF(NAME, VEC, COUNT, SAMPLES, END, ENDS)                                          \
  static void NAME(const Matrix *a, int64_t lo, int64_t hi, const float *in, const float *old,    \
                   float *out, int64_t stride, int64_t apart, float factor) {                     \
    const int32_t last = a->starts[a->n] - 1;                                                     \
    const int far = a->n * stride * SAMPLES > CACHED;                                             \
    for (int64_t i = lo; i < hi; i++) {                                                           \
      VEC sums[SAMPLES][COUNT] = {{{0}}};                                                         \
      END end[SAMPLES] = {{0}};                                                                   \
      if (far) {                                                                                  \
        const int64_t next = (i + ROWS_AHEAD < hi ? i + ROWS_AHEAD : i) * stride;                 \
        UNROLLED for (int s = 0; s < SAMPLES; s++) {                                              \
          FETCH(VEC, COUNT + ENDS, out + next + s * apart);                                       \
          if (old) FETCH(VEC, COUNT + ENDS, old + next + s * apart);                              \
        }                                                                                         \
      }                                                                                           \
      for (int32_t e = a->starts[i]; e < a->starts[i + 1]; e++) {                                 \
        const float *row = in + a->indices[e] * stride;                                           \
        const float value = a->values[e];                                                         \
        if (far) {                                                                                \
          const int32_t later = last - e > ENTRIES_AHEAD ? e + ENTRIES_AHEAD : last;              \
          const float *next = in + a->indices[later] * stride;                                    \
          UNROLLED for (int s = 0; s < SAMPLES; s++) FETCH(VEC, COUNT + ENDS, next + s * apart);  \
        }                                                                                         \
        UNROLLED for (int s = 0; s < SAMPLES; s++) {                                              \
          const VEC *from = (const VEC *)(row + s * apart);                                       \
          UNROLLED for (int c = 0; c < COUNT; c++) sums[s][c] += value * from[c];                 \
          if (ENDS) end[s] += value * *(const END *)(from + COUNT);                               \
        }                                                                                         \
      }                                                                                           \
      UNROLLED for (int s = 0; s < SAMPLES; s++) {                                                \
        VEC *to = (VEC *)(out + i * stride + s * apart);                                          \
        const VEC *from = old ? (const VEC *)(old + i * stride + s * apart) : 0;                  \
        UNROLLED for (int c = 0; c < COUNT; c++)                                                  \
            to[c] = old ? factor * sums[s][c] - from[c] : factor * sums[s][c];                    \
        if (ENDS)                                                                                 \
          *(END *)(to + COUNT) =                                                                  \
              old ? factor * end[s] - *(const END *)(from + COUNT) : factor * end[s];             \
      }                                                                                           \
    }                                                                                             \
  }
#define PRODUCT(VEC, COUNT, SAMPLES)                                                              \
  PRODUCT_OF(product_##VEC##_##COUNT##_##SAMPLES, VEC, COUNT, SAMPLES, v4, 0)
#define PRODUCT_END(COUNT, END) PRODUCT_OF(product_v16_##COUNT##_##END, v16, COUNT, 1, END, 1)

/* Lanes: out[row][o] (+)= sum_t sum_s in[t][row][s] w[t][s][o], for COUNT of the `outputs` from `w`
   on. */
#define MIX_LANES(VEC, COUNT)                                                                     \
  static void mix_lanes_##VEC##_##COUNT(const float *const *in, int terms, const float *w,        \
                                        float *out, int64_t rows, int sources, int outputs,       \
                                        int add) {                                                \
    for (int64_t i = 0; i < rows; i++) {                                                          \
      VEC *to = (VEC *)out + i * outputs;                                                         \
      VEC sums[COUNT] = {{0}};                                                                    \
      if (add) UNROLLED for (int o = 0; o < COUNT; o++) sums[o] = to[o];                          \
      const float *weights = w;                                                                   \
      for (int t = 0; t < terms; t++) {                                                           \
        const VEC *from = (const VEC *)in[t] + i * sources;                                       \
        for (int s = 0; s < sources; s++, weights += outputs) {                                   \
          const VEC term = from[s];                                                               \
          UNROLLED for (int o = 0; o < COUNT; o++) sums[o] += weights[o] * term;                  \
        }                                                                                         \
      }                                                                                           \
      UNROLLED for (int o = 0; o < COUNT; o++) to[o] = sums[o];                                   \
    }                                                                                             \
  }

/* Channels: the same for COUNT vectors of outputs and ROWS rows at a time, which divide `rows`. */
#define MIX_CHANNELS(VEC, COUNT, ROWS)                                                            \
  static void mix_channels_##VEC##_##COUNT##_##ROWS(                                              \
      const float *const *in, int terms, const float *w, float *out, int64_t rows, int sources,   \
      int outputs, int add) {                                                                     \
    for (int64_t i = 0; i < rows; i += ROWS, out += ROWS * (int64_t)outputs) {                    \
      VEC sums[ROWS][COUNT] = {{{0}}};                                                            \
      if (add)                                                                                    \
        UNROLLED for (int r = 0; r < ROWS; r++)                                                   \
            UNROLLED for (int o = 0; o < COUNT; o++)                                              \
                sums[r][o] = ((VEC *)(out + r * outputs))[o];                                     \
      const float *weights = w;                                                                   \
      for (int t = 0; t < terms; t++) {                                                           \
        const float *from = in[t] + i * sources;                                                  \
        _Pragma("GCC unroll 1") for (int s = 0; s < sources; s++, weights += outputs) {           \
          VEC weight[COUNT];                                                                      \
          UNROLLED for (int o = 0; o < COUNT; o++) weight[o] = ((const VEC *)weights)[o];         \
          UNROLLED for (int r = 0; r < ROWS; r++) {                                               \
            const float value = from[r * sources + s];                                            \
            UNROLLED for (int o = 0; o < COUNT; o++) sums[r][o] += value * weight[o];             \
          }                                                                                       \
        }                                                                                         \
      }                                                                                           \
      UNROLLED for (int r = 0; r < ROWS; r++)                                                     \
          UNROLLED for (int o = 0; o < COUNT; o++)                                                \
              ((VEC *)(out + r * outputs))[o] = sums[r][o];                                       \
    }                                                                                             \
  }

/* Lanes: out[row][c] (+)= in[row][c] w[c]. */
#define SCALE_LANES(VEC)                                                                          \
  static void scale_lanes_##VEC(const float *in, const float *w, float *out, int64_t rows,        \
                                int channels, int add) {                                          \
    for (int64_t i = 0; i < rows; i++) {                                                          \
      const VEC *from = (const VEC *)in + i * channels;                                           \
      VEC *to = (VEC *)out + i * channels;                                                        \
      for (int c = 0; c < channels; c++) to[c] = add ? to[c] + w[c] * from[c] : w[c] * from[c];   \
    }                                                                                             \
  }

/* Channels: the same, for COUNT vectors of channels of rows at intervals of `stride` floats. */
#define SCALE_CHANNELS(VEC, COUNT)                                                                \
  static void scale_channels_##VEC##_##COUNT(const float *in, const float *w, float *out,         \
                                             int64_t rows, int stride, int add) {                 \
    VEC weights[COUNT];                                                                           \
    UNROLLED for (int c = 0; c < COUNT; c++) weights[c] = ((const VEC *)w)[c];                    \
    for (int64_t i = 0; i < rows; i++) {                                                          \
      const VEC *from = (const VEC *)(in + i * stride);                                           \
      VEC *to = (VEC *)(out + i * stride);                                                        \
      UNROLLED for (int c = 0; c < COUNT; c++)                                                    \
          to[c] = add ? to[c] + weights[c] * from[c] : weights[c] * from[c];                      \
    }                                                                                             \
  }

/* out[c] += sum over rows of left[row][c] right[row][c], for COUNT vectors of rows at intervals of
   `stride` floats; in both layouts, as lanes are summed like channels. */
#define DOT(VEC, COUNT)                                                                           \
  static void dot_##VEC##_##COUNT(const float *left, const float *right, float *out,              \
                                  int64_t rows, int64_t stride) {                                 \
    VEC sums[COUNT] = {{0}};                                                                      \
    for (int64_t i = 0; i < rows; i++) {                                                          \
      const VEC *l = (const VEC *)(left + i * stride), *r = (const VEC *)(right + i * stride);    \
      UNROLLED for (int c = 0; c < COUNT; c++) sums[c] += l[c] * r[c];                            \
    }                                                                                             \
    UNROLLED for (int c = 0; c < COUNT; c++)((VEC *)out)[c] += sums[c];                           \
  }

/* Lanes: sums[a][b] += sum over rows of left[row][a] right[row][b], lane by lane. */
#define CORRELATE_LANES(VEC, LEFTS, RIGHTS)                                                       \
  static void correlate_lanes_##VEC##_##LEFTS##_##RIGHTS(                                         \
      const float *left, const float *right, float *out, int64_t rows, int lefts, int rights) {   \
    VEC sums[LEFTS][RIGHTS] = {{{0}}};                                                            \
    for (int64_t i = 0; i < rows; i++) {                                                          \
      const VEC *l = (const VEC *)left + i * lefts, *r = (const VEC *)right + i * rights;         \
      UNROLLED for (int a = 0; a < LEFTS; a++)                                                    \
          UNROLLED for (int b = 0; b < RIGHTS; b++) sums[a][b] += l[a] * r[b];                    \
    }                                                                                             \
    UNROLLED for (int a = 0; a < LEFTS; a++)                                                      \
        UNROLLED for (int b = 0; b < RIGHTS; b++)((VEC *)out)[a * rights + b] += sums[a][b];      \
  }

/* Channels: the same for LEFTS channels of `left` and COUNT vectors of channels of `right`. */
#define CORRELATE_CHANNELS(VEC, LEFTS, COUNT)                                                     \
  static void correlate_channels_##VEC##_##LEFTS##_##COUNT(                                       \
      const float *left, const float *right, float *out, int64_t rows, int lefts, int rights) {   \
    VEC sums[LEFTS][COUNT] = {{{0}}};                                                             \
    for (int64_t i = 0; i < rows; i++) {                                                          \
      const float *l = left + i * lefts;                                                          \
      const VEC *r = (const VEC *)(right + i * rights);                                           \
      UNROLLED for (int b = 0; b < COUNT; b++) {                                                  \
        const VEC term = r[b];                                                                    \
        UNROLLED for (int a = 0; a < LEFTS; a++) sums[a][b] += l[a] * term;                       \
      }                                                                                           \
    }                                                                                             \
    UNROLLED for (int a = 0; a < LEFTS; a++)                                                      \
        UNROLLED for (int b = 0; b < COUNT; b++)                                                  \
            ((VEC *)(out + (int64_t)a * rights))[b] += sums[a][b];                                \
  }

#endif
