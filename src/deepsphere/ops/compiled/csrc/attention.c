#include "attention.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#include "activations.h"
#include "threads.h"

/* With s_ij = q_i . k_j / sqrt(depth), p_ij = softmax_j(s_ij) and g the gradient of y,

     dp_ij = g_i . v_j,    delta_i = sum_j p_ij dp_ij,    ds_ij = p_ij (dp_ij - delta_i),
     dq_i = sum_j ds_ij k_j / sqrt(depth),    dk_j = sum_i ds_ij q_i / sqrt(depth),
     dv_j = sum_i p_ij g_i.

   No value of an edge is kept: the second pass, over the vertices j, computes p_ij again from
   log_sum_i = log(sum_j exp(s_ij)) and delta_i, which the first pass, over i, has stored.

   Eight neighbors are processed at a time, and one head after the other. Heads whose depth is no
   multiple of 8 are first copied to rows that are, filled up with zeros. */

#define GROUP 8

typedef struct {
  const AttentionSizes *sizes;
  const Matrix *keys, *queries;
  const float *q, *k, *v, *mask, *gradient;
  float *y, *dq, *dk, *dv;
  int64_t width;   /* floats of a head in a row: depth, rounded up to a multiple of 8 */
  int64_t stride;  /* floats of a row */
  int64_t longest; /* the most neighbors of a vertex, rounded up to a multiple of GROUP */
  size_t apart;    /* bytes between the workspaces of the threads */
} Attention;

/* log_sum and delta of a head of a vertex. */
typedef struct {
  float log_sum, delta;
} Stats;

/* What a thread works on. */
typedef struct {
  int64_t *vertices, *offsets; /* of the neighbors, and of their rows */
  float *first, *second;       /* a value for each neighbor */
  float *own, *other, *result; /* rows of one head */
} Scratch;

/* The rows of one sample, all in the layout of Attention. */
typedef struct {
  const float *q, *k, *v, *gradient;
} Rows;

static int64_t round_up(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }

static int64_t longest_row(const Matrix *a) {
  int64_t longest = 0;
  for (int64_t i = 0; i < a->n; i++) {
    const int64_t length = a->starts[i + 1] - a->starts[i];
    longest = length > longest ? length : longest;
  }
  return longest;
}

/* ---- vectors ---- */

typedef int32_t int8 __attribute__((vector_size(32)));

#if defined(__clang__) || __GNUC__ >= 12
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (int8){__VA_ARGS__})
#endif

/* Add halves of a pair of vectors, within the two parts of four lanes that processors have: a0 + a2,
   b0 + b2, a1 + a3, b1 + b3 | the same of lanes 4 to 7. (Vectors are no arguments or results of
   functions: without AVX their passing is not settled.) */
#define FOLD_PAIR(A, B) \
  (SHUFFLE(A, B, 0, 8, 1, 9, 4, 12, 5, 13) + SHUFFLE(A, B, 2, 10, 3, 11, 6, 14, 7, 15))

/* The sums of the lanes of eight vectors. */
static inline void sum_lanes(const v8 *x, float *out) {
  v8 pairs[4], quads[2];
  UNROLLED for (int i = 0; i < 4; i++) pairs[i] = FOLD_PAIR(x[2 * i], x[2 * i + 1]);
  UNROLLED for (int i = 0; i < 2; i++) {
    const v8 a = pairs[2 * i], b = pairs[2 * i + 1];
    quads[i] = SHUFFLE(a, b, 0, 1, 8, 9, 4, 5, 12, 13) + SHUFFLE(a, b, 2, 3, 10, 11, 6, 7, 14, 15);
  }
  *(v8 *)out = SHUFFLE(quads[0], quads[1], 0, 1, 2, 3, 8, 9, 10, 11) +
               SHUFFLE(quads[0], quads[1], 4, 5, 6, 7, 12, 13, 14, 15);
}

static inline float sum_of(const float *x) {
  float sum = 0;
  UNROLLED for (int lane = 0; lane < 8; lane++) sum += x[lane];
  return sum;
}

/* The products of one row with those of GROUP neighbors. */
static inline void dots(const float *own, const float *rows, const int64_t *offsets, int64_t width,
                        float *out) {
  v8 sums[GROUP];
  const v8 first = *(const v8 *)own;
  UNROLLED for (int g = 0; g < GROUP; g++) sums[g] = first * *(const v8 *)(rows + offsets[g]);
  for (int64_t c = 8; c < width; c += 8) {
    const v8 next = *(const v8 *)(own + c);
    UNROLLED for (int g = 0; g < GROUP; g++)
        sums[g] += next * *(const v8 *)(rows + offsets[g] + c);
  }
  sum_lanes(sums, out);
}

/* out = factor * the sum of the rows of `count` neighbors, a multiple of GROUP, by weights. */
static inline void mix(const float *weights, const float *rows, const int64_t *offsets,
                       int64_t count, float factor, int64_t width, float *out) {
  for (int64_t c = 0; c < width; c += 8) {
    v8 sums[4] = {{0}}; /* one would wait for itself */
    for (int64_t e = 0; e < count; e += 4)
      UNROLLED for (int g = 0; g < 4; g++)
          sums[g] += weights[e + g] * *(const v8 *)(rows + offsets[e + g] + c);
    *(v8 *)(out + c) = factor * ((sums[0] + sums[1]) + (sums[2] + sums[3]));
  }
}

static inline float largest(const float *x, int64_t count) {
  float most = -INFINITY;
  v8 lanes = *(const v8 *)x;
  for (int64_t e = 8; e < count; e += 8) {
    const v8 next = *(const v8 *)(x + e);
    const int8 greater = (int8)(next > lanes);
    lanes = (v8)((greater & (int8)next) | (~greater & (int8)lanes));
  }
  for (int lane = 0; lane < 8; lane++) most = lanes[lane] > most ? lanes[lane] : most;
  return most;
}

/* x = exp(x - top); what is far below counts as 0. */
static inline void exponentials(float *x, int64_t count, float top) {
  for (int64_t e = 0; e < count; e++) x[e] = exp_below(x[e] - top);
}

static inline float total(const float *x, int64_t count) {
  v8 sums = *(const v8 *)x;
  for (int64_t e = 8; e < count; e += 8) sums += *(const v8 *)(x + e);
  return sum_of((const float *)&sums);
}

/* ---- neighbors ---- */

/* List the neighbors of a vertex, the last one repeated to fill the last group. Returns their
   number. */
static int64_t list_neighbors(const Matrix *a, int64_t vertex, const float *mask, int64_t stride,
                              const Scratch *s) {
  int64_t count = 0;
  for (int32_t e = a->starts[vertex]; e < a->starts[vertex + 1]; e++) {
    const int64_t j = a->indices[e];
    s->vertices[count] = j;
    s->offsets[count] = j * stride;
    count += !mask || mask[j] != 0;
  }
  if (count)
    for (int64_t e = count; e < round_up(count, GROUP); e++) {
      s->vertices[e] = s->vertices[count - 1];
      s->offsets[e] = s->offsets[count - 1];
    }
  return count;
}

static void set_end(float *x, int64_t count, float value) {
  for (int64_t e = count; e < round_up(count, GROUP); e++) x[e] = value;
}

/* ---- one head of one vertex ---- */

static void scale_row(const float *row, float factor, int64_t width, float *out) {
  for (int64_t c = 0; c < width; c += 8) *(v8 *)(out + c) = factor * *(const v8 *)(row + c);
}

/* The exponentials of the scores in `first`; returns their sum, and the largest score. */
static float score(const float *q, const float *k, const Scratch *s, int64_t count, float scale,
                   int64_t width, float *top) {
  const int64_t end = round_up(count, GROUP);
  scale_row(q, scale, width, s->own);
  for (int64_t e = 0; e < end; e += GROUP)
    dots(s->own, k, s->offsets + e, width, s->first + e);
  set_end(s->first, count, -INFINITY);
  *top = largest(s->first, end);
  exponentials(s->first, end, *top);
  set_end(s->first, count, 0);
  return total(s->first, end);
}

static void attend_head(const float *q, const float *k, const float *v, const Scratch *s,
                        int64_t count, float scale, int64_t width, float *y) {
  float top;
  const float sum = score(q, k, s, count, scale, width, &top);
  mix(s->first, v, s->offsets, round_up(count, GROUP), 1 / sum, width, y);
}

static Stats pull_to_query(const float *q, const float *k, const float *v, const float *gradient,
                           const Scratch *s, int64_t count, float scale, int64_t width, float *dq) {
  const int64_t end = round_up(count, GROUP);
  float top;
  const float sum = score(q, k, s, count, scale, width, &top), inverse = 1 / sum;
  v8 products = {0};
  for (int64_t e = 0; e < end; e += GROUP) {
    dots(gradient, v, s->offsets + e, width, s->second + e);
    const v8 p = inverse * *(v8 *)(s->first + e);
    *(v8 *)(s->first + e) = p;
    products += p * *(v8 *)(s->second + e);
  }
  const float delta = sum_of((const float *)&products);
  for (int64_t e = 0; e < end; e += GROUP)
    *(v8 *)(s->first + e) *= *(v8 *)(s->second + e) - delta;
  mix(s->first, k, s->offsets, end, scale, width, dq);
  return (Stats){top + logf(sum), delta};
}

static void pull_to_key(const float *k, const float *v, const float *q, const float *gradient,
                        const Stats *stats, int64_t heads, const Scratch *s, int64_t count,
                        float scale, int64_t width, float *dk, float *dv) {
  const int64_t end = round_up(count, GROUP);
  scale_row(k, scale, width, s->own);
  for (int64_t e = 0; e < end; e += GROUP) {
    v8 log_sums, deltas;
    UNROLLED for (int g = 0; g < GROUP; g++) {
      const Stats of = stats[s->vertices[e + g] * heads];
      log_sums[g] = of.log_sum;
      deltas[g] = of.delta;
    }
    dots(s->own, q, s->offsets + e, width, s->first + e);
    dots(v, gradient, s->offsets + e, width, s->second + e);
    *(v8 *)(s->first + e) -= log_sums;
    *(v8 *)(s->second + e) -= deltas;
  }
  exponentials(s->first, end, 0);
  set_end(s->first, count, 0);
  mix(s->first, gradient, s->offsets, end, 1, width, dv);
  for (int64_t e = 0; e < end; e += GROUP) *(v8 *)(s->second + e) *= *(v8 *)(s->first + e);
  set_end(s->second, count, 0);
  mix(s->second, q, s->offsets, end, scale, width, dk);
}

/* ---- all of them ---- */

/* Where the head of a vertex begins in an array of the caller. */
static int64_t place(const AttentionSizes *sizes, int64_t vertex, int64_t head) {
  return (vertex * sizes->heads + head) * sizes->depth;
}

/* Whether rows are copied, since the depth is no multiple of 8. */
static int is_filled_up(const Attention *a) { return a->width != a->sizes->depth; }

/* Where to write the result of a head: to `scratch` first if its rows are filled up. */
static float *begin(const Attention *a, float *to, float *scratch) {
  return is_filled_up(a) ? scratch : to;
}

static void finish(const Attention *a, const float *from, float *to) {
  if (from != to) memcpy(to, from, (size_t)a->sizes->depth * sizeof(float));
}

static void clear(const AttentionSizes *sizes, int64_t vertex, float *to) {
  memset(to + place(sizes, vertex, 0), 0, (size_t)(sizes->heads * sizes->depth) * sizeof(float));
}

static void attend_rows(const Attention *a, int64_t sample, const Rows *rows, const Scratch *s,
                        int64_t lo, int64_t hi) {
  const AttentionSizes *sizes = a->sizes;
  const float scale = 1 / sqrtf((float)sizes->depth);
  const float *mask = a->mask ? a->mask + sample * sizes->n : NULL;
  float *y = a->y + place(sizes, sample * sizes->n, 0);
  for (int64_t i = lo; i < hi; i++) {
    const int64_t count = list_neighbors(a->keys, i, mask, a->stride, s);
    if (!count) clear(sizes, i, y);
    for (int64_t h = 0; count && h < sizes->heads; h++) {
      const int64_t column = h * a->width;
      float *to = y + place(sizes, i, h), *out = begin(a, to, s->result);
      attend_head(rows->q + i * a->stride + column, rows->k + column, rows->v + column, s, count,
                  scale, a->width, out);
      finish(a, out, to);
    }
  }
}

static void pull_to_queries(const Attention *a, int64_t sample, const Rows *rows, Stats *stats,
                            const Scratch *s, int64_t lo, int64_t hi) {
  const AttentionSizes *sizes = a->sizes;
  const float scale = 1 / sqrtf((float)sizes->depth);
  const float *mask = a->mask ? a->mask + sample * sizes->n : NULL;
  float *dq = a->dq + place(sizes, sample * sizes->n, 0);
  for (int64_t i = lo; i < hi; i++) {
    const int64_t count = list_neighbors(a->keys, i, mask, a->stride, s);
    if (!count) clear(sizes, i, dq);
    for (int64_t h = 0; h < sizes->heads; h++) {
      const int64_t column = h * a->width, row = i * a->stride + column;
      float *to = dq + place(sizes, i, h), *out = begin(a, to, s->result);
      if (!count) {
        stats[i * sizes->heads + h] = (Stats){0, 0}; /* no key reads them */
        continue;
      }
      stats[i * sizes->heads + h] =
          pull_to_query(rows->q + row, rows->k + column, rows->v + column, rows->gradient + row, s,
                        count, scale, a->width, out);
      finish(a, out, to);
    }
  }
}

static void pull_to_keys(const Attention *a, int64_t sample, const Rows *rows, const Stats *stats,
                         const Scratch *s, int64_t lo, int64_t hi) {
  const AttentionSizes *sizes = a->sizes;
  const float scale = 1 / sqrtf((float)sizes->depth);
  const int64_t start = place(sizes, sample * sizes->n, 0);
  for (int64_t j = lo; j < hi; j++) {
    const int hidden = a->mask && a->mask[sample * sizes->n + j] == 0;
    const int64_t count = hidden ? 0 : list_neighbors(a->queries, j, NULL, a->stride, s);
    if (!count) {
      clear(sizes, j, a->dk + start);
      clear(sizes, j, a->dv + start);
    }
    for (int64_t h = 0; count && h < sizes->heads; h++) {
      const int64_t column = h * a->width, row = j * a->stride + column;
      float *dk = a->dk + start + place(sizes, j, h), *dv = a->dv + start + place(sizes, j, h);
      float *keys = begin(a, dk, s->result), *values = begin(a, dv, s->other);
      pull_to_key(rows->k + row, rows->v + row, rows->q + column, rows->gradient + column,
                  stats + h, sizes->heads, s, count, scale, a->width, keys, values);
      finish(a, keys, dk);
      finish(a, values, dv);
    }
  }
}

/* ---- threads ---- */

/* What all threads share: the rows of a sample if they are filled up, and the stats. */
typedef struct {
  float *q, *k, *v, *gradient;
  Stats *stats;
} Shared;

static size_t lay_out_scratch(const Attention *a, char *memory, Scratch *s) {
  char *const start = memory;
  const size_t longest = (size_t)a->longest, width = (size_t)a->width;
  s->vertices = take_array(&memory, longest, sizeof(int64_t));
  s->offsets = take_array(&memory, longest, sizeof(int64_t));
  s->first = take_array(&memory, longest, sizeof(float));
  s->second = take_array(&memory, longest, sizeof(float));
  s->own = take_array(&memory, width, sizeof(float));
  s->other = take_array(&memory, width, sizeof(float));
  s->result = take_array(&memory, width, sizeof(float));
  return (size_t)(memory - start);
}

static size_t lay_out_shared(const Attention *a, char *memory, Shared *s) {
  char *const start = memory;
  const size_t n = (size_t)a->sizes->n, rows = is_filled_up(a) ? n * (size_t)a->stride : 0;
  s->q = take_array(&memory, rows, sizeof(float));
  s->k = take_array(&memory, rows, sizeof(float));
  s->v = take_array(&memory, rows, sizeof(float));
  s->gradient = take_array(&memory, a->gradient ? rows : 0, sizeof(float));
  s->stats = take_array(&memory, a->gradient ? n * (size_t)a->sizes->heads : 0, sizeof(Stats));
  return (size_t)(memory - start);
}

/* The rows of a sample, as they are or filled up in `memory`. All threads copy their part. */
static const float *fill_up(const Attention *a, const float *x, int64_t sample, float *memory,
                            int64_t lo, int64_t hi) {
  const AttentionSizes *sizes = a->sizes;
  const float *from = x + place(sizes, sample * sizes->n, 0);
  if (!is_filled_up(a)) return from;
  for (int64_t i = lo; i < hi; i++)
    for (int64_t h = 0; h < sizes->heads; h++) {
      float *to = memory + i * a->stride + h * a->width;
      memcpy(to, from + place(sizes, i, h), (size_t)sizes->depth * sizeof(float));
      memset(to + sizes->depth, 0, (size_t)(a->width - sizes->depth) * sizeof(float));
    }
  return memory;
}

static void attend_on_thread(void *argument, Team *team, int thread, char *workspace) {
  const Attention *a = argument;
  const int64_t n = a->sizes->n, size = team_size(team);
  const int64_t lo = n * thread / size, hi = n * (thread + 1) / size;
  Scratch s;
  Shared shared;
  lay_out_scratch(a, workspace + (size_t)thread * a->apart, &s);
  lay_out_shared(a, workspace + (size_t)size * a->apart, &shared);
  for (int64_t b = 0; b < a->sizes->batch; b++) {
    Rows rows = {.q = fill_up(a, a->q, b, shared.q, lo, hi),
                 .k = fill_up(a, a->k, b, shared.k, lo, hi),
                 .v = fill_up(a, a->v, b, shared.v, lo, hi)};
    if (a->gradient) rows.gradient = fill_up(a, a->gradient, b, shared.gradient, lo, hi);
    if (is_filled_up(a)) team_barrier(team);
    if (!a->gradient)
      attend_rows(a, b, &rows, &s, lo, hi);
    else {
      pull_to_queries(a, b, &rows, shared.stats, &s, lo, hi);
      team_barrier(team); /* keys read the stats of all queries */
      pull_to_keys(a, b, &rows, shared.stats, &s, lo, hi);
    }
    if (is_filled_up(a) || a->gradient) team_barrier(team); /* the next sample overwrites them */
  }
}

static int run(Attention *a) {
  const AttentionSizes *sizes = a->sizes;
  if (sizes->batch == 0 || sizes->n == 0) return 1;
  const int64_t keys = longest_row(a->keys), queries = a->queries ? longest_row(a->queries) : 0;
  a->width = round_up(sizes->depth, 8);
  a->stride = sizes->heads * a->width;
  a->longest = round_up((keys > queries ? keys : queries) + 1, GROUP);
  Scratch scratch;
  Shared shared;
  a->apart = lay_out_scratch(a, UNALLOCATED, &scratch);
  const int threads = team_limit(sizes->threads);
  const size_t memory = (size_t)threads * a->apart + lay_out_shared(a, UNALLOCATED, &shared);
  return run_team(threads, memory, attend_on_thread, a);
}

int deepsphere_attend(const AttentionSizes *sizes, const Matrix *keys, const float *q,
                      const float *k, const float *v, const float *mask, float *y) {
  Attention a = {.sizes = sizes, .keys = keys, .q = q, .k = k, .v = v, .mask = mask, .y = y};
  return run(&a);
}

int deepsphere_attend_backward(const AttentionSizes *sizes, const Matrix *keys,
                               const Matrix *queries, const float *q, const float *k,
                               const float *v, const float *mask, const float *gradient, float *dq,
                               float *dk, float *dv) {
  Attention a = {.sizes = sizes, .keys = keys, .queries = queries, .q = q, .k = k, .v = v,
                 .mask = mask, .gradient = gradient, .dq = dq, .dk = dk, .dv = dv};
  return run(&a);
}
