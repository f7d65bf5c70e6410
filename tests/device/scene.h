// scene.h: sequences in a cache on a device, their attention by the definition, and in one step.
#ifndef FG_TESTS_DEVICE_SCENE_H
#define FG_TESTS_DEVICE_SCENE_H

#include <math.h>

#include "rig.h"

static inline void assert_near(double got, double want, double bound) {
  if (!(fabs(got - want) <= bound)) fail_msg("%.9g, not %.9g", got, want);
}

// Three sequences in one step: a decoding one, a chunk in the middle of a prompt, a whole short prompt.
enum { HEADS = 6, KV_HEADS = 2, K_DIM = 16, V_DIM = 16, PAGE = 16, SEQUENCES = 3, TABLE = 8, LENGTH = 100 };
static const int32_t begins[SEQUENCES] = {90, 33, 0}, ends[SEQUENCES] = {91, 100, 9};
// Where attention may be sparse: the second one's answer is computed again.
static const int32_t prompts[SEQUENCES] = {40, 70, 9};

typedef struct scene {
  float *q[SEQUENCES], *k[SEQUENCES], *v[SEQUENCES]; // [LENGTH, heads * dim]
  int32_t tables[SEQUENCES][TABLE];
  fg_memory *cache, *tables_memory;
  fg_kv_geometry kv;
  double sparsity;
  bool rotated;
  uint32_t cut; // attention in two calls, the keys before it first; 0: in one
} scene;

static inline void store_tokens(rig *r, const scene *s, int sequence, int32_t begin, int32_t end) {
  int32_t slots[LENGTH], count = end - begin;
  for (int32_t i = 0; i < count; i++)
    slots[i] = s->tables[sequence][(begin + i) / PAGE] * PAGE + (begin + i) % PAGE;
  fg_memory *k = put(r, s->k[sequence] + begin * KV_HEADS * K_DIM, (uint64_t)count * KV_HEADS * K_DIM * 4);
  fg_memory *v = put(r, s->v[sequence] + begin * KV_HEADS * V_DIM, (uint64_t)count * KV_HEADS * V_DIM * 4);
  fg_memory *m = put(r, slots, (uint64_t)count * 4);
  fg_call call = {.op = FG_OP_KV_STORE, .rows = (uint32_t)count, .a = view_of(k, KV_HEADS * K_DIM)};
  call.b = view_of(v, KV_HEADS * V_DIM);
  call.out = view_of(s->cache, 0);
  call.batch = (fg_batch_view){.tokens = (uint32_t)count, .slots = view_of(m, 1)};
  call.params.kv_store.kv = s->kv;
  call.params.kv_store.rotated = s->rotated;
  run_call(r, &call);
  drop_memory(r, k), drop_memory(r, v), drop_memory(r, m);
}

static inline scene make_scene(rig *r, bool rotated) {
  scene s = {.rotated = rotated, .kv = {KV_HEADS, K_DIM, V_DIM, PAGE, FG_F32, false, 0}};
  uint64_t state = 6;
  for (int i = 0; i < SEQUENCES; i++) {
    s.q[i] = random_floats(&state, LENGTH * HEADS * K_DIM);
    s.k[i] = random_floats(&state, LENGTH * KV_HEADS * K_DIM);
    s.v[i] = random_floats(&state, LENGTH * KV_HEADS * V_DIM);
    for (int j = 0; j < LENGTH * HEADS * K_DIM; j++) s.q[i][j] *= 5;
    for (int j = 0; j < TABLE; j++) s.tables[i][j] = j * SEQUENCES + (i * 2 + j) % SEQUENCES;
  }
  s.cache = make_memory(r, SEQUENCES * TABLE * fg_kv_page_bytes(&s.kv));
  s.tables_memory = put(r, s.tables, sizeof s.tables);
  for (int i = 0; i < SEQUENCES; i++) {
    if (begins[i]) store_tokens(r, &s, i, 0, begins[i]);
    store_tokens(r, &s, i, begins[i], ends[i]);
  }
  return s;
}

static inline void drop_scene(rig *r, scene *s) {
  drop_memory(r, s->cache), drop_memory(r, s->tables_memory);
  for (int i = 0; i < SEQUENCES; i++) free(s->q[i]), free(s->k[i]), free(s->v[i]);
}

static inline double naive(const scene *s, int sequence, int position, int head, int column, int window) {
  int first = window && position + 1 > window ? position + 1 - window : 0,
      kv_head = head / (HEADS / KV_HEADS);
  double sum = 0, out = 0, weights[LENGTH];
  for (int j = first; j <= position; j++) {
    double score = 0;
    for (int c = 0; c < K_DIM; c++)
      score += (double)s->q[sequence][(position * HEADS + head) * K_DIM + c] *
               s->k[sequence][(j * KV_HEADS + kv_head) * K_DIM + c];
    sum += weights[j] = exp(score * 0.25);
  }
  for (int j = first; j <= position; j++) {
    int heavier = 0; // old keys that come before this one
    for (int i = first; i < position; i++)
      heavier += weights[i] > weights[j] || (weights[i] == weights[j] && i < j);
    bool sparse = s->sparsity > 0 && position >= prompts[sequence];
    if (sparse && j < position && heavier >= (int)(s->sparsity * (position - first))) continue;
    out += weights[j] / sum * s->v[sequence][(j * KV_HEADS + kv_head) * V_DIM + column];
  }
  return out;
}

// The step's rows in order of sequences; out [rows, HEADS * V_DIM].
static inline uint32_t attend(rig *r, const scene *s, uint32_t window, float *out) {
  float q[LENGTH * HEADS * K_DIM];
  int32_t chunks[SEQUENCES][4], rows = 0;
  for (int i = 0; i < SEQUENCES; i++) {
    int32_t count = ends[i] - begins[i], chunk[] = {rows, count, begins[i], i};
    memcpy(chunks[i], chunk, sizeof chunk);
    memcpy(q + rows * HEADS * K_DIM, s->q[i] + begins[i] * HEADS * K_DIM, (size_t)count * HEADS * K_DIM * 4);
    rows += count;
  }
  fg_memory *mq = put(r, q, (uint64_t)rows * HEADS * K_DIM * 4), *mc = put(r, chunks, sizeof chunks);
  fg_memory *mo = make_memory(r, (uint64_t)rows * HEADS * V_DIM * 4), *mp = put(r, prompts, sizeof prompts);
  fg_memory *ms = make_memory(r, (uint64_t)rows * HEADS * 2 * 4);
  fg_call call = {.op = FG_OP_ATTENTION, .rows = (uint32_t)rows, .a = view_of(mq, HEADS * K_DIM)};
  call.b = view_of(s->cache, 0);
  call.out = view_of(mo, HEADS * V_DIM);
  call.batch = (fg_batch_view){.tokens = (uint32_t)rows, .chunks = SEQUENCES, .max_context = LENGTH};
  call.batch.chunk_list = view_of(mc, 4);
  call.batch.page_tables = view_of(s->tables_memory, TABLE);
  call.params.attention.kv = s->kv;
  call.params.attention.heads = HEADS;
  call.params.attention.scale = 0.25f;
  call.params.attention.window = window;
  call.params.attention.sparsity = s->sparsity;
  call.params.attention.rotated = s->rotated;
  call.batch.prompts = view_of(mp, 1);
  call.state = view_of(ms, 2 * HEADS);
  if (s->cut) {
    call.params.attention.segment = (fg_key_segment){0, s->cut, false, true};
    run_call(r, &call);
    call.params.attention.segment = (fg_key_segment){s->cut, 0, true, false};
  }
  run_call(r, &call);
  take(r, mo, out, (uint64_t)rows * HEADS * V_DIM * 4);
  drop_memory(r, ms), drop_memory(r, mq), drop_memory(r, mc), drop_memory(r, mp);
  return (uint32_t)rows;
}

#endif
