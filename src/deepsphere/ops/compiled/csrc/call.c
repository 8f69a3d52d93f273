#include "call.h"

#include <stddef.h>

#include "api.h"
#include "attention.h"
#include "pool.h"
#include "rows.h"

const char deepsphere_no_memory[] = "there is not enough memory for the workspace";

#define MOST_CHANNELS (1 << 24) /* of x or y, or terms: some loops count with int */
#define MOST_WEIGHTS 0x7fffffff /* per term, or values pooled into a row */
#define MOST_POWER (1 << 16)
#define MOST_THREADS (1 << 20)

static const int arguments[FUNCTIONS] = {7, 7, 11, 14, 5, 2, 4, 8, 12};
static const int results[FUNCTIONS] = {1, 4, 3, 3, 1, 1, 1, 1, 3};

int arguments_of(int function) { return arguments[function]; }

int results_of(int function) { return results[function]; }

/* ---- checks of arrays ---- */

static int is_empty(const Array *a) {
  for (int64_t d = 0; d < a->rank; d++)
    if (a->dims[d] == 0) return 1;
  return 0;
}

static int is_array(const Array *a, int type, int rank) {
  if (a->type != type || a->rank != rank) return 0;
  for (int d = 0; d < rank; d++)
    if (a->dims[d] < 0) return 0;
  return a->data || is_empty(a);
}

static int is_list(const Array *a, int type, int64_t length) {
  return is_array(a, type, 1) && a->dims[0] == length;
}

static int is_block(const Array *a, int64_t first, int64_t second, int64_t third) {
  return is_array(a, FLOAT32, 3) && a->dims[0] == first && a->dims[1] == second &&
         a->dims[2] == third;
}

static int is_none(const Array *a) { return a->type == FLOAT32 && is_empty(a); }

static float *floats(const Array *a) { return is_empty(a) ? NULL : a->data; }

/* The options of a call, or NULL if they are not an array of at least that many fields. */
static const void *read_options(const Array *options, int64_t fields) {
  return is_array(options, FLOAT32, 1) && options->dims[0] >= fields ? options->data : NULL;
}

/* Read an integer option; returns 0 if it is not an integer from `least` to `most`. */
static int read_integer(float value, int least, int most, int *out) {
  if (!(value >= (float)least && value <= (float)most)) return 0; /* also rejects NaN */
  *out = (int)value;
  return (float)*out == value;
}

static const char *read_matrix(const Array *a, int64_t n, Matrix *out) {
  const Array *starts = a, *indices = a + 1, *values = a + 2;
  if (!is_list(starts, INT32, n + 1)) return "the operator has another size than x";
  if (!is_array(indices, INT32, 1) || !is_list(values, FLOAT32, indices->dims[0]))
    return "the operator's indices and values must be lists of one length";
  const int32_t *rows = starts->data;
  if (rows[0] != 0 || rows[n] != indices->dims[0])
    return "the operator's rows must be all of its entries";
  *out = (Matrix){.n = n, .starts = rows, .indices = indices->data, .values = values->data};
  return NULL;
}

/* ---- the functions ---- */

static const char *read_sizes(const Array *in, Sizes *sizes, float *epsilon) {
  const Array *x = in + 1, *kernel = in + 2;
  const FilterOptions *options = read_options(in, FIELDS(FilterOptions));
  int activation, threads;
  if (!options || !read_integer(options->activation, 0, ACTIVATIONS - 1, &activation) ||
      !read_integer(options->threads, 1, MOST_THREADS, &threads))
    return "the options must be an activation, a number of threads, and epsilon";
  *epsilon = options->epsilon;
  if (!(*epsilon >= 0)) return "epsilon must not be negative";
  if (!is_array(x, FLOAT32, 3) || !is_array(kernel, FLOAT32, 3))
    return "x and the kernel must have three dimensions";
  const int64_t terms = kernel->dims[0], channels = x->dims[2], filters = kernel->dims[2];
  const int depthwise = channels != 1 && kernel->dims[1] == 1 && filters == channels;
  if (channels != kernel->dims[1] && !depthwise)
    return "x must be (batch, n, channels) and the kernel (terms, channels, filters), or (terms, 1, "
           "channels) to filter each channel for itself";
  if (terms < 1) return "the kernel must have a term";
  if (terms > MOST_CHANNELS || channels > MOST_CHANNELS || filters > MOST_CHANNELS ||
      kernel->dims[1] * filters > MOST_WEIGHTS)
    return "the kernel is too large";
  *sizes = (Sizes){.batch = x->dims[0],
                   .n = x->dims[1],
                   .channels = channels,
                   .filters = filters,
                   .terms = terms,
                   .activation = activation,
                   .depthwise = depthwise,
                   .threads = threads};
  return NULL;
}

static const char *call_forward(int function, const Array *in, const Array *out) {
  const Array *x = in + 1, *kernel = in + 2, *bias = in + 3;
  Sizes s;
  Matrix a;
  float epsilon;
  const char *message = read_sizes(in, &s, &epsilon);
  if (!message) message = read_matrix(in + 4, s.n, &a);
  if (message) return message;
  if (!is_none(bias) && !is_list(bias, FLOAT32, s.filters)) return "the bias must be (filters,)";
  if (!is_block(out, s.batch, s.n, s.filters)) return "y must be (batch, n, filters)";
  if (function == FORWARD)
    return deepsphere_forward(&s, &a, floats(x), floats(kernel), floats(bias), floats(out))
               ? NULL
               : deepsphere_no_memory;
  if (!is_block(out + 1, s.batch, s.n, s.filters) || !is_list(out + 2, FLOAT32, s.filters) ||
      !is_list(out + 3, FLOAT32, s.filters))
    return "raw must be (batch, n, filters), mean and variance (filters,)";
  return deepsphere_forward_normalized(&s, &a, floats(x), floats(kernel), floats(bias), epsilon,
                                       floats(out), floats(out + 1), floats(out + 2),
                                       floats(out + 3))
             ? NULL
             : deepsphere_no_memory;
}

static const char *call_backward(int function, const Array *in, const Array *out) {
  const Array *x = in + 1, *kernel = in + 2, *bias = in + 3, *raw = in + 4, *mean = in + 5,
              *variance = in + 6;
  const Array *y = in + 3, *gradient = in + (function == BACKWARD ? 4 : 7), *matrices = gradient + 1;
  Sizes s;
  Matrix a, transposed;
  float epsilon;
  const char *message = read_sizes(in, &s, &epsilon);
  if (!message) message = read_matrix(matrices, s.n, &a);
  if (!message) message = read_matrix(matrices + 3, s.n, &transposed);
  if (message) return message;
  if (!is_block(gradient, s.batch, s.n, s.filters)) return "the gradient must be that of y";
  if (!is_none(out) && !is_block(out, s.batch, s.n, s.channels)) return "dx must be as x";
  if (!is_none(out + 1) && !is_block(out + 1, s.terms, in[2].dims[1], s.filters))
    return "dkernel must be as the kernel";
  if (!is_none(out + 2) && !is_list(out + 2, FLOAT32, s.filters)) return "dbias must be (filters,)";
  if (function == BACKWARD) {
    if (!derivative_from_output((int)s.activation))
      return "the derivative of this activation needs its input";
    if (s.activation != LINEAR && !is_block(y, s.batch, s.n, s.filters))
      return "y must be (batch, n, filters)";
    return deepsphere_backward(&s, &a, &transposed, floats(x), floats(kernel),
                               s.activation == LINEAR ? NULL : floats(y), floats(gradient),
                               floats(out), floats(out + 1), floats(out + 2))
               ? NULL
               : deepsphere_no_memory;
  }
  if (!is_none(bias) && !is_list(bias, FLOAT32, s.filters)) return "the bias must be (filters,)";
  if (!is_block(raw, s.batch, s.n, s.filters) || !is_list(mean, FLOAT32, s.filters) ||
      !is_list(variance, FLOAT32, s.filters))
    return "raw must be (batch, n, filters), mean and variance (filters,)";
  return deepsphere_backward_normalized(&s, &a, &transposed, floats(x), floats(kernel),
                                        floats(bias), epsilon, floats(raw), floats(mean),
                                        floats(variance), floats(gradient), floats(out),
                                        floats(out + 1), floats(out + 2))
             ? NULL
             : deepsphere_no_memory;
}

static const char *call_product(const Array *in, const Array *out) {
  const Array *x = in + 1;
  Matrix a;
  const ProductOptions *options = read_options(in, FIELDS(ProductOptions));
  int power, threads;
  if (!options || !read_integer(options->power, 1, MOST_POWER, &power) ||
      !read_integer(options->threads, 1, MOST_THREADS, &threads))
    return "the options must be a power and a number of threads";
  if (!is_array(x, FLOAT32, 3) || x->dims[2] > MOST_CHANNELS) return "x must be (batch, n, channels)";
  const char *message = read_matrix(in + 2, x->dims[1], &a);
  if (message) return message;
  if (!is_block(out, x->dims[0], x->dims[1], x->dims[2])) return "y must be as x";
  const Sizes s = {.batch = x->dims[0], .n = x->dims[1], .channels = x->dims[2], .threads = threads};
  return deepsphere_product(&s, &a, floats(x), power, floats(out)) ? NULL : deepsphere_no_memory;
}

static const char *call_pool(int function, const Array *in, const Array *out) {
  const Array *x = in + 1, *y = function == POOL ? out : in + 2;
  const PoolOptions *options = read_options(in, FIELDS(PoolOptions));
  int mode, threads, children;
  if (!options || !read_integer(options->mode, POOL_MAX, POOL_MEAN, &mode) ||
      !read_integer(options->threads, 1, MOST_THREADS, &threads) ||
      !read_integer(options->children, 1, MOST_CHANNELS, &children))
    return "the options must be a mode of pooling, a number of threads, and one of children";
  if (!is_array(x, FLOAT32, 3) || x->dims[2] > MOST_CHANNELS || x->dims[2] * children > MOST_WEIGHTS)
    return "x must be (batch, n, channels)";
  if (x->dims[1] % children) return "the number of children must divide that of the vertices";
  const int64_t batch = x->dims[0], n = x->dims[1] / children, channels = x->dims[2];
  if (!is_block(y, batch, n, channels)) return "y must be (batch, n / children, channels)";
  if (function == POOL)
    return deepsphere_pool(floats(x), floats(y), batch * n, children, (int)channels, mode, threads)
               ? NULL
               : deepsphere_no_memory;
  if (!is_block(in + 3, batch, n, channels)) return "the gradient must be that of y";
  if (!is_block(out, batch, x->dims[1], channels)) return "dx must be as x";
  return deepsphere_pool_backward(floats(x), floats(y), floats(in + 3), floats(out), batch * n,
                                  children, (int)channels, mode, threads)
             ? NULL
             : deepsphere_no_memory;
}

static const char *call_attention(int function, const Array *in, const Array *out) {
  const Array *q = in + 1, *k = in + 2, *v = in + 3, *mask = in + 4, *gradient = in + 5;
  const AttentionOptions *options = read_options(in, FIELDS(AttentionOptions));
  int heads, threads;
  if (!options || !read_integer(options->heads, 1, MOST_CHANNELS, &heads) ||
      !read_integer(options->threads, 1, MOST_THREADS, &threads))
    return "the options must be a number of heads, and one of threads";
  if (!is_array(q, FLOAT32, 3) || q->dims[2] > MOST_CHANNELS || q->dims[2] < 1 ||
      q->dims[2] % heads)
    return "q must be (batch, n, heads * depth)";
  const int64_t batch = q->dims[0], n = q->dims[1], width = q->dims[2];
  if (!is_block(k, batch, n, width) || !is_block(v, batch, n, width)) return "k and v must be as q";
  if (!is_none(mask) && !(is_array(mask, FLOAT32, 2) && mask->dims[0] == batch && mask->dims[1] == n))
    return "the mask must be (batch, n)";
  Matrix a, transposed;
  const Array *matrices = in + (function == ATTEND ? 5 : 6);
  const char *message = read_matrix(matrices, n, &a);
  if (message) return message;
  const AttentionSizes sizes = {.batch = batch, .n = n, .heads = heads, .depth = width / heads,
                                .threads = threads};
  if (function == ATTEND) {
    if (!is_block(out, batch, n, width)) return "y must be as q";
    return deepsphere_attend(&sizes, &a, floats(q), floats(k), floats(v), floats(mask), floats(out))
               ? NULL
               : deepsphere_no_memory;
  }
  message = read_matrix(matrices + 3, n, &transposed);
  if (message) return message;
  if (!is_block(gradient, batch, n, width)) return "the gradient must be that of y";
  for (int i = 0; i < 3; i++)
    if (!is_block(out + i, batch, n, width)) return "dq, dk and dv must be as q";
  return deepsphere_attend_backward(&sizes, &a, &transposed, floats(q), floats(k), floats(v),
                                    floats(mask), floats(gradient), floats(out), floats(out + 1),
                                    floats(out + 2))
             ? NULL
             : deepsphere_no_memory;
}

const char *deepsphere_call(int function, const Array *in, const Array *out) {
  switch (function) {
    case FORWARD:
    case FORWARD_NORMALIZED: return call_forward(function, in, out);
    case BACKWARD:
    case BACKWARD_NORMALIZED: return call_backward(function, in, out);
    case PRODUCT: return call_product(in, out);
    case POOL:
    case POOL_BACKWARD: return call_pool(function, in, out);
    case ATTEND:
    case ATTEND_BACKWARD: return call_attention(function, in, out);
    default: return "there is no such function";
  }
}
