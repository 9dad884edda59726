/* n tokens through a GPT, the next of as many rows or of one: the arithmetic of models/gpt.py, and nothing around it.
 *
 * Compiled at first use where there is a C compiler (models/gpt_compiled.py, which describes the structures);
 * models/gpt_decoding.py does the same by numpy. The caller checks what can be wrong: here nothing is.
 */
#include "attending.h"
#include "products.h"
#if defined(_OPENMP)
#include <omp.h>
#else
static int omp_get_thread_num(void) { return 0; }
static int omp_get_num_threads(void) { return 1; }
#endif

enum { NO_NORM, LAYERNORM, RMSNORM };
enum { SMALL = 1 << 19 }; /* products of the widest matrix: threads that wait for each other take as long */
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

/* One token's queries, keys and values qkv (3, heads, size) are placed: normed and turned as of position `at`, and its
   keys and values put where the slot keeps them. */
static void place(const Model *model, const Layer *layer, float *qkv, int64_t slot, int64_t at) {
    const int64_t size = model->size;
    for (int64_t h = 0; h < model->heads; h++) {
        float *q = qkv + h * size, *k = q + model->width, *v = k + model->width;
        const int64_t begin = ((slot * model->heads + h) * model->room + at) * size;
        if (layer->norm_q.kind) norm(&layer->norm_q, q, q, size), norm(&layer->norm_k, k, k, size);
        if (model->cos) turn(model, q, at), turn(model, k, at);
        if (model->kept == BFLOAT16) {
            uint16_t *keys = (uint16_t *)layer->k + begin, *values = (uint16_t *)layer->v + begin;
            for (int64_t i = 0; i < size; i++) keys[i] = to_half(k[i]), values[i] = to_half(v[i]);
        } else {
            memcpy((float *)layer->k + begin, k, size * sizeof *k);
            memcpy((float *)layer->v + begin, v, size * sizeof *v);
        }
    }
}

/* All heads of one token with queries q (heads, size) -> out (heads, size), over the `count` first of its slot. */
static void attend(const Model *model, const Layer *layer, const float *q, int64_t slot, int64_t count, float *out,
                   float *scores) {
    const int64_t size = model->size, apart = model->room * size;
    for (int64_t h = 0; h < model->heads; h++) {
        const int64_t begin = (slot * model->heads + h) * apart, own = h * size;
        if (model->kept == BFLOAT16)
            attend_bfloat16(q + own, (uint16_t *)layer->k + begin, (uint16_t *)layer->v + begin, out + own, scores,
                            count, size, apart);
        else
            attend_float32(q + own, (float *)layer->k + begin, (float *)layer->v + begin, out + own, scores,
                           count, size, apart);
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
    const int64_t scores = model->threads * rounded_up(model->room, LANES);
    return n * (5 * model->width + up->outputs) + scores + (most > other ? most : other);
}

/* What one of the threads does of a step: its share of the rows, and of every matrix. In room: x, y (n, width), qkv (n,
 * 3 width), hidden (n, up->outputs), scores of each thread (S, whole LANES), and what `multiply` reads. */
static void share(const Model *model, const int64_t *ids, const int64_t *slots, const int64_t *at, int64_t n,
                  float *logits, float *room, int64_t part, int64_t threads) {
    const int64_t C = model->width, wide = model->layer->up.outputs, longest = rounded_up(model->room, LANES);
    float *x = room, *y = x + n * C, *qkv = y + n * C, *hidden = qkv + 3 * n * C, *scores = hidden + n * wide;
    float *laid = scores + model->threads * longest;
    const Stretch rows = stretch_of(n, 1, part, threads);
    const int64_t first = rows.first, last = rows.last;
    for (int64_t row = first; row < last; row++)
        for (int64_t i = 0; i < C; i++)
            x[row * C + i] = model->tokens[ids[row] * C + i] +
                             (model->positions ? model->positions[at[row] * C + i] : 0);
    for (int64_t l = 0; l < model->layers; l++) {
        const Layer *layer = model->layer + l;
        for (int64_t row = first; row < last; row++) norm(&layer->norm1, x + row * C, y + row * C, C);
        multiply(&layer->qkv, y, C, qkv, n, laid, part, threads);
        for (int64_t row = first; row < last; row++) place(model, layer, qkv + 3 * row * C, slots[row], at[row]);
#pragma omp barrier
        for (int64_t row = first; row < last; row++)
            attend(model, layer, qkv + 3 * row * C, slots[row], at[row] + 1, y + row * C, scores + part * longest);
        multiply(&layer->proj, y, C, qkv, n, laid, part, threads);
        for (int64_t row = first; row < last; row++) {
            for (int64_t i = 0; i < C; i++) x[row * C + i] += qkv[row * C + i];
            norm(&layer->norm2, x + row * C, y + row * C, C);
        }
        multiply(&layer->up, y, C, hidden, n, laid, part, threads);
        for (int64_t row = first; row < last; row++) activate(hidden + row * wide, wide, model->activation);
        multiply(&layer->down, hidden, wide, qkv, n, laid, part, threads);
        for (int64_t row = first; row < last; row++)
            for (int64_t i = 0; i < C; i++) x[row * C + i] += qkv[row * C + i];
    }
    for (int64_t row = first; row < last; row++) norm(&model->norm, x + row * C, y + row * C, C);
    multiply(&model->head, y, C, logits, n, laid, part, threads);
}

/* Tokens ids (n), each the next of its slot at its position: slots, at (n) -> logits (n, V). Several of one slot see
 * those before them. Few rows of a small model are one thread's. */
void step(const Model *model, const int64_t *ids, const int64_t *slots, const int64_t *at, int64_t n, float *logits,
          float *room) {
    const Linear *up = &model->layer->up;
    const int alone = n * up->inputs * up->outputs < SMALL;
#pragma omp parallel num_threads(model->threads) if (model->threads > 1 && !alone)
    share(model, ids, slots, at, n, logits, room, omp_get_thread_num(), omp_get_num_threads());
}
