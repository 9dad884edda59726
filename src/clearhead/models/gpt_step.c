/* One token through a GPT, for each of n rows: the arithmetic of models/gpt.py without anything around it.
 *
 * Compiled at first use where there is a C compiler (models/gpt_compiled.py, which describes the structures);
 * models/gpt_decoding.py does the same by numpy. The caller checks what can be wrong: here nothing is.
 */
#include "products.h"

enum { NO_NORM, LAYERNORM, RMSNORM };
enum { AHEAD = 24 }; /* positions whose keys are on their way */
enum { RELU, RELU2, GELU, GELU_TANH, SWIGLU };

typedef struct {
    const float *weight, *bias; /* (size) or null */
    int64_t kind;
    float eps;
} Norm;

typedef struct {
    Norm norm1, norm_q, norm_k, norm2;
    Linear qkv, proj, up, down;
    void *k, *v; /* (slots, heads, S, head size) */
} Layer;

typedef struct {
    int64_t layers, width, heads, size, room, activation, threads; /* size of a head; room is S */
    int64_t kept;                                                  /* the kind of keys and values */
    const Layer *layer;
    const float *tokens, *positions; /* (V, C), scaled; (S, C) or null */
    const float *cos, *sin;          /* (S, size / 2) or null */
    Norm norm;
    Linear head;
} Model;

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

static inline Lanes lanes_float32(const float *from) { return *(const Lanes *)from; }
static inline Lanes lanes_bfloat16(const uint16_t *from) {
    return (Lanes)(__builtin_convertvector(*(const Halves *)from, Bits) << 16);
}
static inline float same(float value) { return value; }

/* One head of one row: q (size) over k, v (count, size) -> out (size), by way of scores (count). */
#define ATTEND(KIND, TYPE, VALUE)                                                                                   \
    static inline float dot_##KIND(const float *a, const TYPE *b, int64_t size) {                                   \
        Lanes sums = {0};                                                                                           \
        float sum = 0;                                                                                              \
        int64_t i = 0;                                                                                              \
        for (; i + LANES <= size; i += LANES) sums += *(const Lanes *)(a + i) * lanes_##KIND(b + i);                \
        for (int j = 0; j < LANES; j++) sum += sums[j];                                                             \
        for (; i < size; i++) sum += a[i] * VALUE(b[i]);                                                            \
        return sum;                                                                                                 \
    }                                                                                                               \
    static void attend_##KIND(const float *q, const TYPE *k, const TYPE *v, float *out, float *scores,              \
                              int64_t count, int64_t size) {                                                        \
        float most = -INFINITY, total = 0;                                                                          \
        const float scale = 1 / sqrtf(size);                                                                        \
        const int64_t floats = rounded_up(size * sizeof *k, sizeof *q) / sizeof *q;                                 \
        for (int64_t t = 0; t < count; t++) {                                                                       \
            fetch((const float *)(k + (t + AHEAD) * size), floats), fetch((const float *)(v + t * size), floats);   \
            scores[t] = dot_##KIND(q, k + t * size, size) * scale;                                                  \
        }                                                                                                           \
        for (int64_t t = 0; t < count; t++) most = scores[t] > most ? scores[t] : most;                             \
        for (int64_t t = 0; t < count; t++) total += scores[t] = exponential(scores[t] - most);                     \
        int64_t i = 0;                                                                                              \
        for (; i + LANES <= size; i += LANES) {                                                                     \
            Lanes sums = {0};                                                                                       \
            for (int64_t t = 0; t < count; t++) sums += scores[t] * lanes_##KIND(v + t * size + i);                 \
            *(Lanes *)(out + i) = sums / total;                                                                     \
        }                                                                                                           \
        for (; i < size; i++) {                                                                                     \
            float sum = 0;                                                                                          \
            for (int64_t t = 0; t < count; t++) sum += scores[t] * VALUE(v[t * size + i]);                          \
            out[i] = sum / total;                                                                                   \
        }                                                                                                           \
    }
ATTEND(float32, float, same)
ATTEND(bfloat16, uint16_t, to_float)

/* All heads of one row, whose queries, keys and values are qkv (3, heads, size) -> out (heads, size). */
static void heads(const Model *model, const Layer *layer, float *qkv, int64_t row, int64_t at, float *out,
                  float *scores) {
    const int64_t size = model->size, room = model->room * size;
    for (int64_t h = 0; h < model->heads; h++) {
        float *q = qkv + h * size, *k = q + model->width, *v = k + model->width;
        const int64_t begin = (row * model->heads + h) * room;
        if (layer->norm_q.kind) norm(&layer->norm_q, q, q, size), norm(&layer->norm_k, k, k, size);
        if (model->cos) turn(model, q, at), turn(model, k, at);
        if (model->kept == BFLOAT16) {
            uint16_t *keys = (uint16_t *)layer->k + begin, *values = (uint16_t *)layer->v + begin;
            for (int64_t i = 0; i < size; i++)
                keys[at * size + i] = to_half(k[i]), values[at * size + i] = to_half(v[i]);
            attend_bfloat16(q, keys, values, out + h * size, scores, at + 1, size);
        } else {
            float *keys = (float *)layer->k + begin, *values = (float *)layer->v + begin;
            memcpy(keys + at * size, k, size * sizeof *k);
            memcpy(values + at * size, v, size * sizeof *v);
            attend_float32(q, keys, values, out + h * size, scores, at + 1, size);
        }
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
        for (int64_t i = 0; i < size / 2; i++) hidden[i] *= hidden[size / 2 + i] / (1 + exponential(-hidden[i]));
    else
        for (int64_t i = 0; i < size; i++) hidden[i] = bend(hidden[i], activation);
}

/* Floats of room that a step of n rows needs. */
int64_t step_room(const Model *model, int64_t n) {
    const Linear *up = &model->layer->up, *down = &model->layer->down;
    const int64_t most = room_of(up, n, model->threads), other = room_of(down, n, model->threads);
    return n * (5 * model->width + up->outputs) + model->threads * model->room + (most > other ? most : other);
}

/* ids and lengths (n) -> logits (n, V). In room: x, y (n, width), qkv (n, 3 width), hidden (n, up->outputs), scores of
 * each thread (S), and that of `linear`. */
void step(const Model *model, const int64_t *ids, const int64_t *lengths, int64_t n, float *logits, float *room) {
    const int64_t C = model->width, wide = model->layer->up.outputs, narrow = model->layer->down.inputs;
    const int64_t threads = model->threads;
    float *x = room, *y = x + n * C, *qkv = y + n * C, *hidden = qkv + 3 * n * C, *scores = hidden + n * wide;
    float *rest = scores + threads * model->room;
    for (int64_t row = 0; row < n; row++)
        for (int64_t i = 0; i < C; i++)
            x[row * C + i] = model->tokens[ids[row] * C + i] +
                             (model->positions ? model->positions[lengths[row] * C + i] : 0);
    for (int64_t l = 0; l < model->layers; l++) {
        const Layer *layer = model->layer + l;
        for (int64_t row = 0; row < n; row++) norm(&layer->norm1, x + row * C, y + row * C, C);
        linear(&layer->qkv, y, qkv, n, threads, rest);
#pragma omp parallel for num_threads(threads) if (threads > 1 && n >= threads)
        for (int64_t part = 0; part < threads; part++)
            for (int64_t row = part; row < n; row += threads)
                heads(model, layer, qkv + 3 * row * C, row, lengths[row], y + row * C, scores + part * model->room);
        linear(&layer->proj, y, qkv, n, threads, rest);
        for (int64_t i = 0; i < n * C; i++) x[i] += qkv[i];
        for (int64_t row = 0; row < n; row++) norm(&layer->norm2, x + row * C, y + row * C, C);
        linear(&layer->up, y, hidden, n, threads, rest);
        for (int64_t row = 0; row < n; row++) {
            activate(hidden + row * wide, wide, model->activation);
            memmove(hidden + row * narrow, hidden + row * wide, narrow * sizeof *hidden);
        }
        linear(&layer->down, hidden, qkv, n, threads, rest);
        for (int64_t i = 0; i < n * C; i++) x[i] += qkv[i];
    }
    for (int64_t row = 0; row < n; row++) norm(&model->norm, x + row * C, y + row * C, C);
    linear(&model->head, y, logits, n, threads, rest);
}
