#include "call.h"

#include <stddef.h>

#include "api.h"

static const int arguments[FUNCTIONS] = {7, 7, 11, 14}, results[FUNCTIONS] = {1, 4, 3, 3};

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

const char *deepsphere_call(int function, const Array *in, const Array *out) {
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
  return done ? NULL : "there is not enough memory for the filter's workspace";
}
