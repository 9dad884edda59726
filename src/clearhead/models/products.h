/* Products of a matrix with one row, a few or many, shared among threads. */
#include "numbers.h"

typedef struct {
    const void *weight; /* (outputs, inputs) */
    const float *scale; /* (outputs), of int8 */
    const float *bias;  /* (outputs) or null */
    int64_t kind, inputs, outputs;
} Linear;

/* The stretch of one of the threads, a multiple of `step` long but for the last. */
typedef struct {
    int64_t first, last;
} Stretch;
static inline Stretch stretch_of(int64_t size, int64_t step, int64_t part, int64_t threads) {
    const int64_t each = rounded_up(rounded_up(size, threads) / threads, step), first = part * each;
    return (Stretch){first, first + each < size ? first + each : size};
}

/* Floats of room that `multiply` needs. */
int64_t room_of(const Linear *m, int64_t n, int64_t threads);

/* The part of one of the threads in n rows x, `stride` apart -> out (n, outputs): a stretch of the inputs to lay, one
   of the outputs to find. They wait for each other before, for x, and after. */
void multiply(const Linear *m, const float *x, int64_t stride, float *out, int64_t n, float *room, int64_t part,
              int64_t threads);
