/* One token through a GPT, for each of n rows: the arithmetic of models/gpt.py without anything around it.
 *
 * Compiled at first use where there is a C compiler (models/gpt_compiled.py, which describes the structures);
 * models/gpt_decoding.py does the same by numpy. The caller checks what can be wrong: here nothing is.
 */
#include <math.h>
#include <stdint.h>
#include <string.h>

enum { FLOAT32, INT8, BFLOAT16 };
enum { NO_NORM, LAYERNORM, RMSNORM };
enum { RELU, RELU2, GELU, GELU_TANH, SWIGLU };

typedef struct {
    const void *weight; /* (outputs, inputs) */
    const float *scale; /* (outputs), of int8 */
    const float *bias;  /* (outputs) or null */
    int64_t kind, inputs, outputs;
} Linear;

typedef struct {
    const float *weight, *bias; /* (size) or null */
    int64_t kind;
    float eps;
} Norm;

typedef struct {
    Norm norm1, norm_q, norm_k, norm2;
    Linear qkv, proj, up, down;
    float *k, *v; /* (slots, heads, S, head size) */
} Layer;

typedef struct {
    int64_t layers, width, heads, size, room, activation, threads; /* size of a head; room is S */
    const Layer *layer;
    const float *tokens, *positions; /* (V, C), scaled; (S, C) or null */
    const float *cos, *sin;          /* (S, size / 2) or null */
    Norm norm;
    Linear head;
} Model;

static inline float to_float(uint16_t half) {
    uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Four outputs at a time: four sums do not wait for each other, and what is read of x serves them all. */
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
PRODUCT(product_float32, float, (float))
PRODUCT(product_int8, int8_t, (float))
PRODUCT(product_bfloat16, uint16_t, to_float)

/* One row by float32 waits for the memory alone, which one stream of addresses feeds best: 1.3 times as fast as four. */
static void sweep_float32(const Linear *m, const float *x, float *out, int64_t first, int64_t last) {
    for (int64_t o = first; o < last; o++) {
        const float *a = (const float *)m->weight + o * m->inputs;
        float sum = 0;
        for (int64_t i = 0; i < m->inputs; i++) sum += x[i] * a[i];
        out[o] = m->bias ? sum + m->bias[o] : sum;
    }
}

enum { SMALL = 1 << 18 }; /* products of one row, some ten microseconds: waking a thread takes as long */

/* x (n, inputs) -> out (n, outputs); every thread takes a stretch of the outputs, a multiple of four long. */
static void linear(const Linear *m, const float *x, float *out, int64_t n, int64_t threads) {
    if ((n < 8 ? 1 : n / 4) * m->inputs * m->outputs < SMALL) threads = 1; /* one row waits for memory, many do not */
    const int64_t share = (m->outputs + 4 * threads - 1) / (4 * threads) * 4;
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (int64_t part = 0; part < threads; part++) {
        int64_t first = part * share, last = first + share < m->outputs ? first + share : m->outputs;
        if (m->kind == FLOAT32 && n == 1) sweep_float32(m, x, out, first, last);
        if (m->kind == FLOAT32 && n > 1) product_float32(m, x, out, n, first, last);
        if (m->kind == INT8) product_int8(m, x, out, n, first, last);
        if (m->kind == BFLOAT16) product_bfloat16(m, x, out, n, first, last);
    }
}

static void norm(const Norm *m, const float *x, float *out, int64_t size) {
    float mean = 0, square = 0;
    if (m->kind == LAYERNORM) {
        for (int64_t i = 0; i < size; i++) mean += x[i];
        mean /= size;
    }
    for (int64_t i = 0; i < size; i++) square += (x[i] - mean) * (x[i] - mean);
    const float rate = m->kind == NO_NORM ? 1 : 1 / sqrtf(square / size + m->eps);
    for (int64_t i = 0; i < size; i++) {
        float unit = (x[i] - mean) * rate;
        out[i] = (m->weight ? unit * m->weight[i] : unit) + (m->bias ? m->bias[i] : 0);
    }
}

static void turn(const Model *model, float *x, int64_t at) {
    const int64_t half = model->size / 2;
    const float *cos = model->cos + at * half, *sin = model->sin + at * half;
    for (int64_t i = 0; i < half; i++) {
        const float one = x[i], two = x[i + half];
        x[i] = one * cos[i] - two * sin[i];
        x[i + half] = two * cos[i] + one * sin[i];
    }
}

/* One head of one row: q (size) over k, v (count, size) -> out (size), by way of scores (count). */
static void attend(const float *q, const float *k, const float *v, float *out, float *scores, int64_t count,
                   int64_t size) {
    float most = -INFINITY, total = 0;
    const float scale = 1 / sqrtf(size);
    for (int64_t t = 0; t < count; t++) {
        float sum = 0;
        for (int64_t i = 0; i < size; i++) sum += q[i] * k[t * size + i];
        scores[t] = sum * scale;
        most = scores[t] > most ? scores[t] : most;
    }
    for (int64_t t = 0; t < count; t++) total += scores[t] = expf(scores[t] - most);
    memset(out, 0, size * sizeof *out);
    for (int64_t t = 0; t < count; t++) {
        const float wei = scores[t] / total;
        for (int64_t i = 0; i < size; i++) out[i] += wei * v[t * size + i];
    }
}

/* All heads of one row, whose queries, keys and values are qkv (3, heads, size) -> out (heads, size). */
static void heads(const Model *model, const Layer *layer, float *qkv, int64_t row, int64_t at, float *out,
                  float *scores) {
    const int64_t size = model->size, room = model->room * size;
    for (int64_t h = 0; h < model->heads; h++) {
        float *q = qkv + h * size, *k = q + model->width, *v = k + model->width;
        float *keys = layer->k + (row * model->heads + h) * room, *values = layer->v + (row * model->heads + h) * room;
        if (layer->norm_q.kind) norm(&layer->norm_q, q, q, size), norm(&layer->norm_k, k, k, size);
        if (model->cos) turn(model, q, at), turn(model, k, at);
        memcpy(keys + at * size, k, size * sizeof *k);
        memcpy(values + at * size, v, size * sizeof *v);
        attend(q, keys, values, out + h * size, scores, at + 1, size);
    }
}

static float bend(float x, int64_t activation) {
    if (activation == RELU) return x > 0 ? x : 0;
    if (activation == RELU2) return x > 0 ? x * x : 0;
    if (activation == GELU) return 0.5f * x * (1 + erff(x * 0.70710678118654752f));
    return 0.5f * x * (1 + tanhf(0.79788456080286536f * (x + 0.044715f * x * x * x)));
}

/* hidden (up->outputs) -> itself, narrowed by swiglu to half. */
static void activate(float *hidden, int64_t size, int64_t activation) {
    if (activation == SWIGLU)
        for (int64_t i = 0; i < size / 2; i++) hidden[i] *= hidden[size / 2 + i] / (1 + expf(-hidden[i]));
    else
        for (int64_t i = 0; i < size; i++) hidden[i] = bend(hidden[i], activation);
}

/* ids and lengths (n) -> logits (n, V). room for: x, y (n, width), qkv (n, 3 width), hidden (n, up->outputs), scores (S). */
void step(const Model *model, const int64_t *ids, const int64_t *lengths, int64_t n, float *logits, float *scratch) {
    const int64_t C = model->width, wide = model->layer->up.outputs, narrow = model->layer->down.inputs;
    float *x = scratch, *y = x + n * C, *qkv = y + n * C, *hidden = qkv + 3 * n * C, *scores = hidden + n * wide;
    for (int64_t row = 0; row < n; row++)
        for (int64_t i = 0; i < C; i++)
            x[row * C + i] = model->tokens[ids[row] * C + i] +
                             (model->positions ? model->positions[lengths[row] * C + i] : 0);
    for (int64_t l = 0; l < model->layers; l++) {
        const Layer *layer = model->layer + l;
        for (int64_t row = 0; row < n; row++) norm(&layer->norm1, x + row * C, y + row * C, C);
        linear(&layer->qkv, y, qkv, n, model->threads);
        for (int64_t row = 0; row < n; row++)
            heads(model, layer, qkv + 3 * row * C, row, lengths[row], y + row * C, scores);
        linear(&layer->proj, y, qkv, n, model->threads);
        for (int64_t i = 0; i < n * C; i++) x[i] += qkv[i];
        for (int64_t row = 0; row < n; row++) norm(&layer->norm2, x + row * C, y + row * C, C);
        linear(&layer->up, y, hidden, n, model->threads);
        for (int64_t row = 0; row < n; row++) {
            activate(hidden + row * wide, wide, model->activation);
            memmove(hidden + row * narrow, hidden + row * wide, narrow * sizeof *hidden);
        }
        linear(&layer->down, hidden, qkv, n, model->threads);
        for (int64_t i = 0; i < n * C; i++) x[i] += qkv[i];
    }
    for (int64_t row = 0; row < n; row++) norm(&model->norm, x + row * C, y + row * C, C);
    linear(&model->head, y, logits, n, model->threads);
}
