#include "pool.h"

#include <stddef.h>

#include "threads.h"
#include "vectors.h"

typedef float float1 __attribute__((vector_size(4), aligned(4), may_alias));

typedef struct {
  const float *x, *y, *gradient;
  float *out;
  int64_t rows;
  int children, channels, mode;
} Pool;

/* One vector of channels of a row. Values beyond the row's last channel are overwritten by later
   rows, since rows are processed in order. */
#define POOL_VECTOR(VEC, INTS)                                                                    \
  typedef int32_t INTS __attribute__((vector_size(sizeof(VEC)), aligned(4), may_alias));          \
  static inline void pool_##VEC(const float *x, float *y, int children, int channels, int mode) { \
    VEC result = *(const VEC *)x;                                                                 \
    for (int k = 1; k < children; k++) {                                                          \
      const VEC next = *(const VEC *)(x + k * channels);                                          \
      if (mode == POOL_MAX) { /* a NaN wins, as in all backends */                                \
        const INTS first = (INTS)((result > next) | (result != result));                          \
        result = (VEC)((first & (INTS)result) | (~first & (INTS)next));                           \
      } else                                                                                      \
        result += next;                                                                           \
    }                                                                                             \
    if (mode == POOL_MEAN) result *= 1.0f / (float)children;                                      \
    *(VEC *)y = result;                                                                           \
  }                                                                                               \
  static inline void spread_##VEC(const float *x, const float *y, const float *g, float *dx,      \
                                  int children, int channels, int mode) {                         \
    const VEC maximum = *(const VEC *)y, gradient = *(const VEC *)g;                              \
    INTS equal = {0};                                                                             \
    if (mode == POOL_MAX)                                                                         \
      for (int k = 0; k < children; k++)                                                          \
        equal -= (INTS)(*(const VEC *)(x + k * channels) == maximum);                             \
    else                                                                                          \
      equal += children;                                                                          \
    const VEC part = gradient / __builtin_convertvector(equal, VEC);                              \
    for (int k = 0; k < children; k++) {                                                          \
      const INTS here = (INTS)(*(const VEC *)(x + k * channels) == maximum);                      \
      VEC *to = (VEC *)(dx + k * channels);                                                       \
      if (mode == POOL_MAX)                                                                       \
        *to = (VEC)(here & (INTS)part);                                                           \
      else                                                                                        \
        *to = part;                                                                               \
    }                                                                                             \
  }
POOL_VECTOR(float1, int1)
POOL_VECTOR(v4, int4)
POOL_VECTOR(v8, int8)
POOL_VECTOR(v16, int16)

/* Process the last vector of a row first: the others overwrite what extends beyond the row. */
#define FOR_CHANNELS(VEC, CALL)                                           \
  for (int size = sizeof(VEC) / sizeof(float), c = (C - 1) / size * size; \
       c >= 0; c -= size)                                                 \
    CALL;                                                                 \
  break;

static void pool_row(const Pool *p, int64_t i, int width) {
  const int C = p->channels, children = p->children;
  const float *x = p->x + i * children * C;
  float *y = p->out + i * C;
  switch (width) {
    case 16: FOR_CHANNELS(v16, pool_v16(x + c, y + c, children, C, p->mode))
    case 8: FOR_CHANNELS(v8, pool_v8(x + c, y + c, children, C, p->mode))
    case 4: FOR_CHANNELS(v4, pool_v4(x + c, y + c, children, C, p->mode))
    default: FOR_CHANNELS(float1, pool_float1(x + c, y + c, children, C, p->mode))
  }
}

static void spread_row(const Pool *p, int64_t i, int width) {
  const int C = p->channels, children = p->children;
  const float *x = p->x + i * children * C, *y = p->y + i * C, *g = p->gradient + i * C;
  float *dx = p->out + i * children * C;
#define SPREAD(VEC) spread_##VEC(x + c, y + c, g + c, dx + c, children, C, p->mode)
  switch (width) {
    case 16: FOR_CHANNELS(v16, SPREAD(v16))
    case 8: FOR_CHANNELS(v8, SPREAD(v8))
    case 4: FOR_CHANNELS(v4, SPREAD(v4))
    default: FOR_CHANNELS(float1, SPREAD(float1))
  }
}

static void pool_on_thread(void *argument, Team *team, int thread, char *workspace) {
  const Pool *p = argument;
  const int64_t lo = p->rows * thread / team_size(team);
  const int64_t hi = p->rows * (thread + 1) / team_size(team);
  /* Vectors may extend beyond their row, but not beyond the rows of this thread. */
  const int C = p->channels, width = C > 8 ? 16 : C > 4 ? 8 : 4;
  const int64_t safe = hi - lo > width ? hi - width : lo;
  (void)workspace;
  for (int64_t i = lo; i < hi; i++) {
    if (p->gradient)
      spread_row(p, i, i < safe ? width : 1);
    else
      pool_row(p, i, i < safe ? width : 1);
  }
}

int deepsphere_pool(const float *x, float *y, int64_t rows, int children, int channels, int mode,
                    int threads) {
  if (rows == 0 || channels == 0) return 1;
  Pool pool = {x, NULL, NULL, y, rows, children, channels, mode};
  return run_team(threads, 64, pool_on_thread, &pool);
}

int deepsphere_pool_backward(const float *x, const float *y, const float *gradient, float *dx,
                             int64_t rows, int children, int channels, int mode, int threads) {
  if (rows == 0 || channels == 0) return 1;
  Pool pool = {x, y, gradient, dx, rows, children, channels, mode};
  return run_team(threads, 64, pool_on_thread, &pool);
}
