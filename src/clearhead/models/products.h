/* Vectors for the steps: products of a matrix with one row, a few or many, and the exponential.
 *
 * n rows x (n, inputs) -> out (n, outputs). A few rows wait for the memory, so weights are read in one sweep, each once
 * for all rows; many rows lie side by side, and fill a register of the processor.
 */
#include <math.h>
#include <stdint.h>
#include <string.h>
#if defined(__AVX512BF16__)
#include <immintrin.h>
#endif

enum { FLOAT32, INT8, BFLOAT16 };

typedef struct {
    const void *weight; /* (outputs, inputs) */
    const float *scale; /* (outputs), of int8 */
    const float *bias;  /* (outputs) or null */
    int64_t kind, inputs, outputs;
} Linear;

#if defined(__AVX512F__)
enum { LANES = 16 };
#elif defined(__AVX__)
enum { LANES = 8 };
#else
enum { LANES = 4 };
#endif
typedef float Lanes __attribute__((vector_size(4 * LANES), aligned(4)));
typedef uint16_t Halves __attribute__((vector_size(2 * LANES), aligned(2)));
typedef uint32_t Bits __attribute__((vector_size(4 * LANES), aligned(4)));

enum {
    STRIP = 8,      /* outputs at a time: their sums fill the registers */
    FEW = 7,        /* rows that are not worth laying side by side */
    LINE = 16,      /* floats of a cache line */
    SMALL = 1 << 18 /* products of one row, some ten microseconds: waking a thread takes as long */
};

static inline int64_t rounded_up(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

static inline float to_float(uint16_t half) {
    uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* The nearest bfloat16, of two as near the even one. */
static inline uint16_t to_half(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

/* e^x within a share of 5e-7, for x from -87 to 88 and beyond as there: 2^k e^r with |r| <= log(2) / 2, whose series ends after r^6. */
static inline float exponential(float x) {
    x = x < -87 ? -87 : x > 88 ? 88 : x;
    const float k = rintf(x * 1.44269504f), r = x - k * 0.693145752f - k * 1.42860677e-6f;
    const float tail = 0.5f + r * (0.166666667f + r * (0.0416666667f + r * (0.00833333333f + r * 0.00138888889f)));
    const int32_t bits = ((int32_t)k + 127) << 23;
    float power;
    memcpy(&power, &bits, sizeof power);
    return power * (1 + r + r * r * tail);
}

/* A few rows by rounded weights, four outputs at a time: what is read of x serves them all. */
#define PRODUCT(NAME, TYPE, VALUE)                                                                         \
    static void NAME(const Linear *m, const float *x, float *out, int64_t n, int64_t first, int64_t last) { \
        const int64_t size = m->inputs;                                                                    \
        for (int64_t o = first; o < last; o += 4) {                                                        \
            const TYPE *a = (const TYPE *)m->weight + o * size;                                            \
            const TYPE *b = o + 1 < last ? a + size : a, *c = o + 2 < last ? a + 2 * size : a;             \
            const TYPE *d = o + 3 < last ? a + 3 * size : a;                                               \
            for (int64_t row = 0; row < n; row++) {                                                        \
                const float *y = x + row * size;                                                           \
                float sums[4], p = 0, q = 0, r = 0, s = 0;                                                 \
                for (int64_t i = 0; i < size; i++) {                                                       \
                    p += y[i] * VALUE(a[i]);                                                               \
                    q += y[i] * VALUE(b[i]);                                                               \
                    r += y[i] * VALUE(c[i]);                                                               \
                    s += y[i] * VALUE(d[i]);                                                               \
                }                                                                                          \
                sums[0] = p, sums[1] = q, sums[2] = r, sums[3] = s;                                        \
                for (int64_t j = 0; j < 4 && o + j < last; j++) {                                          \
                    float sum = m->scale ? sums[j] * m->scale[o + j] : sums[j];                            \
                    out[row * m->outputs + o + j] = m->bias ? sum + m->bias[o + j] : sum;                  \
                }                                                                                          \
            }                                                                                              \
        }                                                                                                  \
    }
PRODUCT(product_int8, int8_t, (float))
PRODUCT(product_bfloat16, uint16_t, to_float)

/* A few rows by float32 wait for the memory alone, which one stream of addresses feeds best: 1.3 times as fast as four. */
static void sweep(const Linear *m, const float *x, float *out, int64_t n, int64_t first, int64_t last) {
    for (int64_t o = first; o < last; o++) {
        const float *a = (const float *)m->weight + o * m->inputs;
        for (int64_t row = 0; row < n; row++) {
            const float *y = x + row * m->inputs;
            float sum = 0;
            for (int64_t i = 0; i < m->inputs; i++) sum += y[i] * a[i];
            out[row * m->outputs + o] = m->bias ? sum + m->bias[o] : sum;
        }
    }
}

/* Weights of outputs o to o + STRIP as float32, beyond the last that one again: in place, or copied into room. */
static void widen(const Linear *m, int64_t o, const float **strip, float *room) {
    for (int64_t j = 0; j < STRIP; j++) {
        const int64_t from = (o + j < m->outputs ? o + j : m->outputs - 1) * m->inputs;
        float *to = room + j * m->inputs;
        strip[j] = m->kind == FLOAT32 ? (const float *)m->weight + from : to;
        if (m->kind == INT8)
            for (int64_t i = 0; i < m->inputs; i++) to[i] = ((const int8_t *)m->weight)[from + i];
        if (m->kind == BFLOAT16)
            for (int64_t i = 0; i < m->inputs; i++) to[i] = to_float(((const uint16_t *)m->weight)[from + i]);
    }
}

/* Bring a stretch of memory near before it is needed: the processor looks ahead by itself within a page only. */
static inline void fetch(const float *from, int64_t size) {
    for (int64_t i = 0; i < size; i += LINE) __builtin_prefetch(from + i);
}

/* Sums of STRIP outputs for `count` times LANES rows that begin at x, `wide` apart: 1, or 2, which share what is read of
   the weights. */
static inline __attribute__((always_inline)) void add_rows(const float **w, const float *x, int64_t inputs, int64_t wide,
                                                           float (*found)[2 * LANES], int count, int ahead) {
    Lanes sums[STRIP][2] = {0};
    for (int64_t i = 0; i < inputs; i++) {
        Lanes y[2];
        for (int c = 0; c < count; c++) y[c] = *(const Lanes *)(x + i * wide + c * LANES);
        if (ahead && i % LINE == 0)
            for (int j = 0; j < STRIP; j++) fetch(w[j] + STRIP * inputs + i, LINE);
#pragma GCC unroll 8
        for (int j = 0; j < STRIP; j++)
            for (int c = 0; c < count; c++) sums[j][c] += w[j][i] * y[c];
    }
    for (int j = 0; j < STRIP; j++)
        for (int c = 0; c < count; c++) *(Lanes *)(found[j] + c * LANES) = sums[j][c];
}

/* Many rows, side by side in x (inputs, n rounded up to LANES). room for STRIP rows of weights. */
static void product_many(const Linear *m, const float *x, float *out, int64_t n, int64_t first, int64_t last,
                         float *room) {
    const int64_t wide = rounded_up(n, LANES);
    const float *w[STRIP];
    for (int64_t o = first; o < last; o += STRIP) {
        widen(m, o, w, room);
        for (int64_t row = 0; row < n; row += 2 * LANES) {
            float found[STRIP][2 * LANES];
            if (row + LANES < n) add_rows(w, x + row, m->inputs, wide, found, 2, row == 0);
            else add_rows(w, x + row, m->inputs, wide, found, 1, row == 0);
            for (int64_t r = 0; r < 2 * LANES && row + r < n; r++)
                for (int64_t j = 0; j < STRIP && o + j < last; j++) {
                    const float sum = m->scale ? found[j][r] * m->scale[o + j] : found[j][r];
                    out[(row + r) * m->outputs + o + j] = m->bias ? sum + m->bias[o + j] : sum;
                }
        }
    }
}

#if defined(__AVX512BF16__)
enum { PAIRS = 1 };

/* Sums of STRIP outputs for `count` times LANES rows whose pairs begin at x, `wide` apart: 1 or 2, known when compiled. */
static inline __attribute__((always_inline)) void add_pairs(const uint32_t **w, const uint32_t *x, int64_t pairs,
                                                            int64_t wide, float (*found)[2 * LANES], int count,
                                                            int ahead) {
    __m512 sums[STRIP][2];
    for (int j = 0; j < STRIP; j++) sums[j][0] = sums[j][1] = _mm512_setzero_ps();
    for (int64_t i = 0; i < pairs; i++) {
        __m512bh y[2];
        for (int c = 0; c < count; c++) y[c] = (__m512bh)_mm512_loadu_si512(x + i * wide + c * LANES);
        if (ahead && i % LINE == 0)
            for (int j = 0; j < STRIP; j++) fetch((const float *)w[j] + STRIP * pairs + i, LINE);
#pragma GCC unroll 8
        for (int j = 0; j < STRIP; j++) {
            const __m512bh both = (__m512bh)_mm512_set1_epi32(w[j][i]);
            for (int c = 0; c < count; c++) sums[j][c] = _mm512_dpbf16_ps(sums[j][c], y[c], both);
        }
    }
    for (int j = 0; j < STRIP; j++)
        for (int c = 0; c < count; c++) _mm512_storeu_ps(found[j] + c * LANES, sums[j][c]);
}

/* Many rows by bfloat16: x holds two inputs of a row side by side, (inputs / 2, n rounded up to LANES, 2), which one
   instruction multiplies with a pair of weights and adds up. */
static void product_pairs(const Linear *m, const uint32_t *x, float *out, int64_t n, int64_t first, int64_t last) {
    const int64_t wide = rounded_up(n, LANES), pairs = m->inputs / 2;
    for (int64_t o = first; o < last; o += STRIP) {
        const uint32_t *w[STRIP];
        for (int64_t j = 0; j < STRIP; j++)
            w[j] = (const uint32_t *)m->weight + (o + j < last ? o + j : last - 1) * pairs;
        for (int64_t row = 0; row < n; row += 2 * LANES) {
            float found[STRIP][2 * LANES];
            if (row + LANES < n) add_pairs(w, x + row, pairs, wide, found, 2, row == 0);
            else add_pairs(w, x + row, pairs, wide, found, 1, row == 0);
            for (int64_t r = 0; r < 2 * LANES && row + r < n; r++)
                for (int64_t j = 0; j < STRIP && o + j < last; j++)
                    out[(row + r) * m->outputs + o + j] = m->bias ? found[j][r] + m->bias[o + j] : found[j][r];
        }
    }
}
#else
enum { PAIRS = 0 };
static void product_pairs(const Linear *m, const uint32_t *x, float *out, int64_t n, int64_t first, int64_t last) {}
#endif

/* Lay n rows x (n, inputs) side by side in room: (inputs, n rounded up to LANES), or as pairs of bfloat16. */
static void side_by_side(const Linear *m, const float *x, int64_t n, float *room, int pairs) {
    const int64_t wide = rounded_up(n, LANES);
    for (int64_t row = 0; row < n; row++) {
        const float *y = x + row * m->inputs;
        if (pairs)
            for (int64_t i = 0; i < m->inputs / 2; i++)
                ((uint32_t *)room)[i * wide + row] = to_half(y[2 * i]) | (uint32_t)to_half(y[2 * i + 1]) << 16;
        else
            for (int64_t i = 0; i < m->inputs; i++)
                room[i * wide + row] = m->kind == BFLOAT16 ? to_float(to_half(y[i])) : y[i];
    }
}

/* Floats of room that `linear` needs. */
static int64_t room_of(const Linear *m, int64_t n, int64_t threads) {
    return m->inputs * (n > FEW ? rounded_up(n, LANES) + STRIP * threads : n);
}

/* x (n, inputs) -> out (n, outputs); every thread takes a stretch of the outputs, a multiple of STRIP long. What
   bfloat16 multiplies is bfloat16 too. */
static void linear(const Linear *m, const float *x, float *out, int64_t n, int64_t threads, float *room) {
    float *rooms = room + m->inputs * rounded_up(n, LANES);
    const int pairs = PAIRS && m->kind == BFLOAT16 && m->inputs % 2 == 0;
    if (n > FEW) side_by_side(m, x, n, room, pairs);
    else if (m->kind == BFLOAT16) {
        for (int64_t i = 0; i < n * m->inputs; i++) room[i] = to_float(to_half(x[i]));
        x = room;
    }
    if ((n < 8 ? 1 : n / 4) * m->inputs * m->outputs < SMALL) threads = 1; /* one row waits for memory, many do not */
    const int64_t share = rounded_up(rounded_up(m->outputs, threads) / threads, STRIP);
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (int64_t part = 0; part < threads; part++) {
        int64_t first = part * share, last = first + share < m->outputs ? first + share : m->outputs;
        if (n > FEW && pairs) product_pairs(m, (const uint32_t *)room, out, n, first, last);
        else if (n > FEW) product_many(m, room, out, n, first, last, rooms + part * STRIP * m->inputs);
        else if (m->kind == FLOAT32) sweep(m, x, out, n, first, last);
        else if (m->kind == INT8) product_int8(m, x, out, n, first, last);
        else product_bfloat16(m, x, out, n, first, last);
    }
}
