/* What a mixture adds to its GPT's step, for each of n rows: the n-gram's row and the gate between both.
 *
 * The arithmetic of models/ngram.py, kneser_ney.py and mixture.py; models/mixture_decoding.py describes the structures.
 */
#include <math.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    const int64_t *keys;                       /* ascending: the context's id times V, plus the last token */
    const int32_t *raw, *continuation, *starts; /* starts: of each context's n-grams, and one more */
    double top[4], lower[4];                   /* discounts of raw and of continuation counts */
} Level;

typedef struct {
    int64_t order, vocab, eot; /* eot is -1 where there is none */
    const Level *level;        /* (order) */
    const double *floor;       /* (V) the lowest order */
    const float *gate;         /* (6) */
} Mixture;

/* The id of the n-gram of a level that continues a context; -1 when it was never seen. */
static int64_t find(const Level *level, int64_t context, int64_t token, int64_t vocab) {
    const int64_t key = context * vocab + token;
    int64_t low = level->starts[context], high = level->starts[context + 1];
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        if (level->keys[middle] < key)
            low = middle + 1;
        else
            high = middle;
    }
    return low < level->starts[context + 1] && level->keys[low] == key ? low : -1;
}

/* Probabilities (V) of the order below become those after a context: discounted counts, and what they leave below. */
static void interpolate(double *p, const Level *level, int64_t context, int top, int64_t vocab) {
    const int32_t *counts = top ? level->raw : level->continuation;
    const double *discounts = top ? level->top : level->lower;
    double total = 0, taken = 0;
    for (int64_t i = level->starts[context]; i < level->starts[context + 1]; i++) {
        total += counts[i];
        taken += discounts[counts[i] < 3 ? counts[i] : 3];
    }
    const double kept = total > 0 ? taken / total : 1;
    for (int64_t i = 0; i < vocab; i++) p[i] *= kept;
    for (int64_t i = level->starts[context]; total > 0 && i < level->starts[context + 1]; i++)
        p[level->keys[i] % vocab] += (counts[i] - discounts[counts[i] < 3 ? counts[i] : 3]) / total;
}

/* Probabilities p (V) after the last tokens of a history (order - 1), of which `usable` count; returns how often the
   longest context that was ever followed was seen. */
static int64_t predict(const Mixture *m, const int64_t *history, int64_t usable, double *p) {
    int64_t seen = 0;
    memcpy(p, m->floor, m->vocab * sizeof *p);
    for (int64_t length = 1; length <= usable; length++) {
        int64_t context = 0;
        for (int64_t i = 0; i < length && context >= 0; i++)
            context = find(m->level + i, context, history[m->order - 1 - length + i], m->vocab);
        const Level *level = m->level + length;
        if (context < 0 || level->starts[context] == level->starts[context + 1]) break;
        interpolate(p, level, context, usable == length, m->vocab);
        seen = m->level[length - 1].raw[context];
    }
    return seen;
}

/* Put a token at the end of a history that has been told of `told` tokens; return how many may be looked at. */
static int64_t remember(const Mixture *m, int64_t *history, int64_t told, int64_t token) {
    const int64_t room = m->order - 1;
    if (room == 0) return 0;
    memmove(history, history + 1, (room - 1) * sizeof *history);
    history[room - 1] = token;
    int64_t usable = told + 1 < room ? told + 1 : room;
    for (int64_t back = 1; back < usable; back++)
        if (history[room - back] == m->eot) usable = back;
    return usable;
}

static double log_sigmoid(double x) { return x < 0 ? x - log1p(exp(x)) : -log1p(exp(-x)); }

static double log_sum(double a, double b) {
    const double most = a > b ? a : b;
    return isinf(most) ? most : most + log(exp(a - most) + exp(b - most));
}

/* The GPT's logits (V), before whose token it had read `read`, and the n-gram's probabilities p (V), whose context was
   seen `seen` times, become the mixture's log-probabilities, in logits. */
void weigh(const Mixture *m, float *logits, double *p, int64_t seen, int64_t read) {
    double most = -INFINITY, total = 0, counted = 0, neural = 0, apart = 0;
    for (int64_t i = 0; i < m->vocab; i++) most = logits[i] > most ? logits[i] : most;
    for (int64_t i = 0; i < m->vocab; i++) total += exp(logits[i] - most);
    total = most + log(total);
    for (int64_t i = 0; i < m->vocab; i++) {
        const double log_p = log(p[i]), log_q = logits[i] - total, q = exp(log_q);
        counted -= p[i] * log_p;
        neural -= q * log_q;
        apart += q * (log_q - log_p);
        p[i] = log_p;
    }
    const double known[5] = {read, seen, counted, neural, apart > 0 ? apart : 0};
    double odds = m->gate[0];
    for (int64_t i = 0; i < 5; i++) odds += m->gate[1 + i] * log1p(known[i]);
    const double by_counts = log_sigmoid(odds), by_neurons = log_sigmoid(-odds);
    for (int64_t i = 0; i < m->vocab; i++) logits[i] = log_sum(by_counts + p[i], by_neurons + logits[i] - total);
}

/* ids (n), histories (slots, order - 1) and how many tokens they were told of (n), how many the GPT had read (n);
   logits (n, V) of the GPT become the mixture's. p: room for V numbers. */
void mix(const Mixture *m, const int64_t *ids, int64_t *history, const int64_t *told, const int64_t *read, int64_t n,
         float *logits, double *p) {
    for (int64_t row = 0; row < n; row++) {
        int64_t *own = history + row * (m->order - 1);
        const int64_t usable = remember(m, own, told[row], ids[row]);
        const int64_t seen = predict(m, own, usable, p);
        weigh(m, logits + row * m->vocab, p, seen, read[row]);
    }
}

/* What a random number u draws from probabilities p (V) to the power of `sharpness`; infinite: the likeliest. */
static int64_t pick(const double *p, int64_t vocab, double u, double sharpness) {
    double total = 0, below = 0;
    int64_t best = 0, token = 0;
    for (int64_t i = 1; i < vocab; i++) best = p[i] > p[best] ? i : best;
    if (isinf(sharpness)) return best;
    for (int64_t i = 0; i < vocab; i++) total += sharpness == 1 ? p[i] : pow(p[i] / p[best], sharpness);
    for (; token < vocab - 1; token++) {
        below += sharpness == 1 ? p[token] : pow(p[token] / p[best], sharpness);
        if (below > u * total) break;
    }
    return token;
}

/* What the n-gram alone would draw: after the history (order - 1) that was told of `told` tokens comes ids[0], after
   it n - 1 guesses, put into ids, by the numbers u (n - 1). p (n, V) and seen (n): what it says after each of ids. */
void draft(const Mixture *m, int64_t *ids, int64_t *history, int64_t told, int64_t n, const double *u, double sharpness,
           double *p, int64_t *seen) {
    for (int64_t i = 0; i < n; i++) {
        if (i) ids[i] = pick(p + (i - 1) * m->vocab, m->vocab, u[i - 1], sharpness);
        const int64_t usable = remember(m, history, told + i, ids[i]);
        seen[i] = predict(m, history, usable, p + i * m->vocab);
    }
}
