/* The kernels over odd shapes against sums as they are defined, in double precision, and every
   argument that does not fit. `tools/sanitize.py` builds it with sanitizers: each array has a piece
   of memory of its own, of just its size, so that no step beyond it goes unseen. */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "activations.h"
#include "call.h"
#include "pool.h"
#include "rows.h"

static int failures;

static void fail(const char *what, const char *detail) {
  if (failures++ < 20) fprintf(stderr, "%s: %s\n", what, detail);
}

/* ---- arrays ---- */

static uint64_t state = 1;

static double uniform(void) { /* from -1 to 1 */
  state = state * 6364136223846793005u + 1442695040888963407u;
  return (double)(state >> 33) / (double)(1u << 30) - 1;
}

static int below(int most) { return (int)((uniform() + 1) / 2 * most) % most; }

typedef struct {
  Array array;
  int64_t dims[3];
} TestArray;

static int64_t count(const TestArray *a) {
  int64_t result = 1;
  for (int d = 0; d < a->array.rank; d++) result *= a->dims[d];
  return result;
}

static void make(TestArray *a, int type, int rank, int64_t first, int64_t second, int64_t third) {
  *a = (TestArray){.dims = {first, second, third}};
  a->array = (Array){.type = type, .rank = rank};
  a->array.data = malloc((size_t)count(a) * 4);
}

static float *data(const TestArray *a) { return a->array.data; }

static void fill(TestArray *a) {
  for (int64_t i = 0; i < count(a); i++) data(a)[i] = (float)uniform();
}

static void blank(TestArray *a) { /* what is not written shows */
  for (int64_t i = 0; i < count(a); i++) data(a)[i] = NAN;
}

/* ---- sparse matrices, some rows of them empty ---- */

static void make_matrix(TestArray *a, TestArray *transposed, int n) {
  int *lengths = malloc(sizeof(int) * (size_t)n), entries = 0;
  for (int i = 0; i < n; i++) entries += lengths[i] = below(4) ? below(7) : 0;
  TestArray *both[] = {a, transposed};
  for (int m = 0; m < 2; m++) {
    make(both[m], INT32, 1, n + 1, 0, 0);
    make(both[m] + 1, INT32, 1, entries, 0, 0);
    make(both[m] + 2, FLOAT32, 1, entries, 0, 0);
  }
  int32_t *starts = a[0].array.data, *columns = a[1].array.data;
  int32_t *other_starts = transposed[0].array.data, *rows = transposed[1].array.data;
  starts[0] = 0;
  for (int i = 0; i < n; i++) starts[i + 1] = starts[i] + lengths[i];
  for (int e = 0; e < entries; e++) {
    columns[e] = below(n);
    data(a + 2)[e] = (float)uniform() / 3;
  }
  int at = 0;
  for (int c = 0; c < n; c++) {
    other_starts[c] = at;
    for (int i = 0; i < n; i++)
      for (int e = starts[i]; e < starts[i + 1]; e++)
        if (columns[e] == c) {
          rows[at] = i;
          data(transposed + 2)[at++] = data(a + 2)[e];
        }
  }
  other_starts[n] = at;
  free(lengths);
}

static void multiply(const TestArray *a, const double *in, double *out, int n, int columns) {
  const int32_t *starts = a[0].array.data, *indices = a[1].array.data;
  for (int i = 0; i < n; i++)
    for (int c = 0; c < columns; c++) {
      double sum = 0;
      for (int e = starts[i]; e < starts[i + 1]; e++)
        sum += data(a + 2)[e] * in[indices[e] * columns + c];
      out[i * columns + c] = sum;
    }
}

/* T_k(A) x of one sample, for all k. */
static double *basis(const TestArray *a, const double *x, int n, int channels, int terms) {
  const size_t size = (size_t)n * (size_t)channels;
  double *t = calloc((size_t)terms * size + 1, sizeof(double));
  memcpy(t, x, size * sizeof(double));
  for (int k = 1; k < terms; k++) {
    double *now = t + (size_t)k * size;
    multiply(a, now - size, now, n, channels);
    if (k > 1)
      for (size_t i = 0; i < size; i++) now[i] = 2 * now[i] - (now - 2 * size)[i];
  }
  return t;
}

/* ---- comparison ---- */

static void compare(const char *what, const TestArray *found, const double *right, const char *shape) {
  double size = 0.1, error = 0; /* inputs are of size 1: results near 0 are differences of such */
  for (int64_t i = 0; i < count(found); i++) {
    size = fmax(size, fabs(right[i]));
    const double difference = fabs(data(found)[i] - right[i]);
    error = difference > error || isnan(difference) ? difference : error;
    if (isnan(error)) break; /* nothing is greater, and all else would be smaller */
  }
  /* Thousands of roundings of 6e-8, and normalization by small deviations. */
  if (!(error <= 1e-4 * size)) {
    char text[200];
    snprintf(text, sizeof text, "%s is off by %g of %g", what, error, size);
    fail(shape, text);
  }
}

/* ---- one problem through all functions ---- */

enum { OPTIONS, X, KERNEL, BIAS, GRADIENT, MATRIX, TRANSPOSED = MATRIX + 3, INPUTS = TRANSPOSED + 3 };

static void run(const char *shape, int function, const TestArray *const *in, TestArray *const *out) {
  Array arguments[MOST_ARGUMENTS], results[MOST_RESULTS];
  for (int i = 0; i < arguments_of(function); i++) {
    arguments[i] = in[i]->array;
    arguments[i].dims = in[i]->dims;
  }
  for (int i = 0; i < results_of(function); i++) {
    blank(out[i]);
    results[i] = out[i]->array;
    results[i].dims = out[i]->dims;
  }
  const char *message = deepsphere_call(function, arguments, results);
  if (message) fail(shape, message);
}

static double activate(int activation, double z) {
  const double alpha = SELU_ALPHA, sigmoid = 1 / (1 + exp(-z));
  switch (activation) {
    case RELU: return z < 0 ? 0 : z;
    case ELU: return z > 0 ? z : expm1(z);
    case SELU: return SELU_SCALE * (z > 0 ? z : alpha * expm1(z));
    case LEAKY_RELU: return z > 0 ? z : .2 * z;
    case TANH: return tanh(z);
    case SIGMOID: return sigmoid;
    case SOFTPLUS: return log1p(exp(z));
    case SILU: return z * sigmoid;
    case GELU: return z * erfc(-z * sqrt(.5)) / 2;
    default: return z;
  }
}

/* The derivative by central differences, or on the side of a kink where the kernel's output is. */
static double derivative(int activation, double z, float y) {
  const double step = 1e-5;
  if (activation == RELU) return y > 0;
  if (activation == LEAKY_RELU) return y > 0 ? 1 : .2;
  if (activation == SELU && fabs(z) < step) z = y > 0 ? step : -step;
  return (activate(activation, z + step) - activate(activation, z - step)) / (2 * step);
}

/* A filter with channels for itself has the kernel (terms, 1, channels), the diagonal of one that
   mixes channels; `filters` is not used then. */
static void check_filter(int batch, int n, int channels, int filters, int terms, int threads,
                         int activation, int with_bias, int depthwise) {
  char shape[200];
  if (depthwise) filters = channels;
  const int kernel_rows = depthwise ? 1 : channels;
  snprintf(shape, sizeof shape,
           "batch %d, n %d, channels %d, filters %d, terms %d, threads %d, activation %d, bias %d%s",
           batch, n, channels, filters, terms, threads, activation, with_bias,
           depthwise ? ", depthwise" : "");
  const double epsilon = 1e-2;
  TestArray in[INPUTS], y, raw, mean, variance, dx, dkernel, dbias, none, product;
  make(in + OPTIONS, FLOAT32, 1, 3, 0, 0);
  *(FilterOptions *)data(in) = (FilterOptions){
      .activation = (float)activation, .threads = (float)threads, .epsilon = (float)epsilon};
  make(in + X, FLOAT32, 3, batch, n, channels);
  make(in + KERNEL, FLOAT32, 3, terms, kernel_rows, filters);
  make(in + BIAS, FLOAT32, 1, with_bias ? filters : 0, 0, 0);
  make(in + GRADIENT, FLOAT32, 3, batch, n, filters);
  for (int i = X; i <= GRADIENT; i++) fill(in + i);
  make_matrix(in + MATRIX, in + TRANSPOSED, n);
  make(&y, FLOAT32, 3, batch, n, filters);
  make(&raw, FLOAT32, 3, batch, n, filters);
  make(&mean, FLOAT32, 1, filters, 0, 0);
  make(&variance, FLOAT32, 1, filters, 0, 0);
  make(&dx, FLOAT32, 3, batch, n, channels);
  make(&dkernel, FLOAT32, 3, terms, kernel_rows, filters);
  make(&dbias, FLOAT32, 1, filters, 0, 0);
  make(&none, FLOAT32, 1, 0, 0, 0);
  make(&product, FLOAT32, 3, batch, n, channels);

  const size_t outputs = (size_t)count(&y), inputs = (size_t)count(in + X);
  const size_t weights = (size_t)count(in + KERNEL);
  double *value = calloc(outputs + 1, sizeof(double)), *activated = calloc(outputs + 1, sizeof(double));
  double *normal = calloc(outputs + 1, sizeof(double)), *g = calloc(outputs + 1, sizeof(double));
  double *right_dx = calloc(inputs + 1, sizeof(double)), *sample = calloc(inputs + outputs + 1, sizeof(double));
  double *right_dkernel = calloc(weights + 1, sizeof(double));
  double *means = calloc((size_t)filters + 1, sizeof(double)), *sums = calloc((size_t)filters + 1, sizeof(double));
  double *variances = calloc((size_t)filters + 1, sizeof(double));
/* The place of a weight, and whether there is one. */
#define WEIGHT(K, C, F) ((K * kernel_rows + (depthwise ? 0 : C)) * filters + F)
#define MIXES(C, F) (!depthwise || C == F)
  const float *w = data(in + KERNEL), *bias = data(in + BIAS), *up = data(in + GRADIENT);

  for (int b = 0; b < batch; b++) {
    for (int i = 0; i < n * channels; i++) sample[i] = data(in + X)[b * n * channels + i];
    double *t = basis(in + MATRIX, sample, n, channels, terms);
    for (int k = 0; k < terms; k++)
      for (int i = 0; i < n; i++)
        for (int c = 0; c < channels; c++)
          for (int f = 0; f < filters; f++)
            value[(b * n + i) * filters + f] +=
                t[(k * n + i) * channels + c] * w[WEIGHT(k, c, f)] * MIXES(c, f);
    free(t);
  }
  for (size_t m = 0; m < outputs; m++) {
    const double z = value[m] + (with_bias ? bias[m % (size_t)filters] : 0);
    activated[m] = activate(activation, z);
    means[m % (size_t)filters] += value[m] / (batch * n);
  }
  for (size_t m = 0; m < outputs; m++) {
    const size_t f = m % (size_t)filters;
    variances[f] += (value[m] - means[f]) * (value[m] - means[f]) / (batch * n);
  }

  run(shape, FORWARD, (const TestArray *[]){in, in + X, in + KERNEL, in + BIAS, in + MATRIX, in + MATRIX + 1, in + MATRIX + 2},
      (TestArray *[]){&y});
  compare("y", &y, activated, shape);

  /* Gradients, first of the plain filter, then of the normalized one: they differ in g alone. */
  for (int normalized = 0; normalized < 2; normalized++) {
    if (normalized) {
      run(shape, FORWARD_NORMALIZED,
          (const TestArray *[]){in, in + X, in + KERNEL, in + BIAS, in + MATRIX, in + MATRIX + 1, in + MATRIX + 2},
          (TestArray *[]){&y, &raw, &mean, &variance});
      if (outputs) {
        compare("mean", &mean, means, shape);
        compare("variance", &variance, variances, shape);
      } else {
        for (int f = 0; f < filters; f++)
          if (!isnan(data(&mean)[f]) || !isnan(data(&variance)[f])) fail(shape, "moments of nothing");
      }
      compare("raw", &raw, value, shape);
      for (size_t m = 0; m < outputs; m++) {
        const size_t f = m % (size_t)filters;
        normal[m] = (value[m] - means[f]) / sqrt(variances[f] + epsilon);
        const double z = normal[m] + (with_bias ? bias[f] : 0);
        activated[m] = activate(activation, z);
      }
      compare("normalized", &y, activated, shape);
    }
    memset(sums, 0, (size_t)filters * sizeof(double));
    double *products = calloc((size_t)filters + 1, sizeof(double));
    for (size_t m = 0; m < outputs; m++) {
      const double z = (normalized ? normal[m] : value[m]) + (with_bias ? bias[m % (size_t)filters] : 0);
      g[m] = up[m] * derivative(activation, z, data(&y)[m]);
      sums[m % (size_t)filters] += g[m];
      products[m % (size_t)filters] += g[m] * normal[m];
    }
    if (normalized)
      for (size_t m = 0; m < outputs; m++) {
        const size_t f = m % (size_t)filters;
        g[m] = (g[m] - sums[f] / (batch * n) - normal[m] * products[f] / (batch * n)) /
               sqrt(variances[f] + epsilon);
      }
    free(products);
    memset(right_dx, 0, inputs * sizeof(double));
    memset(right_dkernel, 0, weights * sizeof(double));
    for (int b = 0; b < batch; b++) {
      double *t = basis(in + TRANSPOSED, g + (size_t)b * (size_t)(n * filters), n, filters, terms);
      for (int k = 0; k < terms; k++)
        for (int i = 0; i < n; i++)
          for (int c = 0; c < channels; c++)
            for (int f = 0; f < filters; f++) {
              const double term = t[(k * n + i) * filters + f];
              if (!MIXES(c, f)) continue;
              right_dx[(b * n + i) * channels + c] += term * w[WEIGHT(k, c, f)];
              right_dkernel[WEIGHT(k, c, f)] += term * data(in + X)[(b * n + i) * channels + c];
            }
      free(t);
    }
    for (int wanted = 1; wanted < 8; wanted++) {
      if (!normalized && !derivative_from_output(activation)) break;
      TestArray *const results[] = {wanted & 1 ? &dx : &none, wanted & 2 ? &dkernel : &none,
                              wanted & 4 ? &dbias : &none};
      if (normalized)
        run(shape, BACKWARD_NORMALIZED,
            (const TestArray *[]){in, in + X, in + KERNEL, in + BIAS, &raw, &mean, &variance, in + GRADIENT,
                            in + MATRIX, in + MATRIX + 1, in + MATRIX + 2, in + TRANSPOSED,
                            in + TRANSPOSED + 1, in + TRANSPOSED + 2},
            results);
      else
        run(shape, BACKWARD,
            (const TestArray *[]){in, in + X, in + KERNEL, activation ? &y : &none, in + GRADIENT,
                            in + MATRIX, in + MATRIX + 1, in + MATRIX + 2, in + TRANSPOSED,
                            in + TRANSPOSED + 1, in + TRANSPOSED + 2},
            results);
      /* The gradient of the bias comes along with one of the others. */
      if (wanted == 4 && !normalized) continue;
      if (wanted & 1) compare("dx", &dx, right_dx, shape);
      if (wanted & 2) compare("dkernel", &dkernel, right_dkernel, shape);
      if (wanted & 4) compare("dbias", &dbias, sums, shape);
    }
  }

  ((ProductOptions *)data(in))->power = (float)terms;
  run(shape, PRODUCT, (const TestArray *[]){in, in + X, in + MATRIX, in + MATRIX + 1, in + MATRIX + 2},
      (TestArray *[]){&product});
  for (int b = 0; b < batch; b++) {
    double *here = right_dx + (size_t)b * (size_t)(n * channels);
    for (int i = 0; i < n * channels; i++) sample[i] = data(in + X)[b * n * channels + i];
    for (int p = 0; p < terms; p++) {
      multiply(in + MATRIX, sample, here, n, channels);
      memcpy(sample, here, (size_t)(n * channels) * sizeof(double));
    }
  }
  compare("product", &product, right_dx, shape);

  TestArray *const all[] = {&y, &raw, &mean, &variance, &dx, &dkernel, &dbias, &none, &product};
  for (int i = 0; i < INPUTS; i++) free(in[i].array.data);
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]->array.data);
  double *const arrays[] = {value, activated, normal, g, right_dx, sample, right_dkernel, means, sums, variances};
  for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) free(arrays[i]);
}

static void check_pool(int batch, int rows, int children, int channels, int mode, int threads) {
  char shape[200];
  snprintf(shape, sizeof shape, "pool: batch %d, rows %d, children %d, channels %d, mode %d, threads %d",
           batch, rows, children, channels, mode, threads);
  TestArray options, x, y, gradient, dx;
  make(&options, FLOAT32, 1, 3, 0, 0);
  *(PoolOptions *)data(&options) =
      (PoolOptions){.mode = (float)mode, .threads = (float)threads, .children = (float)children};
  make(&x, FLOAT32, 3, batch, rows * children, channels);
  make(&y, FLOAT32, 3, batch, rows, channels);
  make(&gradient, FLOAT32, 3, batch, rows, channels);
  make(&dx, FLOAT32, 3, batch, rows * children, channels);
  for (int64_t i = 0; i < count(&x); i++) data(&x)[i] = (float)(below(5) - 2); /* some are equal */
  fill(&gradient);
  double *right = calloc((size_t)count(&y) + 1, sizeof(double));
  double *right_dx = calloc((size_t)count(&x) + 1, sizeof(double));
  for (int r = 0; r < batch * rows; r++)
    for (int c = 0; c < channels; c++) {
      const float *from = data(&x) + (r * children) * channels + c;
      double top = from[0], sum = 0;
      int equal = 0;
      for (int k = 0; k < children; k++) {
        sum += from[k * channels];
        top = fmax(top, from[k * channels]);
      }
      for (int k = 0; k < children; k++) equal += from[k * channels] == top;
      right[r * channels + c] = mode == POOL_MAX ? top : sum / children;
      for (int k = 0; k < children; k++)
        right_dx[(r * children + k) * channels + c] =
            (double)data(&gradient)[r * channels + c] *
            (mode == POOL_MEAN ? 1.0 / children : from[k * channels] == top ? 1.0 / equal : 0);
    }
  run(shape, POOL, (const TestArray *[]){&options, &x}, (TestArray *[]){&y});
  compare("y", &y, right, shape);
  run(shape, POOL_BACKWARD, (const TestArray *[]){&options, &x, &y, &gradient}, (TestArray *[]){&dx});
  compare("dx", &dx, right_dx, shape);
  TestArray *const all[] = {&options, &x, &y, &gradient, &dx};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]->array.data);
  free(right);
  free(right_dx);
}

/* Dense attention in double precision; the gradients term by term from the weights. */
static void check_attention(int batch, int n, int heads, int depth, int with_mask, int threads) {
  char shape[200];
  snprintf(shape, sizeof shape, "attention: batch %d, n %d, heads %d, depth %d, mask %d, threads %d",
           batch, n, heads, depth, with_mask, threads);
  const int width = heads * depth;
  TestArray options, x[3], mask, gradient, a[3], t[3], y, d[3];
  make(&options, FLOAT32, 1, 2, 0, 0);
  *(AttentionOptions *)data(&options) = (AttentionOptions){.heads = (float)heads, .threads = (float)threads};
  for (int i = 0; i < 3; i++) {
    make(x + i, FLOAT32, 3, batch, n, width);
    fill(x + i);
    make(d + i, FLOAT32, 3, batch, n, width);
  }
  make(&gradient, FLOAT32, 3, batch, n, width);
  fill(&gradient);
  make(&y, FLOAT32, 3, batch, n, width);
  make(&mask, FLOAT32, with_mask ? 2 : 1, with_mask ? batch : 0, n, 0);
  for (int64_t i = 0; i < count(&mask); i++) data(&mask)[i] = below(3) > 0;
  make_matrix(a, t, n);
  const int32_t *starts = a[0].array.data, *columns = a[1].array.data;
  double *right[4], *p = calloc((size_t)starts[n] + 1, sizeof(double)), *dp = calloc((size_t)starts[n] + 1, sizeof(double));
  for (int i = 0; i < 4; i++) right[i] = calloc((size_t)count(&y) + 1, sizeof(double));
  for (int b = 0; b < batch; b++)
    for (int h = 0; h < heads; h++)
      for (int i = 0; i < n; i++) {
#define AT(VERTEX) (((int64_t)b * n + (VERTEX)) * width + h * depth)
#define SHOWN(E) (!with_mask || data(&mask)[b * n + columns[E]] != 0)
        const float *q = data(x) + AT(i), *g = data(&gradient) + AT(i);
        double sum = 0, delta = 0;
        for (int e = starts[i]; e < starts[i + 1]; e++) {
          double score = 0;
          dp[e] = 0;
          for (int c = 0; c < depth; c++) {
            score += (double)q[c] * data(x + 1)[AT(columns[e]) + c] / sqrt(depth);
            dp[e] += (double)g[c] * data(x + 2)[AT(columns[e]) + c];
          }
          sum += p[e] = SHOWN(e) ? exp(score) : 0;
        }
        for (int e = starts[i]; e < starts[i + 1]; e++) {
          if (sum > 0) p[e] /= sum;
          delta += p[e] * dp[e];
        }
        for (int e = starts[i]; e < starts[i + 1]; e++)
          for (int c = 0; c < depth; c++) {
            const int64_t key = AT(columns[e]) + c;
            const double ds = p[e] * (dp[e] - delta) / sqrt(depth);
            right[3][AT(i) + c] += p[e] * data(x + 2)[key];
            right[0][AT(i) + c] += ds * data(x + 1)[key];
            right[1][key] += ds * q[c];
            right[2][key] += p[e] * g[c];
          }
      }
  run(shape, ATTEND, (const TestArray *[]){&options, x, x + 1, x + 2, &mask, a, a + 1, a + 2},
      (TestArray *[]){&y});
  compare("y", &y, right[3], shape);
  run(shape, ATTEND_BACKWARD,
      (const TestArray *[]){&options, x, x + 1, x + 2, &mask, &gradient, a, a + 1, a + 2, t, t + 1, t + 2},
      (TestArray *[]){d, d + 1, d + 2});
  const char *const names[] = {"dq", "dk", "dv"};
  for (int i = 0; i < 3; i++) {
    compare(names[i], d + i, right[i], shape);
    free(x[i].array.data);
    free(d[i].array.data);
    free(a[i].array.data);
    free(t[i].array.data);
  }
  TestArray *const all[] = {&options, &mask, &gradient, &y};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]->array.data);
  for (int i = 0; i < 4; i++) free(right[i]);
  free(p);
  free(dp);
}

/* ---- arguments that do not fit ---- */

static void expect_refusal(int function, const Array *in, const Array *out, const char *what, int i) {
  char text[100];
  snprintf(text, sizeof text, "function %d took %s of array %d", function, what, i);
  if (!deepsphere_call(function, in, out)) fail("wrong arguments", text);
}

static void check_refusals(int function) {
  enum { B = 2, N = 6, C = 2, F = 3, T = 2, CHILDREN = 3 };
  TestArray in[MOST_ARGUMENTS], out[MOST_RESULTS], a[3], t[3];
  const int pooling = function == POOL || function == POOL_BACKWARD, attention = function >= ATTEND;
  const int few_options = function == PRODUCT || attention, normalized = function == BACKWARD_NORMALIZED;
  make(in, FLOAT32, 1, 3, 0, 0);
  memcpy(data(in), (float[]){1, 1, pooling ? CHILDREN : 1e-3f}, 3 * sizeof(float));
  make(in + 1, FLOAT32, 3, B, N, C);
  int next = 2;
  if (function < PRODUCT) {
    make(in + next++, FLOAT32, 3, T, C, F);
    if (function == BACKWARD) make(in + next++, FLOAT32, 3, B, N, F);
    else make(in + next++, FLOAT32, 1, F, 0, 0);
    if (normalized) {
      make(in + next++, FLOAT32, 3, B, N, F);
      make(in + next++, FLOAT32, 1, F, 0, 0);
      make(in + next++, FLOAT32, 1, F, 0, 0);
    }
    if (function >= BACKWARD) make(in + next++, FLOAT32, 3, B, N, F);
  }
  if (function == POOL_BACKWARD) {
    make(in + next++, FLOAT32, 3, B, N / CHILDREN, C);
    make(in + next++, FLOAT32, 3, B, N / CHILDREN, C);
  }
  if (attention) {
    make(in + next++, FLOAT32, 3, B, N, C);
    make(in + next++, FLOAT32, 3, B, N, C);
    make(in + next++, FLOAT32, 2, B, N, 0);
    if (function == ATTEND_BACKWARD) make(in + next++, FLOAT32, 3, B, N, C);
  }
  for (int i = 1; i < next; i++) fill(in + i);
  make_matrix(a, t, N);
  const int two = function == BACKWARD || normalized || function == ATTEND_BACKWARD;
  const int matrices = pooling ? 0 : two ? 2 : 1;
  for (int m = 0; m < matrices; m++) memcpy(in + next + 3 * m, m ? t : a, sizeof a);
  const int starts = next;
  next += 3 * matrices;
  if (function == FORWARD || function == FORWARD_NORMALIZED) {
    make(out, FLOAT32, 3, B, N, F);
    make(out + 1, FLOAT32, 3, B, N, F);
    make(out + 2, FLOAT32, 1, F, 0, 0);
    make(out + 3, FLOAT32, 1, F, 0, 0);
  } else if (function < PRODUCT) {
    make(out, FLOAT32, 3, B, N, C);
    make(out + 1, FLOAT32, 3, T, C, F);
    make(out + 2, FLOAT32, 1, F, 0, 0);
  } else {
    for (int i = 0; i < results_of(function); i++)
      make(out + i, FLOAT32, 3, B, function == POOL ? N / CHILDREN : N, C);
  }
  Array arguments[MOST_ARGUMENTS + MOST_RESULTS], *results = arguments + arguments_of(function);
  int64_t dims[MOST_ARGUMENTS + MOST_RESULTS][4];
  const int arrays = arguments_of(function) + results_of(function);
  if (next != arguments_of(function)) fail("driver", "another number of arguments");
  for (int i = 0; i < arrays; i++) {
    const TestArray *each = i < next ? in + i : out + i - next;
    arguments[i] = each->array;
    for (int d = 0; d < 4; d++) dims[i][d] = d < 3 && d < each->array.rank ? each->dims[d] : 1;
    arguments[i].dims = dims[i];
  }
  const char *message = deepsphere_call(function, arguments, results);
  if (message) fail("right arguments", message);

  for (int i = 0; i < arrays; i++) {
    const Array right = arguments[i];
    for (int d = 0; d < right.rank; d++)
      for (int change = -1; change <= 1; change += 2) {
        if (i == 0 && change > 0) continue;                /* there may be more options */
        if (few_options && i == 0) continue;               /* two of the three are enough */
        if (function < BACKWARD && i == 2 && d == 0) continue; /* any number of terms */
        dims[i][d] += change;
        expect_refusal(function, arguments, results, "another size", i);
        dims[i][d] -= change;
      }
    arguments[i].rank = right.rank + 1;
    expect_refusal(function, arguments, results, "a higher rank", i);
    arguments[i].rank = right.rank - 1;
    expect_refusal(function, arguments, results, "a lower rank", i);
    arguments[i] = right;
    arguments[i].type = OTHER_TYPE;
    expect_refusal(function, arguments, results, "another type", i);
    arguments[i].type = right.type == INT32 ? FLOAT32 : INT32;
    expect_refusal(function, arguments, results, "the wrong type", i);
    arguments[i] = right;
    arguments[i].data = NULL;
    expect_refusal(function, arguments, results, "no memory", i);
    arguments[i] = right;
  }
  const float bad[] = {-1, 0.5f, 1e9f, INFINITY, NAN};
  for (int o = 0; o < (few_options ? 2 : 3); o++)
    for (size_t b = 0; b < sizeof bad / sizeof *bad; b++) {
      const float right = data(in)[o];
      if (function < PRODUCT && o == 2 && bad[b] > 0) continue; /* an epsilon */
      data(in)[o] = bad[b];
      expect_refusal(function, arguments, results, "a bad option", o);
      data(in)[o] = right;
    }
  if (function == BACKWARD) {
    data(in)[0] = GELU;
    expect_refusal(function, arguments, results, "an activation whose derivative needs its input", 0);
    data(in)[0] = RELU;
  }
  for (int m = 0; m < matrices; m++)
    for (int at = 0; at <= N; at += N) {
      int32_t *ends = in[starts + 3 * m].array.data;
      ends[at] += 1;
      expect_refusal(function, arguments, results, "rows that do not span the entries", starts + 3 * m);
      ends[at] -= 1;
    }
  if (function < PRODUCT) { /* no terms at all */
    dims[2][0] = 0;
    expect_refusal(function, arguments, results, "no terms", 2);
  }
  for (int i = 0; i < starts; i++) free(in[i].array.data);
  for (int i = 0; i < results_of(function); i++) free(out[i].array.data);
  for (int i = 0; i < 3; i++) {
    free(a[i].array.data);
    free(t[i].array.data);
  }
  if (function == FORWARD)
    for (int i = 1; i < 4; i++) free(out[i].array.data);
}

int main(void) {
  for (int function = 0; function < FUNCTIONS; function++) check_refusals(function);
  if (!deepsphere_call(FUNCTIONS, NULL, NULL) || !deepsphere_call(-1, NULL, NULL))
    fail("wrong arguments", "a function that there is not");

  /* Each size at 0 or 1, the others as usual. */
  for (int which = 0; which < 5; which++)
    for (int size = 0; size < 2; size++) {
      int s[] = {3, 10, 2, 3, 3};
      if ((which == 1 || which == 4) && size == 0) continue; /* refused */
      s[which] = size;
      for (int kind = 0; kind < 4; kind++)
        for (int depthwise = 0; depthwise < 2; depthwise++)
          check_filter(s[0], s[1], s[2], s[3], s[4], 2, kind % 2, kind / 2, depthwise);
    }
  check_filter(0, 10, 0, 0, 1, 2, RELU, 1, 0);
  check_filter(2, 1, 0, 3, 1, 300, RELU, 1, 0);

  /* All layouts: few and many samples, channels that fill vectors and others, and rows that are no
     multiple of any tile. */
  const int batches[] = {1, 2, 3, 4, 5, 7, 9, 16, 17}, rows[] = {1, 2, 9, 48, 100};
  const int widths[] = {1, 2, 3, 5, 7, 8, 9, 11, 16, 24, 32, 48}, terms[] = {1, 2, 3, 4, 6};
  const int activations[] = {LINEAR, RELU, ELU, SELU, LEAKY_RELU, TANH, SIGMOID, SOFTPLUS, SILU, GELU};
#define ANY(LIST) LIST[below((int)(sizeof LIST / sizeof *LIST))]
  for (int i = 0; i < 200; i++)
    check_filter(ANY(batches), ANY(rows), ANY(widths), ANY(widths), ANY(terms), 1 + below(4),
                 i % 2 ? below(2) : ANY(activations), below(2), i % 4 == 0);
  /* Tiles of 8 to 256 rows, and a last one that is not full. */
  for (int threads = 1; threads < 4; threads += 2) {
    check_filter(1, 701, 1, 1, 2, threads, RELU, 1, 0);
    check_filter(3, 523, 2, 1, 3, threads, LINEAR, 1, 0);
    check_filter(2, 300, 8, 8, 2, threads, RELU, 1, 0);
    check_filter(1, 100, 64, 8, 2, threads, RELU, 0, 0);
    check_filter(1, 100, 8, 72, 2, threads, LINEAR, 1, 0);
    check_filter(4, 30, 24, 40, 3, threads, RELU, 1, 0);
    check_filter(2, 300, 72, 0, 3, threads, GELU, 1, 1);
    check_filter(17, 100, 5, 0, 3, threads, ELU, 0, 1);
  }
  for (int i = 0; i < 300; i++)
    check_pool(below(4), below(30), 1 + below(9), below(20), below(2), 1 + below(3));
  check_pool(1, 70, 4, 33, POOL_MAX, 2);
  const int depths[] = {1, 3, 8, 11, 16, 24};
  for (int i = 0; i < 60; i++)
    check_attention(below(4), 1 + below(40), 1 + below(4), ANY(depths), below(2), 1 + below(3));
  check_attention(2, 300, 4, 8, 1, 3);

  if (failures) {
    fprintf(stderr, "%d failures\n", failures);
    return 1;
  }
  printf("the kernels give the right numbers and refuse what does not fit\n");
  return 0;
}
