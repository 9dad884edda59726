/* Products of a matrix with one row, a few or many.
 *
 * n rows x (n, inputs) -> out (n, outputs). A few rows wait for the memory, so weights are read in one sweep, each once
 * for all rows; many rows lie side by side, and fill a register of the processor.
 */
#include "products.h"
#include "vectors.h"

enum {
    STRIP = 8,      /* outputs at a time: their sums fill the registers */
    FEW = 8,        /* rows that are not worth laying side by side */
    FAR = 1 << 14,  /* bytes ahead that a sweep asks for */
    NEAR = 1 << 18  /* bytes of a matrix that is asked for at all: smaller ones lie near */
};
static inline int in_pairs(const Linear *m) { return PAIRS && m->kind == BFLOAT16 && m->inputs % 2 == 0; }

/* Sums grow by the products of STEP_ weights with as many inputs. */
enum { STEP_float32 = LANES, STEP_int8 = 4 * LANES, STEP_bfloat16 = PAIRS ? 2 * LANES : LANES };
INLINE Lanes add_float32(Lanes sums, const float *w, const float *x) {
    return sums + lanes_float32(w) * lanes_float32(x);
}
INLINE Lanes add_int8(Lanes sums, const int8_t *w, const float *x) {
    for (int j = 0; j < STEP_int8; j += LANES) sums += lanes_int8(w + j) * lanes_float32(x + j);
    return sums;
}
INLINE Lanes add_bfloat16(Lanes sums, const uint16_t *w, const Rounded *x) {
#if defined(__AVX512BF16__)
    return (Lanes)_mm512_dpbf16_ps((__m512)sums, (__m512bh)_mm512_loadu_si512(w), (__m512bh)_mm512_loadu_si512(x));
#else
    return sums + lanes_bfloat16(w) * lanes_float32(x);
#endif
}

/* A few rows: what is read of the weights serves them all. The processor by itself looks ahead within a page of the
   memory only; asked for much further ahead, 42 MB come 1.3 times as fast. The sums of `most` rows stay in registers,
   those beyond the last row are of that one again. */
#define PRODUCT(KIND, TYPE, INPUT, WEIGHT, VALUE)                                                                   \
    INLINE void few_##KIND(const Linear *m, const INPUT *x, int64_t stride, float *out, int64_t n, int64_t first,   \
                           int64_t last, const int most) {                                                          \
        const int64_t size = m->inputs, even = size / STEP_##KIND * STEP_##KIND;                                    \
        const int far = m->outputs * size * sizeof(TYPE) > NEAR;                                                    \
        const INPUT *from[FEW];                                                                                     \
        for (int row = 0; row < most; row++) from[row] = x + (row < n ? row : n - 1) * stride;                      \
        for (int64_t o = first; o < last; o++) {                                                                    \
            const TYPE *w = (const TYPE *)m->weight + o * size;                                                     \
            Lanes sums[FEW] = {0};                                                                                  \
            for (int64_t i = 0; i < even; i += STEP_##KIND) {                                                       \
                if (far) __builtin_prefetch((const char *)(w + i) + FAR);                                           \
                for (int row = 0; row < most; row++) sums[row] = add_##KIND(sums[row], w + i, from[row] + i);       \
            }                                                                                                       \
            for (int row = 0; row < most && row < n; row++) {                                                       \
                float sum = sum_of(sums[row]);                                                                      \
                for (int64_t i = even; i < size; i++) sum += WEIGHT(w[i]) * VALUE(from[row][i]);                    \
                if (m->scale) sum *= m->scale[o];                                                                   \
                out[row * m->outputs + o] = m->bias ? sum + m->bias[o] : sum;                                       \
            }                                                                                                       \
        }                                                                                                           \
    }                                                                                                               \
    static void product_##KIND(const Linear *m, const INPUT *x, int64_t stride, float *out, int64_t n,              \
                               int64_t first, int64_t last) {                                                       \
        if (n == 1) few_##KIND(m, x, stride, out, n, first, last, 1);                                               \
        else if (n == 2) few_##KIND(m, x, stride, out, n, first, last, 2);                                          \
        else if (n <= 4) few_##KIND(m, x, stride, out, n, first, last, 4);                                          \
        else few_##KIND(m, x, stride, out, n, first, last, FEW);                                                    \
    }
PRODUCT(float32, float, float, same, same)
PRODUCT(int8, int8_t, float, (float), same)
PRODUCT(bfloat16, uint16_t, Rounded, to_float, of_rounded)

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

/* Of the weights of the next outputs, STRIP rows of `size` numbers from `next` on, ask for what lies at number i. */
INLINE void look_ahead(const char *next, int64_t size, int64_t i, int64_t bytes) {
    if (next && i % (LINE / 4) == 0)
        for (int j = 0; j < STRIP; j++) __builtin_prefetch(next + (j * size + i) * bytes);
}

/* Sums of STRIP outputs for `count` times LANES rows that begin at x, `wide` apart: 1, or 2, which share what is read
   of the weights. */
INLINE void add_rows(const float **w, const float *x, int64_t size, int64_t wide, float (*found)[2 * LANES], int count,
                     const char *next, int64_t bytes) {
    Lanes sums[STRIP][2] = {0};
    for (int64_t i = 0; i < size; i++) {
        Lanes y[2];
        for (int c = 0; c < count; c++) y[c] = lanes_float32(x + i * wide + c * LANES);
        look_ahead(next, size, i, bytes);
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
    const int64_t wide = rounded_up(n, LANES), size = m->inputs, bytes = BYTES[m->kind];
    const float *w[STRIP];
    for (int64_t o = first; o < last; o += STRIP) {
        widen(m, o, w, room);
        const char *next = (const char *)m->weight + (o + STRIP) * size * bytes;
        for (int64_t row = 0; row < n; row += 2 * LANES, next = 0) {
            float found[STRIP][2 * LANES];
            if (row + LANES < n) add_rows(w, x + row, size, wide, found, 2, next, bytes);
            else add_rows(w, x + row, size, wide, found, 1, next, bytes);
            for (int64_t r = 0; r < 2 * LANES && row + r < n; r++)
                for (int64_t j = 0; j < STRIP && o + j < last; j++) {
                    const float sum = m->scale ? found[j][r] * m->scale[o + j] : found[j][r];
                    out[(row + r) * m->outputs + o + j] = m->bias ? sum + m->bias[o + j] : sum;
                }
        }
    }
}

#if defined(__AVX512BF16__)
/* `add_rows` of pairs. */
INLINE void add_pairs(const uint32_t **w, const uint32_t *x, int64_t pairs, int64_t wide, float (*found)[2 * LANES],
                      int count, const char *next) {
    __m512 sums[STRIP][2];
    for (int j = 0; j < STRIP; j++) sums[j][0] = sums[j][1] = _mm512_setzero_ps();
    for (int64_t i = 0; i < pairs; i++) {
        __m512bh y[2];
        for (int c = 0; c < count; c++) y[c] = (__m512bh)_mm512_loadu_si512(x + i * wide + c * LANES);
        look_ahead(next, pairs, i, sizeof *x);
#pragma GCC unroll 8
        for (int j = 0; j < STRIP; j++) {
            const __m512bh both = (__m512bh)_mm512_set1_epi32(w[j][i]);
            for (int c = 0; c < count; c++) sums[j][c] = _mm512_dpbf16_ps(sums[j][c], y[c], both);
        }
    }
    for (int j = 0; j < STRIP; j++)
        for (int c = 0; c < count; c++) _mm512_storeu_ps(found[j] + c * LANES, sums[j][c]);
}

/* Many rows by bfloat16: x holds two inputs of a row side by side, (inputs / 2, n rounded up to LANES, 2). */
static void product_pairs(const Linear *m, const uint32_t *x, float *out, int64_t n, int64_t first, int64_t last) {
    const int64_t wide = rounded_up(n, LANES), pairs = m->inputs / 2;
    for (int64_t o = first; o < last; o += STRIP) {
        const uint32_t *w[STRIP], *weight = m->weight;
        for (int64_t j = 0; j < STRIP; j++) w[j] = weight + (o + j < last ? o + j : last - 1) * pairs;
        const char *next = (const char *)(weight + (o + STRIP) * pairs);
        for (int64_t row = 0; row < n; row += 2 * LANES, next = 0) {
            float found[STRIP][2 * LANES];
            if (row + LANES < n) add_pairs(w, x + row, pairs, wide, found, 2, next);
            else add_pairs(w, x + row, pairs, wide, found, 1, next);
            for (int64_t r = 0; r < 2 * LANES && row + r < n; r++)
                for (int64_t j = 0; j < STRIP && o + j < last; j++)
                    out[(row + r) * m->outputs + o + j] = m->bias ? found[j][r] + m->bias[o + j] : found[j][r];
        }
    }
}
#else
static void product_pairs(const Linear *m, const uint32_t *x, float *out, int64_t n, int64_t first, int64_t last) {}
#endif

/* Inputs `first` to `last` of n rows x, `stride` apart, are laid in room: a few rounded, many side by side, (inputs, n
   rounded up to LANES), or as pairs of bfloat16. What bfloat16 multiplies is bfloat16 too. */
static void lay(const Linear *m, const float *x, int64_t stride, int64_t n, float *room, int64_t first, int64_t last) {
    const int64_t wide = rounded_up(n, LANES);
    for (int64_t row = 0; row < n; row++, x += stride)
        if (n <= FEW)
            for (int64_t i = first; i < last; i++)
                ((Rounded *)room)[row * m->inputs + i] = PAIRS ? to_half(x[i]) : to_float(to_half(x[i]));
        else if (in_pairs(m))
            for (int64_t i = first / 2; i < last / 2; i++)
                ((uint32_t *)room)[i * wide + row] = to_half(x[2 * i]) | (uint32_t)to_half(x[2 * i + 1]) << 16;
        else
            for (int64_t i = first; i < last; i++)
                room[i * wide + row] = m->kind == BFLOAT16 ? to_float(to_half(x[i])) : x[i];
}

int64_t room_of(const Linear *m, int64_t n, int64_t threads) {
    return m->inputs * (n > FEW ? rounded_up(n, LANES) + STRIP * threads : n);
}

void multiply(const Linear *m, const float *x, int64_t stride, float *out, int64_t n, float *room, int64_t part,
                     int64_t threads) {
    const Stretch outputs = stretch_of(m->outputs, STRIP, part, threads);
    const int64_t first = outputs.first, last = outputs.last;
#pragma omp barrier
    if (n > FEW || m->kind == BFLOAT16) {
        const Stretch inputs = stretch_of(m->inputs, STRIP, part, threads);
        lay(m, x, stride, n, room, inputs.first, inputs.last);
#pragma omp barrier
    }
    if (n > FEW && in_pairs(m)) product_pairs(m, (const uint32_t *)room, out, n, first, last);
    else if (n > FEW)
        product_many(m, room, out, n, first, last, room + m->inputs * (rounded_up(n, LANES) + STRIP * part));
    else if (m->kind == FLOAT32) product_float32(m, x, stride, out, n, first, last);
    else if (m->kind == INT8) product_int8(m, x, stride, out, n, first, last);
    else product_bfloat16(m, (const Rounded *)room, m->inputs, out, n, first, last);
#pragma omp barrier
}
