/* The functions of api.h behind one signature, as the bindings of the backends share it. */

#ifndef DEEPSPHERE_CALL_H
#define DEEPSPHERE_CALL_H

#include <stdint.h>

typedef struct {
  void *data;
  int64_t rank;
  const int64_t *dims;
} Array;

/* Arguments and results, in order. `A` stands for three arrays (starts and indices of int32,
   values), all others are of float32. An array without elements stands for one that is not given,
   or not asked for; `options` holds the activation, the number of threads, and epsilon.

   FORWARD              options x kernel bias A                                  -> y
   FORWARD_NORMALIZED   options x kernel bias A                -> y raw mean variance
   BACKWARD             options x kernel y gradient A A^T               -> dx dkernel dbias
   BACKWARD_NORMALIZED  options x kernel bias raw mean variance gradient A A^T
                                                                        -> dx dkernel dbias
   PRODUCT              options x A                                             -> y
   POOL                 options x                                               -> y
   POOL_BACKWARD        options x y gradient                                    -> dx

   The first option of PRODUCT is the power, that of the last two the mode of pooling, see pool.h;
   the second is the number of threads. */
enum {
  FORWARD,
  FORWARD_NORMALIZED,
  BACKWARD,
  BACKWARD_NORMALIZED,
  PRODUCT,
  POOL,
  POOL_BACKWARD,
  FUNCTIONS
};

#define MOST_ARGUMENTS 14
#define MOST_RESULTS 4

int arguments_of(int function);
int results_of(int function);

/* Returns NULL, or what went wrong. */
const char *deepsphere_call(int function, const Array *arguments, const Array *results);

#endif
