/* The functions of api.h behind one signature, as the bindings of the backends share it. */

#ifndef DEEPSPHERE_CALL_H
#define DEEPSPHERE_CALL_H

#include <stdint.h>

enum { OTHER_TYPE, FLOAT32, INT32 };

/* In C order, without gaps. */
typedef struct {
  void *data;
  int64_t type; /* one of the above */
  int64_t rank;
  const int64_t *dims;
} Array;

/* Arguments and results, in order. `A` stands for three arrays (starts and indices of int32,
   values), all others are of float32. An array without elements stands for one that is not given,
   or not asked for.

   FORWARD              options x kernel bias A                                  -> y
   FORWARD_NORMALIZED   options x kernel bias A                -> y raw mean variance
   BACKWARD             options x kernel y gradient A A^T               -> dx dkernel dbias
   BACKWARD_NORMALIZED  options x kernel bias raw mean variance gradient A A^T
                                                                        -> dx dkernel dbias
   PRODUCT              options x A                                             -> y
   POOL                 options x                                               -> y
   POOL_BACKWARD        options x y gradient                                    -> dx

   The options are, and more may follow:

   the first four       the activation, see rows.h; the number of threads; epsilon
   PRODUCT              the power; the number of threads
   POOL, POOL_BACKWARD  the mode, see pool.h; the number of threads; the number of children */
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

/* Returns NULL, or what went wrong. Type, rank and shape of every array are checked, and the
   value of every option. What a matrix holds is not, since that would cost as much as a product:
   whoever makes one sees to it that no index lies outside and that the starts do not fall. */
const char *deepsphere_call(int function, const Array *arguments, const Array *results);

/* What it returns where memory does not suffice. */
extern const char deepsphere_no_memory[];

#endif
