/* Attention of each vertex to its neighbors. */

#ifndef DEEPSPHERE_ATTENTION_H
#define DEEPSPHERE_ATTENTION_H

#include <stdint.h>

#include "vectors.h"

typedef struct {
  int64_t batch, n, heads, depth;
  int64_t threads;
} AttentionSizes;

/* y_i = sum_j softmax_j(q_i . k_j / sqrt(depth)) v_j over the columns j of row i of `keys`, and 0
   where there are none. Arrays are (batch, n, heads, depth). `mask` (batch, n) or NULL is 0 at the
   vertices j that are left out. Returns 0 if it runs out of memory. */
int deepsphere_attend(const AttentionSizes *sizes, const Matrix *keys, const float *q,
                      const float *k, const float *v, const float *mask, float *y);

/* The gradients of q, k and v, given that of y. `queries` is the transposed of `keys`. */
int deepsphere_attend_backward(const AttentionSizes *sizes, const Matrix *keys,
                               const Matrix *queries, const float *q, const float *k,
                               const float *v, const float *mask, const float *gradient, float *dq,
                               float *dk, float *dv);

#endif
