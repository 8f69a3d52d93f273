#include "walk.h"

#include <stdlib.h>
#include <string.h>

#include "threads.h"
#include "tile.h"

#define TILE_FLOATS 6144 /* floats of all arrays in a tile: 24 kB, which stay in the cache */
#define GROUP_FLOATS 64  /* columns multiplied per read of the matrix, given enough samples */

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* The number of sums per term. */
static int64_t sums_per_term(const Walk *w) {
  return w->depthwise ? w->source.channels : (int64_t)w->left->channels * w->source.channels;
}

/* ---- groups of samples ---- */

/* Samples are processed in groups: as lanes of vectors, for any number of channels, or as several
   blocks in the caller's layout, see vectors.h. In both cases the arrays of a group consist of
   `blocks` blocks of n rows, with `lanes` floats per channel in a row. */
typedef struct {
  int lanes, blocks; /* one of them is 1 */
} Group;

static int samples_in(Group g) { return g.lanes * g.blocks; }

static Group group_for(const Walk *w, int64_t left) {
  const int S = w->source.channels, O = w->outputs, L = w->left ? w->left->channels : 0;
  if (S % 8 == 0 && O % 8 == 0 && L % 8 == 0) {
    const int columns = w->clenshaw ? O : S;
    int blocks = columns >= GROUP_FLOATS ? 1 : 2 * columns >= GROUP_FLOATS ? 2 : 4;
    while (blocks > left) blocks /= 2;
    return (Group){1, blocks};
  }
  if (WIDEST == 16 && left > 8) return (Group){16, 1};
  return (Group){left > 4 ? 8 : 4, 1};
}

/* The number of rows in a tile, such that the rows of all arrays fit into the cache. */
static int64_t tile_rows(const Walk *w, Group g) {
  const int channels = w->source.channels + w->outputs + (w->left ? w->left->channels : 0);
  const int64_t rows = TILE_FLOATS / ((int64_t)channels * samples_in(g));
  return rows < 8 ? 8 : rows > 256 ? 256 : rows;
}

/* ---- memory ---- */

/* The arrays of one group: those of the caller if the layout need not change. */
typedef struct {
  float *source, *terms[2]; /* T_0; T_k for even and odd k, even ones in place of T_0 if possible */
  float *left, *out;
} Arrays;

/* Memory of one thread. */
typedef struct {
  float *scratch; /* two periods of a Channels, then a tile */
  float *origin;  /* of moments */
  float *lanes;   /* sums of a group, per lane */
  double *sums, *moments, *source_sums, *left_sums;
  int64_t counted;
} ThreadMemory;

/* What the threads share: the walk, and room for the memory of each. */
typedef struct {
  const Walk *walk;
  char *memory;
  size_t bytes_per_thread;
} SharedWalk;

static ThreadMemory *memory_of_thread(const SharedWalk *shared, int thread) {
  return (ThreadMemory *)(shared->memory + (size_t)thread * shared->bytes_per_thread);
}

static size_t lay_out_arrays(const Walk *w, Group g, char *memory, Arrays *a) {
  char *const start = memory;
  const size_t size = sizeof(float), samples = (size_t)samples_in(g) * (size_t)w->matrix.n;
  const size_t source = samples * (size_t)w->source.channels, out = samples * (size_t)w->outputs;
  memset(a, 0, sizeof *a);
  if (g.lanes > 1 || w->source.change) a->source = take_array(&memory, source, size);
  const int64_t terms = w->power ? w->power : w->terms; /* without the output of a power */
  if (w->out && g.lanes > 1) a->out = take_array(&memory, out, size);
  if (w->left && (g.lanes > 1 || w->left->change))
    a->left = take_array(&memory, samples * (size_t)w->left->channels, size);
  if (terms > 1) a->terms[1] = take_array(&memory, w->clenshaw ? out : source, size);
  if (!w->clenshaw && terms > 2)
    a->terms[0] = a->source ? a->source : take_array(&memory, source, size);
  return (size_t)(memory - start);
}

static size_t lay_out_thread_memory(const Walk *w, char *memory, ThreadMemory *out) {
  char *const start = memory;
  const size_t S = (size_t)w->source.channels, O = (size_t)w->outputs;
  const size_t L = w->left ? (size_t)w->left->channels : 0;
  const size_t most = S > O ? (S > L ? S : L) : (O > L ? O : L);
  const size_t period = (size_t)channels_period((int)most);
  const size_t tile = 8 * (S + O + L) * 16 > TILE_FLOATS ? 8 * (S + O + L) * 16 : TILE_FLOATS;
  const size_t sums = w->left ? (size_t)(w->terms * sums_per_term(w)) : 0;
  out->scratch = take_array(&memory, 2 * period + tile, sizeof(float));
  out->origin = take_array(&memory, period, sizeof(float));
  out->lanes = take_array(&memory, sums * 16, sizeof(float));
  out->sums = take_array(&memory, sums, sizeof(double));
  out->moments = take_array(&memory, 2 * O, sizeof(double));
  out->source_sums = take_array(&memory, S, sizeof(double));
  out->left_sums = take_array(&memory, L, sizeof(double));
  out->counted = 0;
  return (size_t)(memory - start);
}

/* ---- the rows of one thread in one group ---- */

typedef struct {
  const Walk *walk;
  ThreadMemory *memory;
  Team *team;
  Group group;
  int64_t sample; /* the first */
  int filled;     /* number of samples: fewer than lanes at the end of a batch */
  int64_t lo, hi, tile;
  Arrays arrays;
} ThreadRows;

/* Copy a source's rows to the group's layout and apply its change. */
static void read_source(const ThreadRows *p, const Source *s, float *to, double *sums) {
  const int C = s->channels, lanes = p->group.lanes;
  const int64_t n = p->walk->matrix.n;
  float *const scratch = p->memory->scratch, *const changed = scratch + 2 * channels_period(C);
  for (int64_t i = p->lo; i < p->hi; i += p->tile) {
    const int64_t rows = least(p->tile, p->hi - i), count = rows * C;
    for (int l = 0; l < p->filled; l++) {
      const int64_t at = ((p->sample + l) * n + i) * C;
      const float *values = s->values + at;
      float *out = lanes > 1 ? changed + l * count : to + (l * n + i) * C;
      if (s->change == THROUGH_ACTIVATION)
        rows_activation_gradient(values, s->other + at, out, count, s->activation);
      else if (s->change == THROUGH_NORM)
        rows_normalize_gradient(values, s->other + at, out, rows, s->norm, s->activation);
      if (sums) rows_sum(s->change ? out : values, rows, C, sums, scratch);
    }
    if (lanes == 1) continue;
    if (s->change)
      tile_gather(changed, count, p->filled, count, lanes, to + i * C * lanes);
    else
      tile_gather(s->values + (p->sample * n + i) * C, n * C, p->filled, count, lanes,
                  to + i * C * lanes);
  }
}

/* Copy the complete rows lo to hi of the output to the caller's layout, and add their bias. */
static void write_out(const ThreadRows *p, const float *from, int64_t lo, int64_t hi) {
  const Walk *w = p->walk;
  const int O = w->outputs;
  const int64_t n = w->matrix.n, rows = hi - lo;
  float *out = w->out + (p->sample * n + lo) * O;
  if (p->group.lanes > 1)
    tile_scatter(from + lo * O * p->group.lanes, rows * O, p->group.lanes, p->filled, n * O, out);
  for (int l = 0; l < p->filled; l++, out += n * O) {
    if (w->out_bias) rows_activate(out, rows, w->out_bias, w->activation);
    if (!w->moments) continue;
    if (!p->memory->counted) channels_repeat(out, O, p->memory->origin);
    moments_add(out, rows, O, p->memory->origin, p->memory->moments, p->memory->scratch);
    p->memory->counted += rows;
  }
}

/* Add consecutive terms, from the one numbered `first`, by their weights. */
static void mix(const ThreadRows *p, int first, int terms, const float *const *in, float *out,
                int64_t lo, int64_t hi, int add) {
  const Walk *w = p->walk;
  const int S = w->source.channels, O = w->outputs, lanes = p->group.lanes;
  for (int b = 0; b < p->group.blocks; b++) {
    float *to = out + (b * w->matrix.n + lo) * O * lanes;
    const float *from[MOST_TERMS];
    for (int t = 0; t < terms; t++) from[t] = in[t] + (b * w->matrix.n + lo) * S * lanes;
    if (!w->depthwise)
      tile_mix(from, terms, w->weights + (int64_t)first * S * O, to, hi - lo, S, O, lanes, add);
    else
      for (int t = 0; t < terms; t++)
        tile_scale(from[t], w->weights + (int64_t)(first + t) * S, to, hi - lo, S, lanes, add || t);
  }
}

static void correlate(const ThreadRows *p, int k, const float *in, int64_t lo, int64_t hi) {
  const Walk *w = p->walk;
  const int S = w->source.channels, L = w->left->channels, lanes = p->group.lanes;
  float *sums = p->memory->lanes + k * sums_per_term(w) * lanes;
  for (int b = 0; b < p->group.blocks; b++) {
    const float *left = p->arrays.left + (b * w->matrix.n + lo) * L * lanes;
    const float *right = in + (b * w->matrix.n + lo) * S * lanes;
    if (w->depthwise)
      tile_dot(left, right, sums, hi - lo, S, lanes);
    else
      tile_correlate(left, right, sums, hi - lo, L, S, lanes);
  }
}

/* term = factor * A current [- previous]. */
static void multiply(const ThreadRows *p, const float *current, const float *previous, float *term,
                     int channels, int64_t lo, int64_t hi, float factor) {
  const int64_t row = (int64_t)channels * p->group.lanes;
  tile_product(&p->walk->matrix, lo, hi, current, previous, term, row, p->group.blocks,
               p->walk->matrix.n * row, factor);
}

/* Add what consecutive terms contribute to the output and to the sums, on the rows lo to hi. */
static void use_terms(const ThreadRows *p, int first, int terms, const float *const *in, int64_t lo,
                      int64_t hi) {
  if (p->walk->weights) mix(p, first, terms, in, p->arrays.out, lo, hi, first > 0);
  for (int t = 0; p->walk->left && t < terms; t++) correlate(p, first + t, in[t], lo, hi);
}

/* Compute T_k of the source from k = 0 on. The output and the left side are larger than the caches:
   they are read for three terms at a time, two of them from before. T_k may take the place of
   T_(k-2). */
static void walk_up(const ThreadRows *p) {
  const Walk *w = p->walk;
  const float *current = p->arrays.source, *previous = NULL;
  for (int k = w->terms > 1; k < w->terms; k++) {
    float *const term = p->arrays.terms[k % 2];
    const int uses = k % 3 == 2 || k == w->terms - 1, first = k - k % 3;
    const int early = uses && k % 3 == 2 && previous == term;
    const float *const known[] = {previous, current, k ? term : current};
    const float *const *late = known + 2 - k % 3 + early;
    for (int64_t i = p->lo; i < p->hi; i += p->tile) {
      const int64_t end = least(i + p->tile, p->hi);
      if (early) use_terms(p, first, 1, known, i, end);
      if (k) multiply(p, current, previous, term, w->source.channels, i, end, k > 1 ? 2 : 1);
      if (uses) use_terms(p, first + early, k % 3 + 1 - early, late, i, end);
      if (w->weights && k == w->terms - 1) write_out(p, p->arrays.out, i, end);
    }
    team_barrier(p->team);
    if (k) previous = current, current = term;
  }
}

/* Clenshaw's recurrence from the last term down: b_k = source W_k + 2 A b_(k+1) - b_(k+2). */
static void walk_down(const ThreadRows *p) {
  const Walk *w = p->walk;
  const float *following = NULL, *after = NULL;
  for (int k = w->terms - 1; k >= 0; k--) {
    float *term = k % 2 ? p->arrays.terms[1] : p->arrays.out;
    for (int64_t i = p->lo; i < p->hi; i += p->tile) {
      const int64_t end = least(i + p->tile, p->hi);
      if (following) multiply(p, following, after, term, w->outputs, i, end, k ? 2 : 1);
      mix(p, k, 1, (const float *const *)&p->arrays.source, term, i, end, following != NULL);
      if (k == 0) write_out(p, term, i, end);
    }
    team_barrier(p->team);
    after = following;
    following = term;
  }
}

/* Multiply by the matrix repeatedly, the last time into the output. */
static void walk_powers(const ThreadRows *p) {
  const Walk *w = p->walk;
  const float *current = p->arrays.source;
  for (int k = 1; k <= w->power; k++) {
    float *term = k == w->power ? p->arrays.out : p->arrays.terms[k % 2];
    for (int64_t i = p->lo; i < p->hi; i += p->tile) {
      const int64_t end = least(i + p->tile, p->hi);
      multiply(p, current, NULL, term, w->outputs, i, end, 1);
      if (k == w->power) write_out(p, term, i, end);
    }
    team_barrier(p->team);
    current = term;
  }
}

static void add_lanes(const ThreadRows *p) {
  const int64_t count = p->walk->terms * sums_per_term(p->walk);
  const int lanes = p->group.lanes;
  for (int64_t m = 0; m < count; m++)
    for (int l = 0; l < lanes; l++) p->memory->sums[m] += p->memory->lanes[m * lanes + l];
}

static void walk_on_thread(void *argument, Team *team, int thread, char *workspace) {
  const SharedWalk *shared = argument;
  const Walk *w = shared->walk;
  const int64_t n = w->matrix.n;
  ThreadMemory *memory = memory_of_thread(shared, thread);
  ThreadRows p = {.walk = w,
                  .memory = memory,
                  .team = team,
                  .lo = n * thread / team_size(team),
                  .hi = n * (thread + 1) / team_size(team)};
  for (; p.sample < w->batch; p.sample += p.filled) {
    p.group = group_for(w, w->batch - p.sample);
    p.filled = (int)least(samples_in(p.group), w->batch - p.sample);
    p.tile = tile_rows(w, p.group);
    lay_out_arrays(w, p.group, workspace, &p.arrays);
    if (p.arrays.source || w->source_sums)
      read_source(&p, &w->source, p.arrays.source, w->source_sums ? memory->source_sums : NULL);
    if (p.arrays.left || w->left_sums)
      read_source(&p, w->left, p.arrays.left, w->left_sums ? memory->left_sums : NULL);
    /* Arrays outside the workspace, except the output, are only read from here on. */
    if (!p.arrays.source) p.arrays.source = (float *)w->source.values + p.sample * n * w->source.channels;
    if (w->left && !p.arrays.left)
      p.arrays.left = (float *)w->left->values + p.sample * n * w->left->channels;
    if (!p.arrays.out && w->out) p.arrays.out = w->out + p.sample * n * w->outputs;
    if (w->left)
      memset(memory->lanes, 0,
             sizeof(float) * (size_t)(w->terms * sums_per_term(w)) * (size_t)p.group.lanes);
    team_barrier(team);
    if (w->power)
      walk_powers(&p);
    else if (w->clenshaw)
      walk_down(&p);
    else
      walk_up(&p);
    if (w->left) add_lanes(&p);
  }
}

/* ---- the call ---- */

static void collect(const Walk *w, const ThreadMemory *memory) {
  if (w->left) {
    const int64_t count = w->terms * sums_per_term(w);
    for (int64_t m = 0; m < count; m++) w->sums[m] += memory->sums[m];
  }
  if (w->source_sums)
    for (int c = 0; c < w->source.channels; c++) w->source_sums[c] += memory->source_sums[c];
  if (w->left_sums)
    for (int c = 0; c < w->left->channels; c++) w->left_sums[c] += memory->left_sums[c];
  if (w->moments && memory->counted)
    for (int c = 0; c < w->outputs; c++) {
      const double count = (double)memory->counted, mean = memory->moments[c] / count;
      const Moments part = {count, memory->origin[c] + mean,
                            memory->moments[w->outputs + c] - mean * memory->moments[c]};
      moments_merge(w->moments + c, &part, 1);
    }
}

int walk(const Walk *w) {
  ThreadMemory sizes;
  Arrays arrays;
  const size_t header = 64; /* bytes before a thread's arrays, for their addresses */
  _Static_assert(sizeof(ThreadMemory) <= 64, "the header");
  SharedWalk shared = {
      .walk = w, .bytes_per_thread = header + lay_out_thread_memory(w, UNALLOCATED, &sizes)};
  size_t workspace = 0;
  for (int64_t sample = 0; sample < w->batch;) {
    const Group group = group_for(w, w->batch - sample);
    const size_t size = lay_out_arrays(w, group, UNALLOCATED, &arrays);
    if (size > workspace) workspace = size;
    sample += samples_in(group);
  }
  const int threads = team_limit(least(w->threads, w->matrix.n)); /* at least one row each */
  const size_t bytes = (size_t)threads * shared.bytes_per_thread;
  void *memory = NULL;
  if (posix_memalign(&memory, 64, bytes)) return 0;
  memset(memory, 0, bytes);
  shared.memory = memory;
  for (int t = 0; t < threads; t++) { /* even for threads that fail to start */
    ThreadMemory *own = memory_of_thread(&shared, t);
    lay_out_thread_memory(w, (char *)own + header, own);
  }
  const int done = run_team(threads, workspace + 64, walk_on_thread, &shared);
  for (int t = 0; done && t < threads; t++) collect(w, memory_of_thread(&shared, t));
  free(memory);
  return done;
}
