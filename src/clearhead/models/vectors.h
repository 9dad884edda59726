/* Numbers side by side in a register, LANES of them; the kinds of numbers, and the exponential.
 *
 * GCC's vectors, and where it has no good instruction for one, the processor's own.
 */
#ifndef VECTORS_H
#define VECTORS_H
#include <math.h>
#include <stdint.h>
#include <string.h>
#if defined(__AVX2__)
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))

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
#if defined(__AVX512BF16__)
enum { PAIRS = 1 }; /* one instruction multiplies two neighbours by two, and adds both up */
typedef uint16_t Rounded;
#else
enum { PAIRS = 0 };
typedef float Rounded;
#endif
typedef float Lanes __attribute__((vector_size(4 * LANES), aligned(4)));

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

/* LANES numbers of a kind as float32. */
INLINE Lanes lanes_float32(const float *from) { return *(const Lanes *)from; }
#if defined(__AVX512F__)
INLINE Lanes lanes_int8(const int8_t *from) {
    return (Lanes)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)from)));
}
INLINE Lanes lanes_bfloat16(const uint16_t *from) {
    return (Lanes)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)from)), 16);
}
#elif defined(__AVX2__)
INLINE Lanes lanes_int8(const int8_t *from) {
    return (Lanes)_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)from)));
}
INLINE Lanes lanes_bfloat16(const uint16_t *from) {
    return (Lanes)_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)from)), 16);
}
#else
typedef int8_t Bytes __attribute__((vector_size(LANES), aligned(1)));
typedef uint16_t Halves __attribute__((vector_size(2 * LANES), aligned(2)));
typedef uint32_t Bits __attribute__((vector_size(4 * LANES), aligned(4)));
INLINE Lanes lanes_int8(const int8_t *from) { return __builtin_convertvector(*(const Bytes *)from, Lanes); }
INLINE Lanes lanes_bfloat16(const uint16_t *from) {
    return (Lanes)(__builtin_convertvector(*(const Halves *)from, Bits) << 16);
}
#endif
INLINE float same(float value) { return value; }
INLINE float of_rounded(Rounded value) { return PAIRS ? to_float(value) : value; }
INLINE float sum_of(Lanes sums) {
    float sum = 0;
    for (int j = 0; j < LANES; j++) sum += sums[j];
    return sum;
}
#endif
