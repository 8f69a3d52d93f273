/* The functions of api.h behind one signature, which the bindings of the backends share. */

#ifndef DEEPSPHERE_CALL_H
#define DEEPSPHERE_CALL_H

#include <stdint.h>

enum { OTHER_TYPE, FLOAT32, INT32 };

/* In C order, contiguous. */
typedef struct {
  void *data;
  int64_t type; /* one of the above */
  int64_t rank;
  const int64_t *dims;
} Array;

/* Arguments and results, in order. `A` stands for three arrays (starts and indices of int32,
   values); all others are float32. An array without elements stands for a missing argument or a
   result that is not wanted.

   FORWARD              options x kernel bias A                                  -> y
   FORWARD_NORMALIZED   options x kernel bias A                -> y raw mean variance
   BACKWARD             options x kernel y gradient A A^T               -> dx dkernel dbias
   BACKWARD_NORMALIZED  options x kernel bias raw mean variance gradient A A^T
                                                                        -> dx dkernel dbias
   PRODUCT              options x A                                             -> y
   POOL                 options x                                               -> y
   POOL_BACKWARD        options x y gradient                                    -> dx
   ATTEND               options q k v mask A                                    -> y
   ATTEND_BACKWARD      options q k v mask gradient A A^T                       -> dq dk dv

   A kernel (terms, 1, channels) filters each channel of x for itself. BACKWARD has no activations
   whose derivatives need their input, see derivative_from_output.

   Queries, keys and values are (batch, n, heads * depth). Of the matrix of attention, only the
   places of the entries matter.

   The options are FilterOptions for the first four, then ProductOptions, twice PoolOptions, and
   twice AttentionOptions; what follows their last field is ignored. */
enum {
  FORWARD,
  FORWARD_NORMALIZED,
  BACKWARD,
  BACKWARD_NORMALIZED,
  PRODUCT,
  POOL,
  POOL_BACKWARD,
  ATTEND,
  ATTEND_BACKWARD,
  FUNCTIONS
};

/* Options are arrays of float32, as all backends pass those, with a field for each element. */
typedef struct {
  float activation; /* see activations.h */
  float threads;
  float epsilon; /* of the normalization */
} FilterOptions;

typedef struct {
  float power;
  float threads;
} ProductOptions;

typedef struct {
  float mode; /* POOL_MAX or POOL_MEAN, see pool.h */
  float threads;
  float children;
} PoolOptions;

typedef struct {
  float heads;
  float threads;
} AttentionOptions;

#define FIELDS(OPTIONS) ((int64_t)(sizeof(OPTIONS) / sizeof(float)))

/* What programs find in the library; all other names are hidden by the compiler's option. */
#define EXPORTED __attribute__((visibility("default")))

#define MOST_ARGUMENTS 14
#define MOST_RESULTS 4

int arguments_of(int function);
int results_of(int function);

/* Returns NULL or an error message. Checks the type, rank and shape of every array and the value of
   every option, but not the contents of matrices, which would cost as much as a product: the
   caller ensures that no index is out of range and that the starts do not decrease. */
EXPORTED const char *deepsphere_call(int function, const Array *arguments, const Array *results);

/* The error message if it runs out of memory. */
extern const char deepsphere_no_memory[];

#endif
