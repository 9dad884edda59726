/* One head of one row: q (size) over k, v (count, size) -> out (size), by way of scores (count, whole LANES). The next
   head's k and v, `apart` numbers behind, are asked for meanwhile. */
#include "numbers.h"

void attend_float32(const float *q, const float *k, const float *v, float *out, float *scores, int64_t count,
                    int64_t size, int64_t apart);
void attend_bfloat16(const float *q, const uint16_t *k, const uint16_t *v, float *out, float *scores, int64_t count,
                     int64_t size, int64_t apart);
