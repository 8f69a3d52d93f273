/* Functions for the backends. Every function returns 0 if it runs out of memory. Any size except
   the number of terms may be 0; arrays without elements may be NULL. */

#ifndef DEEPSPHERE_API_H
#define DEEPSPHERE_API_H

#include <stdint.h>

#include "vectors.h"

typedef struct {
  int64_t batch, n, channels, filters, terms;
  int64_t activation; /* see activations.h */
  int64_t depthwise;  /* whether channels are filtered without mixing; filters = channels then */
  int64_t threads;
} Sizes;

/* y = activation(sum_k T_k(A) x W_k + bias); x is (batch, n, channels), kernel (terms, channels,
   filters), or (terms, channels) if depthwise, bias (filters) or NULL, y (batch, n, filters). */
int deepsphere_forward(const Sizes *sizes, const Matrix *a, const float *x, const float *kernel,
                       const float *bias, float *y);

/* The same, normalized per filter over batch and vertices before the bias. raw is the input of the
   normalization; mean and variance (filters) are its moments. */
int deepsphere_forward_normalized(const Sizes *sizes, const Matrix *a, const float *x,
                                  const float *kernel, const float *bias, float epsilon, float *y,
                                  float *raw, float *mean, float *variance);

/* Gradients of the first function, given that of y. `transposed` is A^T. dx, dkernel and dbias are
   not computed if NULL; y is used only if the activation is not LINEAR. The derivative of the
   activation must be one that can be computed from y. */
int deepsphere_backward(const Sizes *sizes, const Matrix *a, const Matrix *transposed,
                        const float *x, const float *kernel, const float *y, const float *gradient,
                        float *dx, float *dkernel, float *dbias);

/* Gradients of the second function. */
int deepsphere_backward_normalized(const Sizes *sizes, const Matrix *a, const Matrix *transposed,
                                   const float *x, const float *kernel, const float *bias,
                                   float epsilon, const float *raw, const float *mean,
                                   const float *variance, const float *gradient, float *dx,
                                   float *dkernel, float *dbias);

/* y = A^power x; sizes->filters and terms are not used. */
int deepsphere_product(const Sizes *sizes, const Matrix *a, const float *x, int power, float *y);

#endif
