/* Attention of one head of one row, over keys and values in float32 or bfloat16. It waits for the memory alone. */
#include "attending.h"
#include "vectors.h"

enum { BESIDE = 4 }; /* positions at a time: their sums do not wait for each other */

/* Scores (count) become e^(score - the greatest); returns their sum. There is room for whole LANES. */
static float soften(float *scores, int64_t count) {
    const int64_t end = rounded_up(count, LANES);
    float tops[LANES], most = -INFINITY, total = 0;
    for (int64_t t = count; t < end; t++) scores[t] = -INFINITY;
    for (int j = 0; j < LANES; j++) tops[j] = -INFINITY;
    for (int64_t t = 0; t < end; t += LANES)
        for (int j = 0; j < LANES; j++) tops[j] = scores[t + j] > tops[j] ? scores[t + j] : tops[j];
    for (int j = 0; j < LANES; j++) most = tops[j] > most ? tops[j] : most;
    for (int64_t t = 0; t < count; t++) total += scores[t] = exponential(scores[t] - most);
    return total;
}

#define ATTEND(KIND, TYPE, VALUE)                                                                                   \
    INLINE void score_##KIND(const float *q, const TYPE *k, float *scores, int64_t count, int64_t size,             \
                             const char *next_k, const char *next_v) {                                              \
        const float scale = 1 / sqrtf(size);                                                                        \
        for (int64_t t = 0; t < count; t += BESIDE) {                                                               \
            const int64_t begin = t * size * sizeof *k, end = begin + BESIDE * size * sizeof *k;                    \
            for (int64_t at = begin; at < end; at += LINE)                                                          \
                __builtin_prefetch(next_k + at), __builtin_prefetch(next_v + at);                                   \
            const TYPE *keys[BESIDE]; /* beyond the last that one again */                                          \
            for (int p = 0; p < BESIDE; p++) keys[p] = k + (t + p < count ? t + p : count - 1) * size;              \
            Lanes sums[BESIDE] = {0};                                                                               \
            int64_t i = 0;                                                                                          \
            for (; i + LANES <= size; i += LANES)                                                                   \
                for (int p = 0; p < BESIDE; p++) sums[p] += lanes_float32(q + i) * lanes_##KIND(keys[p] + i);       \
            for (int p = 0; p < BESIDE && t + p < count; p++) {                                                     \
                float sum = sum_of(sums[p]);                                                                        \
                for (int64_t j = i; j < size; j++) sum += q[j] * VALUE(keys[p][j]);                                 \
                scores[t + p] = sum * scale;                                                                        \
            }                                                                                                       \
        }                                                                                                           \
    }                                                                                                               \
    /* `wide` registers of the values, each weighed by its score, times `by`. */                                    \
    INLINE void blend_##KIND(const TYPE *v, const float *scores, float *out, int64_t count, int64_t size, int wide, \
                             float by) {                                                                            \
        Lanes sums[BESIDE][4] = {0};                                                                                \
        int64_t t = 0;                                                                                              \
        for (; t + BESIDE <= count; t += BESIDE)                                                                    \
            for (int p = 0; p < BESIDE; p++)                                                                        \
                for (int c = 0; c < wide; c++)                                                                      \
                    sums[p][c] += scores[t + p] * lanes_##KIND(v + (t + p) * size + c * LANES);                     \
        for (; t < count; t++)                                                                                      \
            for (int c = 0; c < wide; c++) sums[0][c] += scores[t] * lanes_##KIND(v + t * size + c * LANES);        \
        for (int c = 0; c < wide; c++) {                                                                            \
            for (int p = 1; p < BESIDE; p++) sums[0][c] += sums[p][c];                                              \
            *(Lanes *)(out + c * LANES) = sums[0][c] * by;                                                          \
        }                                                                                                           \
    }                                                                                                               \
    INLINE void head_##KIND(const float *q, const TYPE *k, const TYPE *v, float *out, float *scores, int64_t count, \
                            int64_t size, int64_t apart) {                                                          \
        score_##KIND(q, k, scores, count, size, (const char *)(k + apart), (const char *)(v + apart));              \
        const float by = 1 / soften(scores, count);                                                                 \
        int64_t i = 0;                                                                                              \
        for (; i + 4 * LANES <= size; i += 4 * LANES) blend_##KIND(v + i, scores, out + i, count, size, 4, by);     \
        for (; i + 2 * LANES <= size; i += 2 * LANES) blend_##KIND(v + i, scores, out + i, count, size, 2, by);     \
        for (; i + LANES <= size; i += LANES) blend_##KIND(v + i, scores, out + i, count, size, 1, by);             \
        for (; i < size; i++) {                                                                                     \
            float sum = 0;                                                                                          \
            for (int64_t t = 0; t < count; t++) sum += scores[t] * VALUE(v[t * size + i]);                          \
            out[i] = sum * by;                                                                                      \
        }                                                                                                           \
    }                                                                                                               \
    void attend_##KIND(const float *q, const TYPE *k, const TYPE *v, float *out, float *scores,              \
                              int64_t count, int64_t size, int64_t apart) {                                         \
        if (size == 64) head_##KIND(q, k, v, out, scores, count, 64, apart); /* known when compiled */              \
        else if (size == 32) head_##KIND(q, k, v, out, scores, count, 32, apart);                                   \
        else head_##KIND(q, k, v, out, scores, count, size, apart);                                                 \
    }
ATTEND(float32, float, same)
ATTEND(bfloat16, uint16_t, to_float)
