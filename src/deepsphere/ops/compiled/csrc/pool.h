/* Pooling of the children of each coarser vertex, which are consecutive. */

#ifndef DEEPSPHERE_POOL_H
#define DEEPSPHERE_POOL_H

#include <stdint.h>

enum { POOL_MAX = 0, POOL_MEAN = 1 };

/* y (rows, channels) of x (rows, children, channels). Returns 0 if it runs out of memory. */
int deepsphere_pool(const float *x, float *y, int64_t rows, int children, int channels, int mode,
                    int threads);

/* The gradient with respect to x, given that of y. Equal maxima share it evenly. */
int deepsphere_pool_backward(const float *x, const float *y, const float *gradient, float *dx,
                             int64_t rows, int children, int channels, int mode, int threads);

#endif
