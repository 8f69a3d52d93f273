/* What a core does at most, in loops that the compiler turns into its widest instructions. */

#include <stddef.h>
#include <stdint.h>

#define EXPORTED __attribute__((visibility("default")))

#if defined(__AVX512F__)
#define BYTES 64
#elif defined(__AVX__)
#define BYTES 32
#else
#define BYTES 16
#endif

/* Independent sums: two units with a latency of four or five cycles need ten. */
#define SUMS 12

typedef float vector __attribute__((vector_size(BYTES)));

/* Multiply and add, and return the number of operations. The numbers neither grow nor vanish. */
EXPORTED int64_t multiply_and_add(int64_t steps, float *result) {
  const vector factor = (vector){0} + 0.5f, term = (vector){0} + result[0];
  vector sum[SUMS]; /* different ones, or the compiler would keep a single one */
  for (int i = 0; i < SUMS; i++) sum[i] = (vector){0} + (float)i * result[0];
  for (int64_t step = 0; step < steps; step++) {
#pragma GCC unroll 12
    for (int i = 0; i < SUMS; i++) sum[i] = sum[i] * factor + term;
  }
  for (int i = 1; i < SUMS; i++) sum[0] += sum[i];
  result[0] = sum[0][0];
  return steps * SUMS * (int64_t)(BYTES / sizeof(float)) * 2;
}

/* The STREAM triad, again and again on the same arrays. */
EXPORTED void triad(float *restrict a, const float *restrict b, const float *restrict c, size_t n,
                    int64_t repeats) {
  for (int64_t r = 0; r < repeats; r++) {
    for (size_t i = 0; i < n; i++) a[i] = b[i] + 3 * c[i];
    __asm__ volatile("" : : "r"(a) : "memory"); /* no repetition may be left out */
  }
}
