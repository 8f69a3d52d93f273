/* The whole operation on a batch: a walk through the powers of a sparse matrix. */

#ifndef DEEPSPHERE_WALK_H
#define DEEPSPHERE_WALK_H

#include "rows.h"
#include "vectors.h"

/* How an array of shape (batch, n, channels) is changed while it is read. */
typedef enum { AS_IT_IS, THROUGH_RELU, THROUGH_NORM } Change;

typedef struct {
  const float *values;
  int channels;
  Change change;
  const float *other; /* THROUGH_RELU: the output of the activation; THROUGH_NORM: its raw input */
  const Channels *norm;
  int activation;
} Source;

typedef struct {
  Matrix matrix;
  int64_t batch;
  int terms;
  Source source;         /* S channels: the walk is over T_k(A) source ... */
  const float *weights;  /* (terms, S, O): ... and gives out = sum_k T_k(A) source W_k, unless NULL */
  int outputs;           /* O */
  float *out;            /* (batch, n, O) */
  const Source *left;    /* L channels: ... and sums_k = left^T T_k(A) source, unless NULL */
  float *sums;           /* (terms, L, S) */
  int clenshaw;          /* whether to sum backwards, on O instead of S columns; then no left */
  int power;             /* if not 0, out = A^power source instead, of S channels; terms is unused */
  const Channels *finish; /* bias, and activation, of out; or NULL */
  int activation;
  Moments *moments;      /* O of them, of out, unless NULL */
  double *source_sums;   /* S of them, of the changed source, unless NULL */
  double *left_sums;     /* L of them, of the changed left, unless NULL */
  int threads;
} Walk;

/* Returns 0 where memory does not suffice. */
int walk(const Walk *walk);

#endif
