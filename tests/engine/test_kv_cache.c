// The KV cache against a model of it: every token leaves a mark in every layer, and whoever attends must find
// the marks of all tokens before it, whichever tier they were on and whoever had their pages before.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../device/rig.h"
#include "engine/kv_cache_internal.h"
#include "engine/scheduler.h"

enum {
  T = 4, // tokens of a page
  LAYERS = 3,
  SEQS = 6,
  LONGEST = 40,
  TABLE = LONGEST / T,
  STEP = 16, // tokens
};

typedef struct sequence {
  uint64_t id; // 0: none
  uint32_t ends, longest;
  uint32_t common; // its first tokens are those of all that have some in common
  int32_t text[LONGEST];
} sequence;

typedef struct world {
  const char *device;
  rig rig;
  fg_program program;
  uint8_t program_of_layer[LAYERS];
  fg_graph graph;
  fg_policy policy;
  fg_kv_cache *kv;
  fg_scheduler *scheduler;
  sequence sequences[4 * SEQS];
  uint64_t ids, random, least_read; // bytes of old pages that were looked at, in all layers
  uint64_t ahead;                   // frames that a step found read
} world;

static void open_world(world *w, const char *device, uint32_t window, fg_policy policy) {
  fg_error err;
  w->device = device;
  w->rig = make_rig(device, 1, FG_COMPUTE_F32);
  w->random = 20240611;
  w->program = (fg_program){.node_count = 2, .nodes = {{.op = FG_OP_KV_STORE}, {.op = FG_OP_ATTENTION}}};
  w->program.nodes[1].params.attention.window = window;
  w->graph = (fg_graph){.layers = LAYERS,
                        .programs = &w->program,
                        .program_count = 1,
                        .program_of_layer = w->program_of_layer,
                        .kv = {.dtype = FG_F32,
                               .kv_heads = 1,
                               .k_dim = 8,
                               .v_dim = 8,
                               .page_tokens = T,
                               .page_align = FG_IO_ALIGN}};
  w->policy = policy;
  w->policy.max_tokens = STEP;
  w->policy.max_seqs = SEQS;
  w->policy.max_len = LONGEST;
  w->policy.pages = policy.device_pages + policy.host_pages + policy.disk_pages;
  w->policy.open_slots = SEQS + 2;
  const fg_kv_cache_options options = {.graph = &w->graph,
                                       .device = w->rig.device,
                                       .host = w->rig.host,
                                       .policy = &w->policy,
                                       .folder = "/tmp",
                                       .backend = FG_IO_AUTO};
  must(fg_kv_cache_create(&w->kv, &options, &err), &err);
  const fg_scheduler_limits limits = {.max_tokens = STEP,
                                      .max_seqs = SEQS,
                                      .pages = w->policy.pages,
                                      .page_tokens = T,
                                      .max_len = LONGEST,
                                      .share = FG_SHARING_AFTER,
                                      .cached_pages = TABLE};
  must(fg_scheduler_create(&w->scheduler, &limits, &err), &err);
}

static void close_world(world *w) {
  fg_scheduler_destroy(w->scheduler);
  fg_kv_cache_destroy(w->kv);
  drop_rig(&w->rig);
}

static uint32_t draw(world *w, uint32_t from, uint32_t to) {
  return from + (uint32_t)(random_u64(&w->random) % (to - from + 1));
}

// A prompt, and where the sequence ends, which only this test knows.
static sequence *submit(world *w, uint32_t prompt, uint32_t ends, uint32_t longest) {
  fg_seq seq;
  fg_error err;
  must(fg_scheduler_add(w->scheduler, prompt, &seq, &err), &err);
  assert_true(seq < 4 * SEQS);
  w->sequences[seq] = (sequence){.id = ++w->ids, .ends = ends, .longest = longest};
  return &w->sequences[seq];
}

// One that has its first `common` tokens in common with others.
static void submit_alike(world *w, uint32_t common, uint32_t prompt, uint32_t ends) {
  sequence *s = submit(w, prompt, ends, LONGEST);
  s->common = common;
  for (uint32_t i = 0; i < LONGEST; i++) s->text[i] = i < common ? (int32_t)i : (int32_t)(1000 * s->id + i);
  const fg_seq_text text = {.tokens = s->text, .most = UINT32_MAX};
  fg_scheduler_share(w->scheduler, (fg_seq)(s - w->sequences), &text);
}

// ---- a step ---------------------------------------------------------------------------------------------

static uint64_t mark_of(const sequence *s, uint32_t layer, uint32_t position) {
  return ((position < s->common ? 0 : s->id) << 16) + ((uint64_t)layer << 8) + position;
}

static uint64_t place_of(const world *w, int32_t layer, int32_t page, uint32_t token) {
  const fg_view view = fg_kv_cache_view(w->kv, layer);
  return view.offset + (uint64_t)page * fg_kv_page_bytes(&w->graph.kv) +
         fg_kv_key_offset(&w->graph.kv, 0, token);
}

static void download(world *w, fg_memory *m, uint64_t offset, void *to, uint64_t bytes) {
  fg_error err;
  fg_device *d = w->rig.device;
  must(d->ops->download(d, FG_QUEUE_COMPUTE, m, offset, to, bytes, &err), &err);
  wait_queue(&w->rig, FG_QUEUE_COMPUTE);
}

// As KV_STORE and ATTENTION do: marks of the chunk's tokens are made, those that its first one sees are read.
static void attend(world *w, const fg_chunk *c, const int32_t *table, uint32_t layer) {
  fg_error err;
  fg_device *d = w->rig.device;
  const sequence *s = &w->sequences[c->seq];
  const uint32_t window = w->program.nodes[1].params.attention.window;
  fg_memory *memory = fg_kv_cache_view(w->kv, (int32_t)layer).memory;
  for (uint32_t p = c->begin; p < c->begin + c->count; p++) {
    const uint64_t mark = mark_of(s, layer, p);
    must(d->ops->upload(d, FG_QUEUE_COMPUTE, memory, place_of(w, (int32_t)layer, table[p / T], p % T), &mark,
                        sizeof mark, &err),
         &err);
    wait_queue(&w->rig, FG_QUEUE_COMPUTE);
  }
  for (uint32_t p = window && c->begin + 1 > window ? c->begin + 1 - window : 0; p < c->begin; p++) {
    uint64_t found;
    download(w, memory, place_of(w, (int32_t)layer, table[p / T], p % T), &found, sizeof found);
    if (found != mark_of(s, layer, p))
      fail_msg("%s: sequence %u, layer %u, position %u of %u: %llx", w->device, (unsigned)s->id, layer, p,
               c->begin, (unsigned long long)found);
  }
}

static void run_batch(world *w, const fg_step *step, uint32_t layer, uint32_t *chunk) {
  fg_kv_batch batch;
  fg_error err;
  int32_t list[FG_FRAME_CHUNKS][4], table[TABLE];
  must(fg_kv_cache_acquire(w->kv, &batch, &err), &err);
  const fg_view *lists = &batch.view.chunk_list, *tables = &batch.view.page_tables;
  download(w, lists->memory, lists->offset, list, batch.view.chunks * sizeof *list);
  for (uint32_t i = 0; i < batch.view.chunks; i++) {
    const fg_chunk *c = &step->chunks[(*chunk)++];
    assert_int_equal(list[i][2], c->begin);
    assert_int_equal(list[i][1], c->count);
    download(w, tables->memory, tables->offset + i * tables->stride * sizeof(int32_t), table, sizeof table);
    attend(w, c, table, layer);
  }
  must(fg_kv_cache_release(w->kv, &err), &err);
}

static void run_whole(world *w, const fg_step *step, uint32_t layer) {
  int32_t table[TABLE];
  for (uint32_t i = 0; i < step->chunk_count; i++) {
    uint32_t count;
    const uint32_t *pages = fg_scheduler_pages(w->scheduler, step->chunks[i].seq, &count);
    for (uint32_t k = 0; k < count; k++) table[k] = (int32_t)fg_kv_cache_slot(w->kv, pages[k]);
    attend(w, &step->chunks[i], table, layer);
  }
}

// Bytes that a step must read for a layer.
static uint64_t old_bytes(const world *w, const fg_step *step) {
  uint64_t pages = 0;
  for (uint32_t i = 0; i < step->chunk_count; i++) {
    const fg_chunk *c = &step->chunks[i];
    uint32_t count, window = w->program.nodes[1].params.attention.window;
    const uint32_t *list = fg_scheduler_pages(w->scheduler, c->seq, &count);
    uint32_t first = window && c->begin + 1 > window ? (c->begin + 1 - window) / T : 0;
    for (uint32_t k = first; k * T < c->begin; k++) {
      const fg_kv_place place = fg_kv_places_of(w->kv->places, list[k]);
      pages += place.home == FG_KV_DISK && place.slot == FG_KV_NO_SLOT;
    }
  }
  return pages * fg_kv_page_bytes(&w->graph.kv);
}

static void put_together(world *w, const fg_step *step) {
  fg_error err;
  fg_kv_cache_drop(w->kv, step->dropped, step->dropped_count);
  for (uint32_t i = 0, row = 0; i < step->chunk_count; row += step->chunks[i++].count) {
    const fg_chunk *c = &step->chunks[i];
    fg_kv_chunk chunk = {.row = row,
                         .begin = c->begin,
                         .count = c->count,
                         .longest = w->sequences[c->seq].longest,
                         .known = fg_scheduler_known(w->scheduler, c->seq)};
    chunk.pages = fg_scheduler_pages(w->scheduler, c->seq, &chunk.page_count);
    must(fg_kv_cache_add(w->kv, &chunk, &err), &err);
  }
}

// False when nothing is left to do.
static bool run_step(world *w) {
  fg_step step;
  fg_error err;
  uint32_t batches;
  fg_scheduler_plan(w->scheduler, &step);
  if (step.chunk_count == 0) return false;
  put_together(w, &step);
  w->least_read += LAYERS * old_bytes(w, &step);
  must(fg_kv_cache_start(w->kv, &batches, &err), &err);
  for (uint32_t i = 0; i < batches && i < w->policy.frames; i++) w->ahead += w->kv->ring[i]->ahead > 0;
  for (uint32_t layer = 0; layer < LAYERS; layer++) {
    uint32_t chunk = 0;
    for (uint32_t b = 0; b < batches; b++) run_batch(w, &step, layer, &chunk);
    if (batches)
      assert_int_equal(chunk, step.chunk_count);
    else
      run_whole(w, &step, layer);
  }
  must(fg_kv_cache_finish(w->kv, &err), &err);
  fg_scheduler_done(w->scheduler, &step);
  fg_scheduler_settle(w->scheduler, &step);
  for (uint32_t i = 0; i < step.chunk_count; i++) {
    const fg_chunk *c = &step.chunks[i];
    if (!c->last) continue;
    if (c->begin + c->count == w->sequences[c->seq].ends)
      fg_scheduler_remove(w->scheduler, c->seq);
    else
      fg_scheduler_append(w->scheduler, c->seq);
  }
  return true;
}

// ---- what holds -----------------------------------------------------------------------------------------

static const fg_policy policies[] = {
    {.disk_pages = 60, .frames = 3, .frame_pages = TABLE},
    {.disk_pages = 60, .frames = 6, .frame_pages = 2 * TABLE},
    {.disk_pages = 25, .frames = 4, .frame_pages = TABLE}, // sequences give way
    {.device_pages = 7, .disk_pages = 50, .frames = 2, .frame_pages = TABLE},
};
static const fg_policy three_tiers = {
    .device_pages = 5, .host_pages = 10, .disk_pages = 40, .frames = 3, .frame_pages = TABLE};

// Takes a page that is full out of the cache, finds its marks there, and puts it back, as it is done with one
// that comes from elsewhere.
static void take_out_and_put_back(world *w, fg_seq seq, uint32_t index, char *spare) {
  fg_error err;
  uint32_t count;
  const uint32_t *pages = fg_scheduler_pages(w->scheduler, seq, &count);
  const uint64_t bytes = fg_kv_cache_kept_bytes(&w->graph.kv);
  char *kept = test_calloc(LAYERS, bytes);
  const fg_kv_move all = {pages[index], 0, LAYERS, spare}, last = {pages[index], LAYERS - 1, 1, spare};
  must(fg_kv_cache_get(w->kv, &all, kept, &err), &err);
  for (uint32_t layer = 0; layer < LAYERS; layer++)
    for (uint32_t t = 0; t < T; t++) {
      uint64_t found;
      memcpy(&found, kept + layer * bytes + fg_kv_key_offset(&w->graph.kv, 0, t), sizeof found);
      assert_int_equal(found, mark_of(&w->sequences[seq], layer, index * T + t));
    }
  must(fg_kv_cache_put(w->kv, &all, kept, &err), &err);
  must(fg_kv_cache_put(w->kv, &last, kept + (LAYERS - 1) * bytes, &err), &err);
  test_free(kept);
}

static void take_pages_out(world *w) {
  char *spare = aligned_alloc(FG_IO_ALIGN, FG_KV_SPARE_PAGES * fg_kv_page_bytes(&w->graph.kv));
  assert_non_null(spare);
  for (fg_seq seq = 0; seq < 4 * SEQS; seq++) {
    uint32_t count;
    const bool runs = w->sequences[seq].id && fg_scheduler_pages(w->scheduler, seq, &count);
    const uint32_t full = runs ? fg_scheduler_computed(w->scheduler, seq) / T : 0;
    if (full) take_out_and_put_back(w, seq, draw(w, 0, full - 1), spare);
  }
  free(spare);
}

static void random_life(const char *device, uint32_t window, fg_policy policy) {
  world w = {0};
  open_world(&w, device, window, policy);
  for (uint32_t i = 0; i < 60; i++) {
    while (fg_scheduler_waiting(w.scheduler) < SEQS) {
      const uint32_t prompt = draw(&w, 1, LONGEST - 2), longest = draw(&w, prompt + 1, LONGEST);
      submit(&w, prompt, draw(&w, prompt, longest - 1), longest);
    }
    assert_true(run_step(&w));
    if (i % 4 == 3) take_pages_out(&w);
  }
  assert_true(w.ahead > 0);
  assert_true(fg_kv_cache_bytes_read(w.kv) >= w.least_read);
  close_world(&w);
}

static void test_every_query_finds_what_was_stored_in_a_life_of_chance(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof policies / sizeof *policies; i++) {
    random_life("cpu", 0, policies[i]);
    random_life("cpu", 9, policies[i]);
    random_life("fake", 0, policies[i]);
  }
  random_life("fake", 0, three_tiers);
  random_life("fake", 9, three_tiers);
}

// Sequences that all go on to their last token.
static void run_to_the_end(world *w, const fg_policy *policy, uint32_t ends) {
  open_world(w, "cpu", 0, *policy);
  for (uint32_t i = 0; i < SEQS; i++) submit(w, 12 + 3 * i % 4, ends, LONGEST);
  while (run_step(w)) {
  }
}

static void test_nothing_is_read_in_vain_while_all_go_on(void **state) {
  (void)state;
  world w = {0};
  run_to_the_end(&w, &policies[1], LONGEST - 1);
  assert_true(w.ahead >= 20); // all steps but those of prompts, and each found some
  assert_int_equal(fg_kv_cache_bytes_read(w.kv), w.least_read);
  close_world(&w);
}

// With pages that are shared, seen by some rows of a batch through a window and by others not any more.
static void alike_life(const char *device, uint32_t window, fg_policy policy) {
  world w = {0};
  open_world(&w, device, window, policy);
  for (uint32_t i = 0; i < 60; i++) {
    while (fg_scheduler_waiting(w.scheduler) < SEQS) {
      const uint32_t common = draw(&w, 0, 1) * draw(&w, 3, 26), prompt = draw(&w, common + 1, LONGEST - 2);
      submit_alike(&w, common, prompt, draw(&w, prompt, LONGEST - 1));
    }
    assert_true(run_step(&w));
  }
  close_world(&w);
}

static void test_every_query_finds_what_is_shared(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof policies / sizeof *policies; i++) {
    for (uint32_t window = 0; window <= 9; window += 3) alike_life("cpu", window, policies[i]);
    alike_life("fake", 6, policies[i]);
  }
  alike_life("fake", 0, three_tiers);
  alike_life("fake", 5, three_tiers);
}

// Five rows behind six common pages, all on disk, in one frame.
static void test_pages_that_neighbours_share_are_read_once(void **state) {
  (void)state;
  world w = {0};
  const fg_policy policy = {.disk_pages = 60, .frames = 3, .frame_pages = 2 * TABLE};
  open_world(&w, "cpu", 0, policy);
  submit_alike(&w, 24, 25, 39);
  for (uint32_t i = 0; i < 3; i++) assert_true(run_step(&w)); // the prompt is there
  for (uint32_t i = 0; i < 4; i++) submit_alike(&w, 24, 25, 39);
  assert_true(run_step(&w)); // they begin behind what they share
  const uint64_t before = fg_kv_cache_bytes_read(w.kv);
  w.least_read = 0;
  for (uint32_t i = 0; i < 3; i++) assert_true(run_step(&w));
  const uint64_t read = fg_kv_cache_bytes_read(w.kv) - before;
  const uint64_t own =
      LAYERS * 3 * 5 * fg_kv_page_bytes(&w.graph.kv); // at most a page of each row in each step
  assert_true(read <= w.least_read / 5 + own);
  close_world(&w);
}

// ---- attention together ---------------------------------------------------------------------------------

// A step of chunks that each add a token behind `begin` others, all layers; returns what the first layer's
// batch has in common.
static fg_kv_batch decode_step(fg_kv_cache *kv, const fg_kv_chunk *chunks, uint32_t count) {
  fg_error err;
  uint32_t batches;
  fg_kv_batch first = {0}, batch;
  for (uint32_t i = 0; i < count; i++) must(fg_kv_cache_add(kv, &chunks[i], &err), &err);
  must(fg_kv_cache_start(kv, &batches, &err), &err);
  assert_int_equal(batches, 1);
  for (uint32_t layer = 0; layer < LAYERS; layer++) {
    must(fg_kv_cache_acquire(kv, &batch, &err), &err);
    if (layer == 0) first = batch;
    must(fg_kv_cache_release(kv, &err), &err);
  }
  must(fg_kv_cache_finish(kv, &err), &err);
  return first;
}

static void test_rows_attend_together_to_what_they_share_on_disk(void **state) {
  (void)state;
  enum { OLD = 2 * 64, OF_PAGE = 32 };
  for (int groups = 0; groups < 2; groups++) {
    rig r = make_rig("cpu", 1, FG_COMPUTE_F32);
    fg_program program = {.node_count = 2, .nodes = {{.op = FG_OP_KV_STORE}, {.op = FG_OP_ATTENTION}}};
    program.nodes[1].params.attention.heads = 2;
    uint8_t program_of_layer[LAYERS] = {0};
    const fg_graph graph = {.layers = LAYERS,
                            .programs = &program,
                            .program_count = 1,
                            .program_of_layer = program_of_layer,
                            .kv = {.dtype = FG_F32,
                                   .kv_heads = 1,
                                   .k_dim = 8,
                                   .v_dim = 8,
                                   .page_tokens = OF_PAGE,
                                   .page_align = FG_IO_ALIGN}};
    const fg_policy policy = {.disk_pages = 20,
                              .frames = 2,
                              .frame_pages = 16,
                              .max_tokens = 2 * OLD,
                              .max_seqs = 4,
                              .max_len = OLD + OF_PAGE,
                              .pages = 20,
                              .open_slots = 6};
    const fg_kv_cache_options options = {.graph = &graph,
                                         .device = r.device,
                                         .host = r.host,
                                         .policy = &policy,
                                         .folder = "/tmp",
                                         .backend = FG_IO_AUTO,
                                         .groups = groups};
    fg_kv_cache *kv;
    fg_error err;
    must(fg_kv_cache_create(&kv, &options, &err), &err);
    const uint32_t a[] = {0, 1, 2, 3, 4}, b[] = {0, 1, 2, 3, 5};
    const fg_kv_chunk prompt = {.pages = a, .page_count = 4, .count = OLD, .longest = OLD + 9, .known = OLD};
    assert_int_equal(decode_step(kv, &prompt, 1).view.shared, 0);
    const fg_kv_chunk rows[] = {{.pages = a,
                                 .page_count = 5,
                                 .row = 0,
                                 .begin = OLD,
                                 .count = 1,
                                 .longest = OLD + 9,
                                 .known = OLD + 1},
                                {.pages = b,
                                 .page_count = 5,
                                 .row = 1,
                                 .begin = OLD,
                                 .count = 1,
                                 .longest = OLD + 9,
                                 .known = OLD + 1}};
    const fg_kv_batch batch = decode_step(kv, rows, 2);
    assert_int_equal(batch.view.shared, groups);
    assert_int_equal(batch.view.members, 2 * groups);
    fg_kv_cache_destroy(kv);
    drop_rig(&r);
  }
}

// Only the pages of the last frames that were read ahead.
static void test_what_ended_unforeseen_costs_a_ring_at_most(void **state) {
  (void)state;
  world w = {0};
  run_to_the_end(&w, &policies[1], 30);
  const uint64_t in_vain = fg_kv_cache_bytes_read(w.kv) - w.least_read;
  assert_true(in_vain > 0);
  assert_true(in_vain <= policies[1].frames * policies[1].frame_pages * fg_kv_page_bytes(&w.graph.kv));
  close_world(&w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_every_query_finds_what_was_stored_in_a_life_of_chance),
      cmocka_unit_test(test_every_query_finds_what_is_shared),
      cmocka_unit_test(test_pages_that_neighbours_share_are_read_once),
      cmocka_unit_test(test_rows_attend_together_to_what_they_share_on_disk),
      cmocka_unit_test(test_nothing_is_read_in_vain_while_all_go_on),
      cmocka_unit_test(test_what_ended_unforeseen_costs_a_ring_at_most),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
