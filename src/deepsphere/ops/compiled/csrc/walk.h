/* A filter or its gradients on a batch, by a walk through the polynomials of a sparse matrix. */

#ifndef DEEPSPHERE_WALK_H
#define DEEPSPHERE_WALK_H

#include "rows.h"
#include "vectors.h"

/* Change to an array of shape (batch, n, channels) while it is read: none, or backpropagation
   through an activation or a normalization. */
typedef enum { AS_IT_IS, THROUGH_ACTIVATION, THROUGH_NORM } Change;

typedef struct {
  const float *values;
  int channels;
  Change change;
  const float *other; /* output of the activation, or input of the normalization */
  const Channels *norm;
  int activation;
} Source;

typedef struct {
  Matrix matrix;
  int64_t batch;
  int terms;
  Source source;         /* S channels; the walk computes T_k(A) source */
  const float *weights;  /* (terms, S, O): out = sum_k T_k(A) source W_k, unless NULL */
  int outputs;           /* O */
  float *out;            /* (batch, n, O) */
  const Source *left;    /* L channels: sums_k = left^T T_k(A) source, unless NULL */
  float *sums;           /* (terms, L, S) */
  int depthwise;         /* each channel for itself: S = O = L, weights and sums are (terms, S) */
  int clenshaw;          /* whether to sum backwards on O instead of S columns; requires no left */
  int power;             /* if not 0, out = A^power source, of S channels; terms is unused */
  const Channels *out_bias; /* added to out, before the activation; or NULL */
  int activation;        /* of out, if it has a bias */
  Moments *moments;      /* (O): moments of out, unless NULL */
  double *source_sums;   /* (S): sums of the changed source, unless NULL */
  double *left_sums;     /* (L): sums of the changed left, unless NULL */
  int threads;
} Walk;

/* Returns 0 if it runs out of memory. */
int walk(const Walk *walk);

#endif
