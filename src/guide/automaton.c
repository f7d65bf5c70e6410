#include "guide/automaton.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

enum {
  NO_FRAME = 0,      // the bottom: what returns to it is at the end
  PLACES_MAX = 4096, // of a state
  SLOTS_LEAST = 256,
};

// A node to go on at, and the frame below: that of the call which it is within.
typedef struct frame {
  uint32_t node, below;
  uint32_t depth;
  uint32_t seen; // number of the last closure that met it
} frame;

typedef struct state {
  uint32_t first, count; // its places in `places`
  bool accepts;
} state;

typedef struct table {
  uint32_t *slots; // number of the item + 1; 0 = free
  uint32_t size;
} table;

typedef struct list {
  void *items;
  uint32_t count, capacity;
} list;

struct fg_automaton {
  const fg_grammar *grammar;
  fg_guide_pool *pool;
  list frames;      // of frame
  list states;      // of state
  list places;      // of uint32_t: frames
  list transitions; // of uint32_t: [states, classes]
  list work, found; // of uint32_t: frames still to be followed; places of the state in the making
  table frame_table, state_table;
  uint32_t closure;
  bool accepts; // the state in the making
};

#define ITEMS(list, type) ((type *)(list).items)

// ---- memory --------------------------------------------------------------------------------------------

static fg_status out_of_room(fg_error *err) {
  return fg_fail(err, FG_NO_SPACE, "out of memory for the states of a grammar");
}

// Makes room for `more` items.
static fg_status reserve(fg_automaton *a, list *l, uint32_t more, size_t size, fg_error *err) {
  if (l->count + more <= l->capacity) return FG_OK;
  uint32_t capacity = l->capacity ? l->capacity + l->capacity / 2 : 64;
  if (capacity < l->count + more) capacity = l->count + more;
  const uint64_t bytes = (capacity - l->capacity) * size;
  if (!fg_guide_pool_take(a->pool, bytes)) return out_of_room(err);
  void *grown = realloc(l->items, capacity * size);
  if (!grown) {
    fg_guide_pool_give(a->pool, bytes);
    return out_of_room(err);
  }
  l->items = grown;
  l->capacity = capacity;
  return FG_OK;
}

static fg_status push(fg_automaton *a, list *l, uint32_t value, fg_error *err) {
  const fg_status status = reserve(a, l, 1, sizeof value, err);
  if (status == FG_OK) ITEMS(*l, uint32_t)[l->count++] = value;
  return status;
}

typedef uint64_t hash_of(const fg_automaton *a, uint32_t item);

static fg_status grow_table(fg_automaton *a, table *t, uint32_t count, hash_of *hash, fg_error *err) {
  if (t->size && count < t->size / 2) return FG_OK;
  const uint32_t size = t->size ? t->size * 2 : SLOTS_LEAST;
  const uint64_t bytes = (size - t->size) * sizeof(uint32_t);
  if (!fg_guide_pool_take(a->pool, bytes)) return out_of_room(err);
  uint32_t *slots = calloc(size, sizeof *slots);
  if (!slots) {
    fg_guide_pool_give(a->pool, bytes);
    return out_of_room(err);
  }
  for (uint32_t i = 0; i < count; i++) {
    uint64_t at = hash(a, i);
    while (slots[at & (size - 1)]) at++;
    slots[at & (size - 1)] = i + 1;
  }
  free(t->slots);
  *t = (table){slots, size};
  return FG_OK;
}

// ---- frames and states, each of them once ----------------------------------------------------------------

static uint64_t hash_frame(const fg_automaton *a, uint32_t item) {
  return fg_hash(&ITEMS(a->frames, frame)[item], 2 * sizeof(uint32_t));
}

static uint64_t hash_state(const fg_automaton *a, uint32_t item) {
  const state *s = &ITEMS(a->states, state)[item];
  return fg_hash(ITEMS(a->places, uint32_t) + s->first, s->count * sizeof(uint32_t));
}

static fg_status find_frame(fg_automaton *a, uint32_t node, uint32_t below, uint32_t *out, fg_error *err) {
  fg_status status = grow_table(a, &a->frame_table, a->frames.count, hash_frame, err);
  if (status == FG_OK) status = reserve(a, &a->frames, 1, sizeof(frame), err);
  if (status != FG_OK) return status;
  frame *frames = a->frames.items;
  frames[a->frames.count] =
      (frame){.node = node, .below = below, .depth = below ? frames[below].depth + 1 : 1};
  const uint32_t mask = a->frame_table.size - 1;
  uint64_t at = hash_frame(a, a->frames.count);
  for (; a->frame_table.slots[at & mask]; at++) {
    const uint32_t i = a->frame_table.slots[at & mask] - 1;
    if (frames[i].node != node || frames[i].below != below) continue;
    *out = i;
    return FG_OK;
  }
  a->frame_table.slots[at & mask] = a->frames.count + 1;
  *out = a->frames.count++;
  return FG_OK;
}

static int by_number(const void *x, const void *y) {
  const uint32_t a = *(const uint32_t *)x, b = *(const uint32_t *)y;
  return (a > b) - (a < b);
}

// The state of the places found.
static fg_status find_state(fg_automaton *a, fg_guide_state *out, fg_error *err) {
  const uint32_t count = a->found.count, classes = a->grammar->class_count;
  fg_status status = grow_table(a, &a->state_table, a->states.count, hash_state, err);
  if (status == FG_OK) status = reserve(a, &a->states, 1, sizeof(state), err);
  if (status == FG_OK) status = reserve(a, &a->places, count, sizeof(uint32_t), err);
  if (status == FG_OK) status = reserve(a, &a->transitions, classes, sizeof(uint32_t), err);
  if (status != FG_OK) return status;
  if (count > 1) qsort(a->found.items, count, sizeof(uint32_t), by_number);
  uint32_t *places = ITEMS(a->places, uint32_t);
  if (count) memcpy(places + a->places.count, a->found.items, count * sizeof(uint32_t));
  state *states = a->states.items;
  states[a->states.count] = (state){a->places.count, count, a->accepts};
  const uint32_t mask = a->state_table.size - 1;
  uint64_t at = hash_state(a, a->states.count);
  for (; a->state_table.slots[at & mask]; at++) {
    const uint32_t i = a->state_table.slots[at & mask] - 1;
    const state *s = &states[i];
    if (s->count != count || s->accepts != a->accepts ||
        (count && memcmp(places + s->first, a->found.items, count * sizeof(uint32_t)) != 0))
      continue;
    *out = i;
    return FG_OK;
  }
  a->state_table.slots[at & mask] = a->states.count + 1;
  a->places.count += count;
  memset(ITEMS(a->transitions, uint32_t) + a->transitions.count, 0xff, classes * sizeof(uint32_t));
  a->transitions.count += classes;
  *out = a->states.count++;
  return FG_OK;
}

// ---- what follows without a byte
// ---------------------------------------------------------------------------

// Stands at `node` within `below`: noted, to be followed, if it is new and can come to its end within the
// depth that is left.
static fg_status stand(fg_automaton *a, uint32_t node, uint32_t below, fg_error *err) {
  const fg_grammar_node *n = &a->grammar->nodes[node];
  while (n->kind == FG_NODE_RETURN) {
    if (below == NO_FRAME) {
      a->accepts = true;
      return FG_OK;
    }
    node = ITEMS(a->frames, frame)[below].node;
    below = ITEMS(a->frames, frame)[below].below;
    n = &a->grammar->nodes[node];
  }
  const uint32_t depth = below ? ITEMS(a->frames, frame)[below].depth : 0;
  if (depth + n->height > FG_GRAMMAR_DEPTH_MAX) return FG_OK;
  uint32_t place;
  fg_status status = find_frame(a, node, below, &place, err);
  if (status != FG_OK) return status;
  frame *f = &ITEMS(a->frames, frame)[place];
  if (f->seen == a->closure) return FG_OK;
  f->seen = a->closure;
  return push(a, n->kind == FG_NODE_RANGE ? &a->found : &a->work, place, err);
}

static fg_status follow(fg_automaton *a, fg_error *err) {
  fg_status status = FG_OK;
  while (status == FG_OK && a->work.count) {
    const frame f = ITEMS(a->frames, frame)[ITEMS(a->work, uint32_t)[--a->work.count]];
    const fg_grammar_node *n = &a->grammar->nodes[f.node];
    if (n->kind == FG_NODE_SPLIT) {
      status = stand(a, n->next, f.below, err);
      if (status == FG_OK) status = stand(a, n->other, f.below, err);
      continue;
    }
    // The last call of a rule needs no return to it.
    uint32_t below = f.below;
    if (a->grammar->nodes[n->next].kind != FG_NODE_RETURN)
      status = find_frame(a, n->next, f.below, &below, err);
    if (status == FG_OK) status = stand(a, a->grammar->rules[n->other], below, err);
    if (status == FG_OK && a->found.count + a->work.count > PLACES_MAX)
      status =
          fg_fail(err, FG_UNSUPPORTED, "a grammar that can be read in more than %d ways at once", PLACES_MAX);
  }
  return status;
}

static void begin_closure(fg_automaton *a) {
  a->found.count = a->work.count = 0;
  a->accepts = false;
  a->closure++;
}

// ---- the states
// --------------------------------------------------------------------------------------------

static fg_status start_states(fg_automaton *a, fg_error *err) {
  fg_guide_state dead;
  uint32_t bottom; // takes the number that stands for none
  fg_status status = find_frame(a, UINT32_MAX, NO_FRAME, &bottom, err);
  begin_closure(a);
  if (status == FG_OK) status = find_state(a, &dead, err);
  return status;
}

fg_status fg_automaton_create(fg_automaton **out, const fg_grammar *grammar, fg_guide_pool *pool,
                              fg_error *err) {
  fg_automaton *a = calloc(1, sizeof *a);
  if (!a) return out_of_room(err);
  a->grammar = grammar;
  a->pool = pool;
  *out = a;
  return FG_OK;
}

static void free_list(fg_automaton *a, list *l, size_t size) {
  fg_guide_pool_give(a->pool, l->capacity * size);
  free(l->items);
  *l = (list){0};
}

static void free_table(fg_automaton *a, table *t) {
  fg_guide_pool_give(a->pool, t->size * sizeof *t->slots);
  free(t->slots);
  *t = (table){0};
}

void fg_automaton_forget(fg_automaton *a) {
  list *numbers[] = {&a->places, &a->transitions, &a->work, &a->found};
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) free_list(a, numbers[i], sizeof(uint32_t));
  free_list(a, &a->frames, sizeof(frame));
  free_list(a, &a->states, sizeof(state));
  free_table(a, &a->frame_table);
  free_table(a, &a->state_table);
}

void fg_automaton_destroy(fg_automaton *a) {
  if (!a) return;
  fg_automaton_forget(a);
  free(a);
}

uint32_t fg_automaton_states(const fg_automaton *a) {
  return a->states.count;
}

fg_status fg_automaton_start(fg_automaton *a, fg_guide_state *out, fg_error *err) {
  fg_status status = a->states.count ? FG_OK : start_states(a, err);
  if (status != FG_OK) return status;
  begin_closure(a);
  status = stand(a, a->grammar->start, NO_FRAME, err);
  if (status == FG_OK) status = follow(a, err);
  return status == FG_OK ? find_state(a, out, err) : status;
}

fg_status fg_automaton_step(fg_automaton *a, fg_guide_state from, uint8_t byte, fg_guide_state *out,
                            fg_error *err) {
  const size_t at = (size_t)from * a->grammar->class_count + a->grammar->classes[byte];
  *out = ITEMS(a->transitions, uint32_t)[at];
  if (*out != FG_STATE_NONE) return FG_OK;
  const state s = ITEMS(a->states, state)[from];
  fg_status status = FG_OK;
  begin_closure(a);
  for (uint32_t i = 0; status == FG_OK && i < s.count; i++) {
    const frame f = ITEMS(a->frames, frame)[ITEMS(a->places, uint32_t)[s.first + i]];
    const fg_grammar_node *n = &a->grammar->nodes[f.node];
    if (byte >= n->low && byte <= n->high) status = stand(a, n->next, f.below, err);
  }
  if (status == FG_OK) status = follow(a, err);
  if (status == FG_OK) status = find_state(a, out, err);
  if (status == FG_OK) ITEMS(a->transitions, uint32_t)[at] = *out;
  return status;
}

bool fg_automaton_accepts(const fg_automaton *a, fg_guide_state s) {
  return ITEMS(a->states, state)[s].accepts;
}

fg_status fg_automaton_choices(fg_automaton *a, fg_guide_state s, uint32_t *count, uint8_t *byte,
                               fg_error *err) {
  const fg_grammar *p = a->grammar;
  fg_status status = FG_OK;
  *count = 0;
  for (uint32_t c = 0; status == FG_OK && c < p->class_count && *count < 2; c++) {
    fg_guide_state next;
    status = fg_automaton_step(a, s, p->class_byte[c], &next, err);
    if (status != FG_OK || next == FG_STATE_DEAD) continue;
    *count += p->class_size[c] > 1 ? 2 : 1;
    *byte = p->class_byte[c];
  }
  return status;
}
