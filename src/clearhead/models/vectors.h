/* LANES numbers in a register: GCC's vectors, and where it has no good instruction for one, the processor's own. */
#include "numbers.h"
#if defined(__AVX2__)
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))

#if defined(__AVX512BF16__)
enum { PAIRS = 1 }; /* one instruction multiplies two neighbours by two, and adds both up */
typedef uint16_t Rounded;
#else
enum { PAIRS = 0 };
typedef float Rounded;
#endif
typedef float Lanes __attribute__((vector_size(4 * LANES), aligned(4)));

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
