#include "call.h"

#include <stddef.h>

#include "api.h"
#include "pool.h"

#define NO_MEMORY "there is not enough memory for the workspace"

static const int arguments[FUNCTIONS] = {7, 7, 11, 14, 5, 2, 4};
static const int results[FUNCTIONS] = {1, 4, 3, 3, 1, 1, 1};

int arguments_of(int function) { return arguments[function]; }

int results_of(int function) { return results[function]; }

static float *floats(const Array *a) {
  for (int64_t d = 0; d < a->rank; d++)
    if (a->dims[d] == 0) return NULL;
  return a->data;
}

static Matrix matrix(const Array *a) {
  return (Matrix){.n = a[0].dims[0] - 1,
                  .starts = a[0].data,
                  .indices = a[1].data,
                  .values = a[2].data};
}

static const char *call_filter(int function, const Array *in, const Array *out) {
  const float *options = in[0].data;
  const Array *x = in + 1, *kernel = in + 2;
  if (x->rank != 3 || kernel->rank != 3 || x->dims[2] != kernel->dims[1])
    return "x must be (batch, n, channels) and the kernel (terms, channels, filters)";
  const Sizes sizes = {.batch = x->dims[0],
                       .n = x->dims[1],
                       .channels = x->dims[2],
                       .filters = kernel->dims[2],
                       .terms = kernel->dims[0],
                       .activation = (int64_t)options[0],
                       .threads = (int64_t)options[1]};
  const Matrix a = matrix(in + arguments[function] - (function < BACKWARD ? 3 : 6));
  const Matrix transposed = matrix(in + arguments[function] - 3);
  if (a.n != sizes.n || transposed.n != sizes.n) return "the operator has another size than x";
  int done = 0;
  switch (function) {
    case FORWARD:
      done = deepsphere_forward(&sizes, &a, floats(x), floats(kernel), floats(in + 3),
                                floats(out));
      break;
    case FORWARD_NORMALIZED:
      done = deepsphere_forward_normalized(&sizes, &a, floats(x), floats(kernel), floats(in + 3),
                                           options[2], floats(out), floats(out + 1),
                                           floats(out + 2), floats(out + 3));
      break;
    case BACKWARD:
      done = deepsphere_backward(&sizes, &a, &transposed, floats(x), floats(kernel),
                                 floats(in + 3), floats(in + 4), floats(out), floats(out + 1),
                                 floats(out + 2));
      break;
    case BACKWARD_NORMALIZED:
      done = deepsphere_backward_normalized(&sizes, &a, &transposed, floats(x), floats(kernel),
                                            floats(in + 3), options[2], floats(in + 4),
                                            floats(in + 5), floats(in + 6), floats(in + 7),
                                            floats(out), floats(out + 1), floats(out + 2));
  }
  return done ? NULL : NO_MEMORY;
}

static const char *call_product(const Array *in, const Array *out) {
  const float *options = in[0].data;
  const Array *x = in + 1;
  const Matrix a = matrix(in + 2);
  if (x->rank != 3 || a.n != x->dims[1]) return "the operator has another size than x";
  const Sizes sizes = {.batch = x->dims[0],
                       .n = x->dims[1],
                       .channels = x->dims[2],
                       .threads = (int64_t)options[1]};
  return deepsphere_product(&sizes, &a, x->data, (int)options[0], out->data) ? NULL : NO_MEMORY;
}

static const char *call_pool(int function, const Array *in, const Array *out) {
  const float *options = in[0].data;
  const int mode = (int)options[0], threads = (int)options[1];
  const Array *x = in + 1, *y = function == POOL ? out : in + 2;
  if (x->rank != 3 || y->rank != 3 || y->dims[1] == 0 || x->dims[1] % y->dims[1])
    return "x must be (batch, n, channels), with whole coarser vertices";
  const int children = (int)(x->dims[1] / y->dims[1]), channels = (int)x->dims[2];
  const int64_t rows = y->dims[0] * y->dims[1];
  const int done = function == POOL ? deepsphere_pool(x->data, y->data, rows, children, channels,
                                                      mode, threads)
                                    : deepsphere_pool_backward(x->data, y->data, in[3].data,
                                                               out->data, rows, children,
                                                               channels, mode, threads);
  return done ? NULL : NO_MEMORY;
}

const char *deepsphere_call(int function, const Array *in, const Array *out) {
  if (function == PRODUCT) return call_product(in, out);
  return function < PRODUCT ? call_filter(function, in, out) : call_pool(function, in, out);
}
