/* The kinds of numbers, how many lie side by side in a register, and the exponential. */
#ifndef NUMBERS_H
#define NUMBERS_H
#include <math.h>
#include <stdint.h>
#include <string.h>

enum { FLOAT32, INT8, BFLOAT16 };
static const int64_t BYTES[] = {4, 1, 2}; /* of a number of each kind */
enum { LINE = 64 };                       /* bytes of a cache line */

#if defined(__AVX512F__)
enum { LANES = 16 };
#elif defined(__AVX__)
enum { LANES = 8 };
#else
enum { LANES = 4 };
#endif

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

/* e^x within a share of 5e-7, for x from -87 to 88 and beyond as there: 2^k e^r with |r| <= log(2) / 2, whose series
   ends after r^6. */
static inline float exponential(float x) {
    x = x < -87 ? -87 : x > 88 ? 88 : x;
    const float k = rintf(x * 1.44269504f), r = x - k * 0.693145752f - k * 1.42860677e-6f;
    const float tail = 0.5f + r * (0.166666667f + r * (0.0416666667f + r * (0.00833333333f + r * 0.00138888889f)));
    const int32_t bits = ((int32_t)k + 127) << 23;
    float power;
    memcpy(&power, &bits, sizeof power);
    return power * (1 + r + r * r * tail);
}
#endif
