#include "tile.h"

/* ---- products ---- */

PRODUCT(v16, 1, 1) PRODUCT(v16, 2, 1) PRODUCT(v16, 3, 1) PRODUCT(v16, 4, 1)
PRODUCT(v16, 1, 2) PRODUCT(v16, 2, 2) PRODUCT(v16, 3, 2) PRODUCT(v16, 4, 2)
PRODUCT(v16, 1, 4) PRODUCT(v16, 2, 4)
PRODUCT(v8, 1, 1) PRODUCT(v8, 1, 2) PRODUCT(v8, 1, 4)
PRODUCT(v4, 1, 1)
#define WITH_END(END) PRODUCT_END(1, END) PRODUCT_END(2, END) PRODUCT_END(3, END)
WITH_END(v8) WITH_END(v4)
#if WIDEST == 16
PRODUCT(v16, 5, 1) PRODUCT(v16, 6, 1) PRODUCT(v16, 7, 1) PRODUCT(v16, 8, 1)
#define SUM_VECTORS 8 /* number of sum vectors that fit into registers */
#else
#define SUM_VECTORS 4
#endif

typedef void Product(const Matrix *, int64_t, int64_t, const float *, const float *, float *,
                     int64_t, int64_t, float);

static Product *const one_sample[] = {
    product_v16_1_1, product_v16_2_1, product_v16_3_1, product_v16_4_1,
#if WIDEST == 16
    product_v16_5_1, product_v16_6_1, product_v16_7_1, product_v16_8_1,
#endif
};
#define MOST_WITH_END 3
static Product *const with_end[2][MOST_WITH_END] = {
    {product_v16_1_v4, product_v16_2_v4, product_v16_3_v4},
    {product_v16_1_v8, product_v16_2_v8, product_v16_3_v8}};
static Product *const two_samples[] = {product_v16_1_2, product_v16_2_2, product_v16_3_2,
                                       product_v16_4_2};
static Product *const four_samples[] = {product_v16_1_4, product_v16_2_4};

void tile_product(const Matrix *a, int64_t lo, int64_t hi, const float *in, const float *old,
                  float *out, int64_t stride, int samples, int64_t apart, float factor) {
  Product *const *wide = samples == 4 ? four_samples : samples == 2 ? two_samples : one_sample;
  const int64_t fitting = SUM_VECTORS / samples;
  const int64_t most = samples > 1 && fitting > 4 ? 4 : fitting;
  int64_t done = 0;
#define MULTIPLY_BY(FUNCTION)                                                                  \
  FUNCTION(a, lo, hi, in + done, old ? old + done : 0, out + done, stride, apart, factor)
  while (stride - done >= 16) {
    int64_t count = (stride - done) / 16;
    const int64_t end = (stride - done) % 16;
    if (samples == 1 && (end == 8 || end == 4) && count <= MOST_WITH_END) {
      MULTIPLY_BY(with_end[end == 8][count - 1]);
      return;
    }
    if (count > most) count = most;
    MULTIPLY_BY(wide[count - 1]);
    done += 16 * count;
  }
  if (stride - done >= 8) {
    MULTIPLY_BY((samples == 4 ? product_v8_1_4 : samples == 2 ? product_v8_1_2 : product_v8_1_1));
    done += 8;
  }
  if (stride - done >= 4) MULTIPLY_BY(product_v4_1_1);
#undef MULTIPLY_BY
}

/* ---- products with the kernel ---- */

#define EIGHT(MAKE, VEC) \
  MAKE(VEC, 1) MAKE(VEC, 2) MAKE(VEC, 3) MAKE(VEC, 4) MAKE(VEC, 5) MAKE(VEC, 6) MAKE(VEC, 7) MAKE(VEC, 8)
EIGHT(MIX_LANES, v16)
EIGHT(MIX_LANES, v8)
EIGHT(MIX_LANES, v4)

typedef void Mix(const float *const *, int, const float *, float *, int64_t, int, int, int);

#define NAMES(PREFIX) \
  {PREFIX##_1, PREFIX##_2, PREFIX##_3, PREFIX##_4, PREFIX##_5, PREFIX##_6, PREFIX##_7, PREFIX##_8}
static Mix *const mix_16[] = NAMES(mix_lanes_v16);
static Mix *const mix_8[] = NAMES(mix_lanes_v8);
static Mix *const mix_4[] = NAMES(mix_lanes_v4);

/* Rows at a time for 1 to 4 vectors of outputs, as measured: sums must fit into registers, and there
   must be enough of them to keep the processor busy while it waits for results. */
#if WIDEST == 16
#define EACH_ROWS(MAKE, VEC) MAKE(VEC, 1, 8) MAKE(VEC, 2, 8) MAKE(VEC, 3, 8) MAKE(VEC, 4, 6)
#define MANY(PREFIX) {PREFIX##_1_8, PREFIX##_2_8, PREFIX##_3_8, PREFIX##_4_6}
static const int rows_together[] = {8, 8, 8, 6};
#else
#define EACH_ROWS(MAKE, VEC) MAKE(VEC, 1, 8) MAKE(VEC, 2, 4) MAKE(VEC, 3, 4) MAKE(VEC, 4, 3)
#define MANY(PREFIX) {PREFIX##_1_8, PREFIX##_2_4, PREFIX##_3_4, PREFIX##_4_3}
static const int rows_together[] = {8, 4, 4, 3};
#endif
#define ONE_ROW(MAKE, VEC) MAKE(VEC, 1, 1) MAKE(VEC, 2, 1) MAKE(VEC, 3, 1) MAKE(VEC, 4, 1)
#define ONE(PREFIX) {PREFIX##_1_1, PREFIX##_2_1, PREFIX##_3_1, PREFIX##_4_1}
EACH_ROWS(MIX_CHANNELS, v16)
EACH_ROWS(MIX_CHANNELS, v8)
ONE_ROW(MIX_CHANNELS, v16)
ONE_ROW(MIX_CHANNELS, v8)

static Mix *const many_v16[] = MANY(mix_channels_v16);
static Mix *const many_v8[] = MANY(mix_channels_v8);
static Mix *const single_v16[] = ONE(mix_channels_v16);
static Mix *const single_v8[] = ONE(mix_channels_v8);

static int widest(int channels) { return WIDEST == 16 && channels % 16 == 0 ? 16 : 8; }

static void mix_channels(const float *const *in, int terms, const float *w, float *out,
                         int64_t rows, int sources, int outputs, int add) {
  const int width = widest(outputs);
  Mix *const *many = width == 16 ? many_v16 : many_v8;
  Mix *const *single = width == 16 ? single_v16 : single_v8;
  for (int o = 0; o < outputs;) {
    int count = (outputs - o) / width;
    if (count > 4) count = 4;
    const int64_t last = rows % rows_together[count - 1], most = rows - last;
    const float *rest[MOST_TERMS];
    for (int t = 0; t < terms; t++) rest[t] = in[t] + most * sources;
    many[count - 1](in, terms, w + o, out + o, most, sources, outputs, add);
    single[count - 1](rest, terms, w + o, out + most * outputs + o, last, sources, outputs, add);
    o += count * width;
  }
}

void tile_mix(const float *const *in, int terms, const float *w, float *out, int64_t rows,
              int sources, int outputs, int lanes, int add) {
  if (lanes == 1) {
    mix_channels(in, terms, w, out, rows, sources, outputs, add);
    return;
  }
  Mix *const *mix = lanes == 16 ? mix_16 : lanes == 8 ? mix_8 : mix_4;
  for (int o = 0; o < outputs;) {
    int count = outputs - o;
    if (count > 8) count = count < 16 ? (count + 1) / 2 : 8;
    mix[count - 1](in, terms, w + o, out + (int64_t)o * lanes, rows, sources, outputs, add);
    o += count;
  }
}

/* ---- products with a kernel that does not mix channels ---- */

/* The size of the next block, at most `most`, such that all blocks are about equal. */
static int next_block(int left, int most) {
  const int blocks = (left + most - 1) / most;
  return (left + blocks - 1) / blocks;
}

#define UP_TO_FOUR(MAKE, VEC) MAKE(VEC, 1) MAKE(VEC, 2) MAKE(VEC, 3) MAKE(VEC, 4)
SCALE_LANES(v16)
SCALE_LANES(v8)
SCALE_LANES(v4)
UP_TO_FOUR(SCALE_CHANNELS, v16)
UP_TO_FOUR(SCALE_CHANNELS, v8)
UP_TO_FOUR(DOT, v16)
UP_TO_FOUR(DOT, v8)
DOT(v4, 1)

#define ROW(PREFIX) {PREFIX##_1, PREFIX##_2, PREFIX##_3, PREFIX##_4}
typedef void Scale(const float *, const float *, float *, int64_t, int, int);
static Scale *const scale_16[4] = ROW(scale_channels_v16);
static Scale *const scale_8[4] = ROW(scale_channels_v8);
typedef void Dot(const float *, const float *, float *, int64_t, int64_t);
static Dot *const dot_16[4] = ROW(dot_v16);
static Dot *const dot_8[4] = ROW(dot_v8);

void tile_scale(const float *in, const float *w, float *out, int64_t rows, int channels, int lanes,
                int add) {
  if (lanes > 1) {
    (lanes == 16  ? scale_lanes_v16
     : lanes == 8 ? scale_lanes_v8
                  : scale_lanes_v4)(in, w, out, rows, channels, add);
    return;
  }
  const int width = widest(channels);
  for (int c = 0; c < channels;) {
    const int count = next_block((channels - c) / width, 4); /* & 3: GCC doubts that it fits */
    (width == 16 ? scale_16 : scale_8)[(count - 1) & 3](in + c, w + c, out + c, rows, channels, add);
    c += count * width;
  }
}

void tile_dot(const float *left, const float *right, float *out, int64_t rows, int channels,
              int lanes) {
  const int64_t stride = (int64_t)channels * lanes; /* a multiple of 8, or of 4 lanes */
  for (int64_t c = 0; c < stride;) {
    const int width = WIDEST == 16 && stride - c >= 16 ? 16 : stride - c >= 8 ? 8 : 4;
    const int64_t fitting = (stride - c) / width, count = fitting > 4 ? 4 : fitting;
    Dot *const dot = width == 16 ? dot_16[count - 1] : width == 8 ? dot_8[count - 1] : dot_v4_1;
    dot(left + c, right + c, out + c, rows, stride);
    c += count * width;
  }
}

/* ---- correlations ---- */

#define FOUR(MAKE, VEC, LEFTS) \
  MAKE(VEC, LEFTS, 1) MAKE(VEC, LEFTS, 2) MAKE(VEC, LEFTS, 3) MAKE(VEC, LEFTS, 4)
#define SIXTEEN(MAKE, VEC) \
  FOUR(MAKE, VEC, 1) FOUR(MAKE, VEC, 2) FOUR(MAKE, VEC, 3) FOUR(MAKE, VEC, 4)
SIXTEEN(CORRELATE_LANES, v16)
SIXTEEN(CORRELATE_LANES, v8)
SIXTEEN(CORRELATE_LANES, v4)
/* Sums of 8 channels of `left` and 1 to 3 vectors of `right`, as many as fit into registers. */
#if WIDEST == 16
#define EACH_SUMS(MAKE, VEC) MAKE(VEC, 8, 1) MAKE(VEC, 8, 2) MAKE(VEC, 8, 3)
#define SUMS(PREFIX) {PREFIX##_8_1, PREFIX##_8_2, PREFIX##_8_3}
static const int lefts_together[] = {8, 8, 8};
#else
#define EACH_SUMS(MAKE, VEC) MAKE(VEC, 8, 1) MAKE(VEC, 4, 2)
#define SUMS(PREFIX) {PREFIX##_8_1, PREFIX##_4_2}
static const int lefts_together[] = {8, 4};
#endif
#define MOST_RIGHTS ((int)(sizeof lefts_together / sizeof *lefts_together))
EACH_SUMS(CORRELATE_CHANNELS, v16)
EACH_SUMS(CORRELATE_CHANNELS, v8)

typedef void Correlate(const float *, const float *, float *, int64_t, int, int);

#define TABLE(PREFIX) {ROW(PREFIX##_1), ROW(PREFIX##_2), ROW(PREFIX##_3), ROW(PREFIX##_4)}
static Correlate *const correlate_16[4][4] = TABLE(correlate_lanes_v16);
static Correlate *const correlate_8[4][4] = TABLE(correlate_lanes_v8);
static Correlate *const correlate_4[4][4] = TABLE(correlate_lanes_v4);
static Correlate *const channels_16[] = SUMS(correlate_channels_v16);
static Correlate *const channels_8[] = SUMS(correlate_channels_v8);

void tile_correlate(const float *left, const float *right, float *out, int64_t rows, int lefts,
                    int rights, int lanes) {
  if (lanes == 1) { /* lefts are a multiple of 8 here */
    const int width = widest(rights);
    Correlate *const *functions = width == 16 ? channels_16 : channels_8;
    for (int b = 0; b < rights;) {
      const int count = next_block((rights - b) / width, MOST_RIGHTS);
      for (int a = 0; a < lefts; a += lefts_together[count - 1])
        functions[count - 1](left + a, right + b, out + (int64_t)a * rights + b, rows, lefts,
                             rights);
      b += count * width;
    }
    return;
  }
  Correlate *const(*table)[4] = lanes == 16 ? correlate_16 : lanes == 8 ? correlate_8 : correlate_4;
  for (int a = 0; a < lefts;) {
    const int l = next_block(lefts - a, 4);
    for (int b = 0; b < rights;) {
      const int r = next_block(rights - b, 4);
      table[l - 1][r - 1](left + (int64_t)a * lanes, right + (int64_t)b * lanes,
                          out + ((int64_t)a * rights + b) * lanes, rows, lefts, rights);
      b += r;
    }
    a += l;
  }
}

/* ---- rearrangement ---- */

void tile_gather(const float *in, int64_t apart, int filled, int64_t count, int lanes,
                 float *out) {
  for (int l = 0; l < lanes; l++) {
    const float *from = in + l * apart;
    if (l < filled)
      for (int64_t m = 0; m < count; m++) out[m * lanes + l] = from[m];
    else
      for (int64_t m = 0; m < count; m++) out[m * lanes + l] = 0;
  }
}

void tile_scatter(const float *in, int64_t count, int lanes, int filled, int64_t apart,
                  float *out) {
  for (int l = 0; l < filled; l++)
    for (int64_t m = 0; m < count; m++) out[l * apart + m] = in[m * lanes + l];
}
