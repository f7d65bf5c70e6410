// choose_tmpl.h: the positions of the largest scores, in plain loops that each instruction set compiles for
// itself.
//
// Scores become whole numbers of the same order, so that what is no number has its place too, and the least
// of those to keep is found by halving its range: a pass over the scores for each of at most 32 halvings,
// mostly less than half of them, since a number that exactly as many reach ends the search.
#ifndef FG_KERNELS_CHOOSE_TMPL_H
#define FG_KERNELS_CHOOSE_TMPL_H

#include <stdint.h>
#include <string.h>

// Its own inverse, but for -0, which becomes 0.
static inline int32_t choose_turn(int32_t bits) {
  return bits ^ (bits >> 31 & INT32_MAX);
}

static inline int32_t choose_order(float score) {
  int32_t bits;
  score += 0.0f;
  memcpy(&bits, &score, sizeof bits);
  return choose_turn(bits);
}

static inline int32_t choose_at(const float *orders, uint32_t i) {
  int32_t order;
  memcpy(&order, &orders[i], sizeof order);
  return order;
}

static inline float choose_score(int32_t order) {
  float score;
  int32_t bits = choose_turn(order);
  memcpy(&score, &bits, sizeof score);
  return score;
}

static inline uint32_t choose_reach(const float *orders, uint32_t count, int32_t least) {
  uint32_t reach = 0;
  for (uint32_t i = 0; i < count; i++) reach += choose_at(orders, i) >= least;
  return reach;
}

// The largest number that at least `kept` of `count` reach; 0 < kept <= count.
static inline int32_t choose_least(const float *orders, uint32_t count, uint32_t kept) {
  int32_t least = INT32_MAX, most = INT32_MIN;
  for (uint32_t i = 0; i < count; i++) {
    int32_t order = choose_at(orders, i);
    least = order < least ? order : least;
    most = order > most ? order : most;
  }
  int64_t low = least, high = most;
  while (low < high && kept < count) {
    int64_t middle = low + (high - low + 1) / 2;
    uint32_t reach = choose_reach(orders, count, (int32_t)middle);
    if (reach == kept) return (int32_t)middle;
    if (reach > kept)
      low = middle;
    else
      high = middle - 1;
  }
  return (int32_t)low;
}

// Indices in rising order of what is above `least`, and of what equals it the first `equal`.
static inline void choose_list(const float *orders, uint32_t count, int32_t least, uint32_t equal,
                               uint32_t *chosen) {
  for (uint32_t i = 0, n = 0; i < count; i++) {
    int32_t order = choose_at(orders, i);
    uint32_t ties = (uint32_t)(order == least) & (uint32_t)(equal > 0);
    chosen[n] = i;
    n += (uint32_t)(order > least) | ties;
    equal -= ties;
  }
}

// chosen: [kept + 1], the last a place to write to: indices in rising order of the `kept` largest of `count`
// scores, of equal ones the first, and in weights [kept] their scores. Destroys the scores.
static inline void choose_largest(float *scores, uint32_t count, uint32_t kept, uint32_t *chosen,
                                  float *weights) {
  if (kept == 0) return;
  for (uint32_t i = 0; i < count; i++) {
    int32_t order = choose_order(scores[i]);
    memcpy(&scores[i], &order, sizeof order);
  }
  const int32_t least = choose_least(scores, count, kept);
  if (choose_reach(scores, count, least) == kept) { // as a rule, and with nothing carried from turn to turn
    for (uint32_t i = 0, n = 0; i < count; i++) {
      chosen[n] = i;
      n += choose_at(scores, i) >= least;
    }
  } else {
    const uint32_t above = least < INT32_MAX ? choose_reach(scores, count, least + 1) : 0;
    choose_list(scores, count, least, kept - above, chosen);
  }
  for (uint32_t i = 0; i < kept; i++) weights[i] = choose_score(choose_at(scores, chosen[i]));
}

#endif
