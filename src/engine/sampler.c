#include "engine/sampler.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static const float GREEDY_BELOW = 1e-5f, LEAST_TEMPERATURE = 0.01f; // vLLM's

struct fg_sampler {
  fg_budget *budget;
  uint32_t vocab;
  void *block;
  float *values;    // [vocab] logits on their way through the steps
  float *weights;   // [vocab] exp(value - largest), 0 = cannot be drawn
  uint32_t *counts; // [vocab] all zero between calls
  uint32_t *order;  // [vocab] ids that a filter is choosing from; also the heap of top_k
};

uint64_t fg_sampler_bytes(uint32_t vocab) {
  return (uint64_t)vocab * 4 * sizeof(float);
}

fg_status fg_sampler_create(fg_sampler **out, uint32_t vocab, fg_budget *budget, fg_error *err) {
  *out = NULL;
  fg_sampler *s = calloc(1, sizeof *s);
  if (!s) return fg_fail(err, FG_NO_SPACE, "no memory for a sampler");
  fg_status status = fg_budget_alloc(budget, fg_sampler_bytes(vocab), "a sampler", &s->block, err);
  if (status != FG_OK) {
    free(s);
    return status;
  }
  s->budget = budget;
  s->vocab = vocab;
  s->values = s->block;
  s->weights = s->values + vocab;
  s->counts = (uint32_t *)(s->weights + vocab);
  s->order = s->counts + vocab;
  *out = s;
  return FG_OK;
}

void fg_sampler_destroy(fg_sampler *s) {
  if (!s) return;
  fg_budget_free(s->budget, s->block);
  free(s);
}

static int32_t largest(const float *values, uint32_t vocab) {
  uint32_t best = 0;
  for (uint32_t i = 1; i < vocab; i++)
    if (values[i] > values[best] || isnan(values[best])) best = i;
  return (int32_t)best;
}

// The same of those that are allowed.
static int32_t largest_allowed(const float *values, const uint64_t *allowed, uint32_t vocab) {
  uint32_t best = vocab;
  for (uint32_t word = 0; word * 64 < vocab; word++)
    for (uint64_t bits = allowed[word]; bits; bits &= bits - 1) {
      const uint32_t i = word * 64 + (uint32_t)__builtin_ctzll(bits);
      if (i < vocab && (best == vocab || values[i] > values[best] || isnan(values[best]))) best = i;
    }
  return (int32_t)best;
}

static int32_t best_of(const float *values, const fg_sampler_input *in, uint32_t vocab) {
  return in->allowed ? largest_allowed(values, in->allowed, vocab) : largest(values, vocab);
}

// ---- what changes the logits ------------------------------------------------------------------------

static bool has_penalties(const fg_sampling *p) {
  return p->repetition_penalty != 1 || p->presence_penalty != 0 || p->frequency_penalty != 0;
}

static bool changes_logits(const fg_sampling *p, uint32_t output_count) {
  return p->bias_count || has_penalties(p) || output_count < p->min_tokens;
}

bool fg_sampler_takes_largest(const fg_sampling *p, uint32_t output_count) {
  return p->temperature < GREEDY_BELOW && !changes_logits(p, output_count);
}

static void mask(float *values, uint32_t vocab, const int32_t *ids, uint32_t count) {
  for (uint32_t i = 0; i < count; i++)
    if (ids[i] >= 0 && (uint32_t)ids[i] < vocab) values[ids[i]] = -INFINITY;
}

// Frequency and presence know the output only, repetition knows the prompt too; each token once.
static void penalize(const fg_sampling *p, float *value, uint32_t count) {
  *value = *value > 0 ? *value / p->repetition_penalty : *value * p->repetition_penalty;
  *value -= p->frequency_penalty * (float)count;
  if (count) *value -= p->presence_penalty;
}

static void apply_penalties(fg_sampler *s, const fg_sampler_input *in) {
  enum { SEEN = 1u << 31 };
  const struct {
    const int32_t *ids;
    uint32_t count;
  } parts[2] = {{in->prompt, in->prompt_count}, {in->output, in->output_count}};
  for (uint32_t i = 0; i < in->prompt_count; i++)
    if ((uint32_t)in->prompt[i] < in->vocab) s->counts[in->prompt[i]] = SEEN;
  for (uint32_t i = 0; i < in->output_count; i++)
    if ((uint32_t)in->output[i] < in->vocab) s->counts[in->output[i]] = (s->counts[in->output[i]] | SEEN) + 1;
  for (int part = 0; part < 2; part++) {
    for (uint32_t i = 0; i < parts[part].count; i++) {
      uint32_t id = (uint32_t)parts[part].ids[i];
      if (id >= in->vocab || !s->counts[id]) continue;
      penalize(in->sampling, &s->values[id], s->counts[id] & ~(uint32_t)SEEN);
      s->counts[id] = 0;
    }
  }
}

static void change_logits(fg_sampler *s, const fg_sampler_input *in) {
  const fg_sampling *p = in->sampling;
  if (in->output_count < p->min_tokens) {
    mask(s->values, in->vocab, in->eos, in->eos_count);
    mask(s->values, in->vocab, p->stop_ids, p->stop_id_count);
  }
  for (uint32_t i = 0; i < p->bias_count; i++)
    if ((uint32_t)p->bias[i].token < in->vocab) s->values[p->bias[i].token] += p->bias[i].bias;
  if (has_penalties(p)) apply_penalties(s, in);
}

static void forbid_others(float *values, const uint64_t *allowed, uint32_t vocab) {
  for (uint32_t first = 0; first < vocab; first += 64) {
    const uint64_t bits = allowed[first / 64];
    for (uint32_t i = first; ~bits && i < first + 64 && i < vocab; i++)
      if (!(bits >> i % 64 & 1)) values[i] = -INFINITY;
  }
}

// ---- what may be drawn -----------------------------------------------------------------------------

// values[token] of the largest `k` that can be drawn, the least of them; -inf when there are no more than k.
static float kth_largest(fg_sampler *s, uint32_t vocab, uint32_t k) {
  float *heap = (float *)s->order; // least on top
  uint32_t size = 0;
  for (uint32_t i = 0; i < vocab; i++) {
    float value = s->values[i];
    if (s->weights[i] == 0 || (size == k && value <= heap[0])) continue;
    uint32_t at;
    if (size < k) {
      for (at = size++; at && value < heap[(at - 1) / 2]; at = (at - 1) / 2) heap[at] = heap[(at - 1) / 2];
    } else {
      uint32_t child;
      for (at = 0; (child = 2 * at + 1) < size; at = child) {
        if (child + 1 < size && heap[child + 1] < heap[child]) child++;
        if (value <= heap[child]) break;
        heap[at] = heap[child];
      }
    }
    heap[at] = value;
  }
  return size == k ? heap[0] : -INFINITY;
}

static void keep_top_k(fg_sampler *s, uint32_t vocab, uint32_t k) {
  float least = kth_largest(s, vocab, k);
  for (uint32_t i = 0; i < vocab; i++)
    if (s->values[i] < least) s->weights[i] = 0;
}

static bool before(const float *values, uint32_t a, uint32_t b) {
  return values[a] > values[b] || (values[a] == values[b] && a < b);
}

// Puts order[begin, end) into those before a pivot, the pivot, and the rest; returns the pivot's place.
static uint32_t partition(uint32_t *order, uint32_t begin, uint32_t end, const float *values) {
  uint32_t middle = begin + (end - begin) / 2, last = end - 1;
  uint32_t places[3] = {begin, middle, last};
  if (before(values, order[places[1]], order[places[0]])) places[0] = middle, places[1] = begin;
  if (before(values, order[places[2]], order[places[1]])) places[1] = last;
  if (before(values, order[places[1]], order[places[0]])) places[1] = places[0];
  uint32_t pivot = order[places[1]], store = begin; // median of three
  order[places[1]] = order[last];
  for (uint32_t i = begin; i < last; i++) {
    if (!before(values, order[i], pivot)) continue;
    uint32_t swap = order[store];
    order[store++] = order[i];
    order[i] = swap;
  }
  order[last] = order[store];
  order[store] = pivot;
  return store;
}

// Keeps a token while the tokens before it weigh less than p of the total, and always the first. The place
// of the cut is found without sorting the row: what is before `begin` stays, what is from `end` on goes.
static void keep_top_p(fg_sampler *s, uint32_t vocab, float p) {
  uint32_t count = 0;
  double total = 0, above = 0;
  for (uint32_t i = 0; i < vocab; i++) {
    if (s->weights[i] == 0) continue;
    s->order[count++] = i;
    total += (double)s->weights[i];
  }
  uint32_t begin = 0, end = count;
  while (begin < end) {
    uint32_t pivot = partition(s->order, begin, end, s->values);
    double sum = above;
    for (uint32_t i = begin; i < pivot; i++) sum += (double)s->weights[s->order[i]];
    if (sum < (double)p * total) {
      above = sum + (double)s->weights[s->order[pivot]];
      begin = pivot + 1;
    } else {
      end = pivot;
    }
  }
  for (uint32_t i = begin ? begin : 1; i < count; i++) s->weights[s->order[i]] = 0;
}

static int32_t draw(const fg_sampler *s, uint32_t vocab, const fg_sampler_input *in) {
  uint32_t words[4], last = 0;
  fg_random(in->sampling->seed, in->sampling->row, in->sampling->sample, in->output_count, words);
  double total = 0, cumulative = 0;
  for (uint32_t i = 0; i < vocab; i++) total += (double)s->weights[i];
  double target = fg_random_uniform(words) * total;
  for (uint32_t i = 0; i < vocab; i++) {
    if (s->weights[i] == 0) continue;
    cumulative += (double)s->weights[i];
    if (cumulative > target) return (int32_t)i;
    last = i;
  }
  return (int32_t)last;
}

int32_t fg_sampler_draw(fg_sampler *s, const fg_sampler_input *in) {
  const fg_sampling *p = in->sampling;
  uint32_t vocab = in->vocab < s->vocab ? in->vocab : s->vocab;
  bool greedy = p->temperature < GREEDY_BELOW;
  if (fg_sampler_takes_largest(p, in->output_count)) return best_of(in->logits, in, vocab);
  memcpy(s->values, in->logits, vocab * sizeof *s->values);
  change_logits(s, in);
  int32_t best = best_of(s->values, in, vocab);
  if (greedy || !isfinite(s->values[best])) return best;

  if (in->allowed) forbid_others(s->values, in->allowed, vocab);
  float temperature = fmaxf(p->temperature, LEAST_TEMPERATURE);
  for (uint32_t i = 0; i < vocab; i++) s->values[i] /= temperature;
  fg_exp_row(s->values, vocab, s->values[best], s->weights);
  for (uint32_t i = 0; i < vocab; i++)
    if (!(s->weights[i] >= p->min_p)) s->weights[i] = 0; // what is not a number goes as well
  if (p->top_k > 0 && (uint32_t)p->top_k < vocab) keep_top_k(s, vocab, (uint32_t)p->top_k);
  if (p->top_p < 1) keep_top_p(s, vocab, p->top_p);
  return draw(s, vocab, in);
}
