#include "api.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "rows.h"
#include "threads.h"
#include "walk.h"

/* ---- memory of one call ---- */

/* Allocate the arrays of a Channels, filled with zeros. */
static float *allocate_channels(int channels, Channels *c) {
  const int period = channels_period(channels);
  float *memory = calloc(5 * (size_t)period, sizeof(float));
  *c = (Channels){.channels = channels,
                  .period = period,
                  .scale = memory,
                  .shift = memory + period,
                  .bias = memory + 2 * period,
                  .slope = memory + 3 * period,
                  .offset = memory + 4 * period};
  return memory;
}

/* Set scale and shift of a normalization by mean and variance. */
static void set_norm(Channels *c, const float *mean, const float *variance, float epsilon,
                     const float *bias) {
  for (int m = 0; m < c->period; m++) {
    const int channel = m % c->channels;
    const double scale = 1 / sqrt((double)variance[channel] + epsilon);
    c->scale[m] = (float)scale;
    c->shift[m] = (float)(-scale * mean[channel]);
    c->bias[m] = bias ? bias[channel] : 0;
  }
}

/* ---- passes over rows, divided among threads ---- */

typedef struct {
  const float *raw, *gradient;
  float *y;
  int64_t rows;
  const Channels *channels;
  int activation;
  double *sums; /* 2 * channels per thread */
} Pass;

static void rows_of_thread(const Pass *p, const Team *team, int thread, int64_t *lo, int64_t *hi) {
  *lo = p->rows * thread / team_size(team);
  *hi = p->rows * (thread + 1) / team_size(team);
}

#define PASS_ROWS 256

static void normalize_pass(void *argument, Team *team, int thread, char *workspace) {
  const Pass *p = argument;
  int64_t lo, hi;
  (void)workspace;
  rows_of_thread(p, team, thread, &lo, &hi);
  rows_normalize(p->raw + lo * p->channels->channels, p->y + lo * p->channels->channels, hi - lo,
                 p->channels, p->activation);
}

static void sums_pass(void *argument, Team *team, int thread, char *workspace) {
  const Pass *p = argument;
  const int channels = p->channels->channels;
  float *scratch = (float *)workspace + (int64_t)thread * 2 * p->channels->period;
  int64_t lo, hi;
  rows_of_thread(p, team, thread, &lo, &hi);
  for (int64_t i = lo; i < hi; i += PASS_ROWS) /* sum only a few rows in single precision */
    rows_normalize_sums(p->gradient + i * channels, p->raw + i * channels,
                        hi - i < PASS_ROWS ? hi - i : PASS_ROWS, p->channels, p->activation,
                        p->sums + (int64_t)thread * 2 * channels, scratch);
}

/* ---- empty arrays ---- */

/* Whether there are no channels, so that the filtered features are 0. */
static int no_channels(const Sizes *s) { return s->channels == 0; }

/* Whether the output is empty. */
static int no_outputs(const Sizes *s) { return s->batch == 0 || s->n == 0 || s->filters == 0; }

/* The rows of the kernel per term. */
static int64_t kernel_rows(const Sizes *s) { return s->depthwise ? 1 : s->channels; }

/* Set the gradients to 0, except that of the bias: they are sums over outputs, of which there are
   none. */
static void clear_gradients(const Sizes *s, float *dx, float *dkernel) {
  if (dx) memset(dx, 0, (size_t)(s->batch * s->n * s->channels) * sizeof(float));
  if (dkernel)
    memset(dkernel, 0, (size_t)(s->terms * kernel_rows(s) * s->filters) * sizeof(float));
}

/* ---- forward ---- */

static Walk forward_walk(const Sizes *s, const Matrix *a, const float *x, const float *kernel,
                         float *out) {
  return (Walk){.matrix = *a,
                .batch = s->batch,
                .terms = (int)s->terms,
                .source = {.values = x, .channels = (int)s->channels},
                .weights = kernel,
                .outputs = (int)s->filters,
                .out = out,
                .depthwise = (int)s->depthwise,
                .clenshaw = s->filters < s->channels,
                .threads = (int)s->threads};
}

int deepsphere_forward(const Sizes *s, const Matrix *a, const float *x, const float *kernel,
                       const float *bias, float *y) {
  if (no_outputs(s)) return 1;
  Walk w = forward_walk(s, a, x, kernel, y);
  if (no_channels(s)) memset(y, 0, (size_t)(s->batch * s->n * s->filters) * sizeof(float));
  if (!bias && s->activation == LINEAR) return no_channels(s) || walk(&w);
  Channels out_bias;
  float *memory = allocate_channels((int)s->filters, &out_bias);
  if (!memory) return 0;
  channels_repeat(bias, (int)s->filters, out_bias.bias);
  w.out_bias = &out_bias;
  w.activation = (int)s->activation;
  int done = 1;
  if (no_channels(s))
    rows_activate(y, s->batch * s->n, &out_bias, w.activation);
  else
    done = walk(&w);
  free(memory);
  return done;
}

int deepsphere_forward_normalized(const Sizes *s, const Matrix *a, const float *x,
                                  const float *kernel, const float *bias, float epsilon, float *y,
                                  float *raw, float *mean, float *variance) {
  const int filters = (int)s->filters;
  if (no_outputs(s)) {
    for (int f = 0; f < filters; f++) mean[f] = variance[f] = NAN; /* statistics of no values */
    return 1;
  }
  Channels norm;
  float *memory = allocate_channels(filters, &norm);
  Moments *moments = calloc((size_t)filters, sizeof(Moments));
  Walk w = forward_walk(s, a, x, kernel, raw);
  w.moments = moments;
  int done = memory && moments;
  if (done && no_channels(s)) {
    memset(raw, 0, (size_t)(s->batch * s->n * s->filters) * sizeof(float));
    memset(mean, 0, (size_t)filters * sizeof(float));
    memset(variance, 0, (size_t)filters * sizeof(float));
  } else if (done) {
    done = walk(&w);
    for (int f = 0; done && f < filters; f++) {
      mean[f] = (float)moments[f].mean;
      variance[f] = (float)(moments[f].squares / moments[f].count);
    }
  }
  if (done) {
    set_norm(&norm, mean, variance, epsilon, bias);
    Pass pass = {.raw = raw,
                 .y = y,
                 .rows = s->batch * s->n,
                 .channels = &norm,
                 .activation = (int)s->activation};
    done = run_team((int)s->threads, 64, normalize_pass, &pass);
  }
  free(moments);
  free(memory);
  return done;
}

/* ---- backward ---- */

/* (terms, rows, columns) -> (terms, columns, rows). */
static void transpose_terms(const float *in, float *out, int64_t terms, int64_t rows,
                            int64_t columns) {
  for (int64_t k = 0; k < terms; k++, in += rows * columns, out += rows * columns)
    for (int64_t r = 0; r < rows; r++)
      for (int64_t c = 0; c < columns; c++) out[c * rows + r] = in[r * columns + c];
}

/* Gradients of the filter itself, given that of its output, and the sums of the latter per filter
   unless gradient_sums is NULL. */
static int filter_gradients(const Sizes *s, const Matrix *a, const Matrix *transposed,
                            const Source *x, const float *kernel, const Source *gradient,
                            float *dx, float *dkernel, double *gradient_sums) {
  const int C = (int)s->channels, F = (int)s->filters;
  if (no_channels(s)) {
    const Walk sum = {.matrix = *transposed,
                      .batch = s->batch,
                      .source = *gradient,
                      .threads = (int)s->threads,
                      .source_sums = gradient_sums};
    return !gradient_sums || walk(&sum);
  }
  const int64_t rows = kernel_rows(s);
  const size_t weights = (size_t)(s->terms * rows * F);
  float *turned = malloc(weights * sizeof(float));
  if (!turned) return 0;
  if (dkernel) memset(dkernel, 0, weights * sizeof(float));
  Walk w = {.matrix = *transposed,
            .batch = s->batch,
            .terms = (int)s->terms,
            .source = *gradient,
            .depthwise = (int)s->depthwise,
            .threads = (int)s->threads,
            .source_sums = gradient_sums};
  const int together = dx && dkernel && 2 * C >= F; /* one basis of the gradient serves both */
  int done = 1;
  if (dx) {
    transpose_terms(kernel, turned, s->terms, rows, F);
    w.weights = turned;
    w.outputs = C;
    w.out = dx;
    w.clenshaw = !together && C < F;
    if (together) w.left = x, w.sums = dkernel;
    done = walk(&w);
    w.source_sums = NULL; /* already computed */
  }
  if (done && dkernel && !together) {
    w.weights = NULL;
    w.outputs = 0;
    w.clenshaw = 0;
    if (C <= F) {
      memset(turned, 0, weights * sizeof(float));
      w.matrix = *a;
      w.left_sums = w.source_sums;
      w.source_sums = NULL;
      w.source = *x;
      w.left = gradient;
      w.sums = turned;
      done = walk(&w);
      transpose_terms(turned, dkernel, s->terms, F, rows);
    } else {
      w.left = x;
      w.sums = dkernel;
      done = walk(&w);
    }
  }
  free(turned);
  return done;
}

int deepsphere_backward(const Sizes *s, const Matrix *a, const Matrix *transposed, const float *x,
                        const float *kernel, const float *y, const float *gradient, float *dx,
                        float *dkernel, float *dbias) {
  if (no_outputs(s)) {
    clear_gradients(s, dx, dkernel);
    if (dbias) memset(dbias, 0, (size_t)s->filters * sizeof(float));
    return 1;
  }
  const Source input = {.values = x, .channels = (int)s->channels};
  const Source output = {.values = gradient,
                         .channels = (int)s->filters,
                         .change = s->activation == LINEAR ? AS_IT_IS : THROUGH_ACTIVATION,
                         .other = y,
                         .activation = (int)s->activation};
  double *sums = calloc((size_t)s->filters, sizeof(double));
  if (!sums) return 0;
  const int done = filter_gradients(s, a, transposed, &input, kernel, &output, dx, dkernel,
                                    dbias ? sums : NULL);
  if (dbias)
    for (int f = 0; f < s->filters; f++) dbias[f] = (float)sums[f];
  free(sums);
  return done;
}

int deepsphere_backward_normalized(const Sizes *s, const Matrix *a, const Matrix *transposed,
                                   const float *x, const float *kernel, const float *bias,
                                   float epsilon, const float *raw, const float *mean,
                                   const float *variance, const float *gradient, float *dx,
                                   float *dkernel, float *dbias) {
  const int F = (int)s->filters, threads = team_limit(s->threads);
  const double rows = (double)s->batch * (double)s->n;
  if (no_outputs(s)) {
    clear_gradients(s, dx, dkernel);
    if (dbias) memset(dbias, 0, (size_t)F * sizeof(float));
    return 1;
  }
  Channels norm;
  float *memory = allocate_channels(F, &norm);
  double *sums = calloc((size_t)threads * 2 * (size_t)F, sizeof(double));
  int done = memory && sums;
  if (done) {
    set_norm(&norm, mean, variance, epsilon, bias);
    Pass pass = {.raw = raw,
                 .gradient = gradient,
                 .rows = s->batch * s->n,
                 .channels = &norm,
                 .activation = (int)s->activation,
                 .sums = sums};
    done = run_team(threads, (size_t)threads * 2 * (size_t)norm.period * sizeof(float) + 64,
                    sums_pass, &pass);
  }
  if (done) {
    for (int t = 1; t < threads; t++)
      for (int f = 0; f < 2 * F; f++) sums[f] += sums[t * 2 * F + f];
    if (dbias)
      for (int f = 0; f < F; f++) dbias[f] = (float)sums[f];
    for (int m = 0; m < norm.period; m++) {
      const int f = m % F;
      /* d raw = scale (g - mean(g) - normalized mean(g normalized)). */
      const double scale = norm.scale[m], slope = scale * sums[F + f] / rows;
      norm.slope[m] = (float)(slope * scale);
      norm.offset[m] = (float)(scale * sums[f] / rows + slope * norm.shift[m]);
    }
    const Source input = {.values = x, .channels = (int)s->channels};
    const Source output = {.values = gradient,
                           .channels = F,
                           .change = THROUGH_NORM,
                           .other = raw,
                           .norm = &norm,
                           .activation = (int)s->activation};
    done = filter_gradients(s, a, transposed, &input, kernel, &output, dx, dkernel, NULL);
  }
  free(sums);
  free(memory);
  return done;
}

/* ---- plain products ---- */

int deepsphere_product(const Sizes *s, const Matrix *a, const float *x, int power, float *y) {
  if (s->batch == 0 || s->n == 0 || s->channels == 0) return 1;
  const Walk w = {.matrix = *a,
                  .batch = s->batch,
                  .source = {.values = x, .channels = (int)s->channels},
                  .outputs = (int)s->channels,
                  .out = y,
                  .power = power,
                  .threads = (int)s->threads};
  return walk(&w);
}
