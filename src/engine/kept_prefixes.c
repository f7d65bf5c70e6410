#include "engine/kept_prefixes.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/hash.h"
#include "engine/kv_cache.h"
#include "engine/sharing.h"
#include "engine/sparsity.h"
#include "kernels/cpu.h"
#include "kernels/kernels.h"
#include "kernels/product.h"
#include "profile/measure.h"

static const uint64_t DEFAULT_BYTES = 10ull << 30; // instructions and documents of many jobs, on any disk

struct fg_kept_prefixes {
  fg_prefix_folder *folder;
  uint32_t page_tokens;
  bool whole_prompts;    // keep all pages of prompts
  char *spare;           // [FG_KV_SPARE_PAGES] padded pages of a layer
  int32_t *text;         // [text_blocks * page_tokens] that a page ends
  fg_prefix_note *notes; // [page_tokens] of the page that is written
  uint32_t text_blocks;
  uint64_t nanoseconds; // that reading and writing took
  // Of the open runner; NULL: it shares nothing, or memory was short.
  uint8_t *seen;  // [pages] what the page holds is kept, or was tried to be
  uint32_t *held; // [pages] to be written after the step
  uint32_t held_count;
};

// ---- identity -------------------------------------------------------------------------------------------

// Of all that the store holds, and how.
static uint64_t weights_hash(const fg_store *s) {
  uint64_t hash = 0;
  for (uint32_t i = 0; i < s->weight_count; i++) {
    const fg_weight *w = &s->weights[i];
    const uint32_t numbers[] = {(uint32_t)w->kind, (uint32_t)w->dtype, w->n, w->k,
                                w->segments,       (uint32_t)w->layer};
    hash = fg_hash_more(hash, w->name, strlen(w->name));
    hash = fg_hash_more(hash, w->layout, strlen(w->layout));
    hash = fg_hash_more(hash, numbers, sizeof numbers);
    for (uint32_t p = w->panel; p < w->panel + w->panels; p++)
      hash = fg_hash_more(hash, &s->panels[p].hash, sizeof s->panels[p].hash);
  }
  return hash;
}

// oneDNN chooses among its kernels by the CPU, and our own go by its instruction sets: so a page is one
// CPU's. A change of our kernels that changes bits needs another FG_VERSION, or another FG_PREFIX_VERSION,
// before it meets kept pages.
static void identify(const fg_engine *e, char out[static FG_PREFIX_MOST_IDENTITY + 1]) {
  fg_engine_info info;
  fg_engine_describe(e, &info);
  const fg_kv_geometry *kv = &e->model->graph->kv;
  fg_kernels kernels;
  fg_kernels_init(&kernels, fg_cpu_features());
  char cpu[64], library[64];
  fg_profile_cpu_name(cpu, sizeof cpu);
  snprintf(
      out, FG_PREFIX_MOST_IDENTITY + 1,
      "flexgen %s, %d; model %s, weights %016" PRIx64 "; device %s, %s%s, kernels %s, %s, %s; dtype %s%s; "
      "cache %s, %" PRIu32 " heads of %" PRIu32 " and %" PRIu32 "%s, pages of %" PRIu32 "; sparsity %.17g%s",
      FG_VERSION, FG_PREFIX_VERSION, info.fingerprint ? info.fingerprint : "", weights_hash(e->model->store),
      info.device, fg_device_family(info.device)->name, e->device_found.identity, kernels.name, cpu,
      fg_product_library(library), info.dtype, e->options.deterministic ? ", deterministic" : "",
      info.cache_dtype, kv->kv_heads, kv->k_dim, kv->v_dim, kv->v_in_k ? " in one" : "", kv->page_tokens,
      fg_sparsity_of(e->options.attn_sparsity), e->attends_on_host ? ", on the host" : "");
}

// ---- life -----------------------------------------------------------------------------------------------

static fg_status create_buffers(fg_engine *e, fg_kept_prefixes *k, uint32_t longest, fg_error *err) {
  static const char what[] = "buffers of kept prefixes";
  const uint64_t page = fg_align_up(fg_kv_cache_kept_bytes(&e->model->graph->kv), FG_IO_ALIGN);
  k->text_blocks = longest / k->page_tokens;
  fg_status status = fg_budget_alloc(e->host, FG_KV_SPARE_PAGES * page, what, (void **)&k->spare, err);
  if (status == FG_OK)
    status = fg_budget_alloc(e->host, k->page_tokens * sizeof *k->notes, what, (void **)&k->notes, err);
  return status ? status
                : fg_budget_alloc(e->host, (uint64_t)k->text_blocks * k->page_tokens * sizeof *k->text, what,
                                  (void **)&k->text, err);
}

// In a plan nothing is made or written, and only what is packed already is known.
fg_status fg_kept_prefixes_open(fg_engine *e, bool plan_only, fg_error *err) {
  const fg_engine_options *o = &e->options;
  const fg_graph *g = e->model->graph;
  if (!o->prefix_cache) return FG_OK;
  if (o->no_prefix_sharing)
    return fg_fail(err, FG_INVALID,
                   "--prefix-cache: nothing is kept of what is not shared; leave out "
                   "--prefix-sharing false");
  fg_kept_prefixes *k = calloc(1, sizeof *k);
  if (!k) return fg_fail(err, FG_NO_SPACE, "no memory for kept prefixes");
  e->kept = k;
  k->page_tokens = g->kv.page_tokens;
  k->whole_prompts = o->prefix_cache_prompts;
  uint32_t longest = o->max_model_len ? o->max_model_len : g->max_positions;
  if (!longest || longest > FG_PREFIX_MOST_TOKENS) longest = FG_PREFIX_MOST_TOKENS;
  char identity[FG_PREFIX_MOST_IDENTITY + 1];
  identify(e, identity);
  if (plan_only && !e->model->fingerprint)
    fg_log_line(&e->log, FG_LOG_WARN,
                "--prefix-cache: nothing is known of what it keeps of this model, which is not packed yet "
                "(flexgen pack)");
  fg_log_line(&e->log, FG_LOG_DEBUG, "pages of prefixes are those of: %s", identity);
  const fg_prefix_folder_options folder = {
      .path = o->prefix_cache,
      .limit = o->prefix_cache_size ? o->prefix_cache_size : DEFAULT_BYTES,
      .identity = identity,
      .shape = {k->page_tokens, g->layers, fg_kv_cache_kept_bytes(&g->kv)},
      .longest = longest,
      .read_only = plan_only,
      .backend = e->io_backend,
      .host = e->host,
      .log = &e->log};
  fg_status status = fg_prefix_folder_create(&k->folder, &folder, err);
  return status ? status : create_buffers(e, k, longest, err);
}

void fg_kept_prefixes_close(fg_engine *e) {
  fg_kept_prefixes *k = e->kept;
  if (!k) return;
  fg_prefix_folder_destroy(k->folder);
  fg_budget_free(e->host, k->spare);
  fg_budget_free(e->host, k->text);
  fg_budget_free(e->host, k->notes);
  free(k);
  e->kept = NULL;
}

uint64_t fg_kept_prefixes_page_bytes(const fg_engine *e) {
  return e->kept ? sizeof *e->kept->seen + sizeof *e->kept->held : 0;
}

void fg_kept_prefixes_open_runner(fg_engine *e, uint32_t pages) {
  fg_kept_prefixes *k = e->kept;
  if (!k) return;
  if (!e->notes) { // layer passes keep no pages
    fg_log_line(&e->log, FG_LOG_INFO, "--prefix-cache: this way of running keeps no pages, and uses none");
    return;
  }
  static const char what[] = "a list of kept prefixes";
  fg_error err;
  k->held_count = 0;
  fg_status status = fg_budget_alloc(e->host, pages * sizeof *k->held, what, (void **)&k->held, &err);
  if (status == FG_OK)
    status = fg_budget_alloc(e->host, pages * sizeof *k->seen, what, (void **)&k->seen, &err);
  if (status == FG_OK) return;
  fg_kept_prefixes_close_runner(e);
  fg_log_line(&e->log, FG_LOG_WARN, "--prefix-cache is not used: %s", err.message);
}

void fg_kept_prefixes_close_runner(fg_engine *e) {
  fg_kept_prefixes *k = e->kept;
  if (!k) return;
  fg_budget_free(e->host, k->held);
  fg_budget_free(e->host, k->seen);
  k->held = NULL;
  k->seen = NULL;
}

// ---- before a job ---------------------------------------------------------------------------------------

uint32_t fg_kept_prefixes_tokens(const fg_engine *e, const fg_request *r) {
  const fg_kept_prefixes *k = e->kept;
  fg_prefix_text text = {.tokens = r->prompt};
  if (!k || !r->prompt_count || !fg_sharing_kind(e, r, &text.kind)) return 0;
  const uint32_t first = r->logprobs_from > 1 ? r->logprobs_from : 1;
  const uint32_t most = (r->prompt_count - 1) / k->page_tokens,
                 unnoted = fg_sharing_unnoted_blocks(e, r, first);
  return fg_prefix_folder_find(k->folder, &text, 0, most < unnoted ? most : unnoted) * k->page_tokens;
}

// ---- loading --------------------------------------------------------------------------------------------

// Pages of a text on their way into the cache.
typedef struct arrival {
  fg_engine *e;
  const fg_filling *filling;
} arrival;

// A candidate that the model does not know cannot be told; then the page has no notes, and nobody who wants
// them.
static bool are_known(const fg_engine *e, const fg_prefix_notes *n) {
  const uint32_t vocab = e->model->graph->vocab;
  for (uint32_t i = 0; i < n->count; i++)
    for (uint32_t c = 0; c < n->notes[i].top_count; c++)
      if ((uint32_t)n->notes[i].top[c].token >= vocab) return false;
  return true;
}

static void put_notes(void *user, uint32_t block, const fg_prefix_notes *notes) {
  const arrival *a = user;
  static const fg_prefix_notes none = {0};
  fg_prompt_notes_fill(a->e->notes, a->filling->pages[block], are_known(a->e, notes) ? notes : &none);
}

static fg_status put_layers(void *user, uint32_t block, uint32_t layer, uint32_t layers, const void *bytes,
                            fg_error *err) {
  const arrival *a = user;
  const fg_kv_move move = {a->filling->pages[block], layer, layers, a->e->kept->spare};
  return fg_executor_put(a->e->executor, &move, bytes, err);
}

static void forget(fg_kept_prefixes *k, const uint32_t *pages, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) k->seen[pages[i]] = 0;
}

// Fills pages with the blocks behind those that are held. Returns how many were taken.
static uint32_t load_blocks(fg_engine *e, const fg_sequence *s, const fg_prefix_text *text, uint32_t count) {
  fg_kept_prefixes *k = e->kept;
  const uint64_t begin = fg_now_ns();
  fg_filling filling;
  fg_error err;
  fg_scheduler_fill(e->scheduler, s->seq, count, &filling);
  forget(k, filling.dropped, filling.dropped_count);
  const fg_page_run run = {.pages = filling.pages,
                           .begin = filling.held,
                           .end = filling.end,
                           .longest = s->request.prompt_count + s->request.max_tokens,
                           .dropped = filling.dropped,
                           .dropped_count = filling.dropped_count};
  uint32_t good = filling.held;
  if (fg_executor_place(e->executor, &run, &err) != FG_OK) {
    fg_log_line(&e->log, FG_LOG_WARN, "a kept prefix cannot be used: %s", err.message);
  } else {
    arrival a = {e, &filling};
    const fg_prefix_sink sink = {&a, put_notes, put_layers};
    good += fg_prefix_folder_load(k->folder, text, filling.held, filling.end, &sink);
  }
  for (uint32_t i = filling.held; i < good; i++) k->seen[filling.pages[i]] = 1;
  k->nanoseconds += fg_now_ns() - begin;
  const uint32_t taken = filling.end - filling.held;
  fg_scheduler_filled(e->scheduler, s->seq, &filling, good);
  return taken;
}

// Blocks of a waiting row that are kept, behind those that are in the cache. Returns how many pages they
// took.
static uint32_t load_text(fg_engine *e, const fg_sequence *s, uint32_t room) {
  fg_prefix_text text = {.tokens = s->tokens};
  if (!fg_sharing_kind(e, &s->request, &text.kind)) return 0;
  const fg_text_blocks blocks = fg_scheduler_blocks(e->scheduler, s->seq);
  uint32_t end = fg_sharing_unnoted_blocks(e, &s->request, s->reported);
  if (blocks.most < end) end = blocks.most;
  if (end > blocks.held && end - blocks.held > room) end = blocks.held + room;
  const uint32_t kept = fg_prefix_folder_find(e->kept->folder, &text, blocks.held, end);
  return kept ? load_blocks(e, s, &text, kept) : 0;
}

// Rows that may be admitted in the step to come; each is looked for once. All that is loaded stays until they
// are.
void fg_kept_prefixes_load(fg_engine *e) {
  if (!e->kept || !e->kept->seen) return;
  const uint32_t rows = fg_scheduler_free_rows(e->scheduler);
  uint32_t room = fg_scheduler_fill_room(e->scheduler);
  fg_seq seq = FG_NO_SEQ;
  for (uint32_t i = 0; i < rows && room; i++) {
    seq = fg_scheduler_next_waiting(e->scheduler, seq);
    if (seq == FG_NO_SEQ) return;
    fg_sequence *s = e->sequences[seq];
    if (s->looked_for) continue;
    s->looked_for = true;
    room -= load_text(e, s, room);
  }
}

// ---- keeping --------------------------------------------------------------------------------------------

void fg_kept_prefixes_begin_step(fg_engine *e, const fg_step *step) {
  if (e->kept && e->kept->seen) forget(e->kept, step->dropped, step->dropped_count);
}

// Blocks of the chunk's row that are worth keeping: those that another row computed, or all of its prompt.
static uint32_t worthy_blocks(const fg_engine *e, const fg_chunk *c) {
  const fg_sequence *s = e->sequences[c->seq];
  const uint32_t prompt = s->request.prompt_count, end = c->begin + c->count;
  uint32_t tokens = 0;
  if (e->kept->whole_prompts) tokens = end < prompt ? end : prompt;
  if (s->reached < prompt && c->begin > s->reached && c->begin > tokens) tokens = c->begin;
  return tokens / e->kept->page_tokens;
}

// All before a page that was seen were.
void fg_kept_prefixes_hold(fg_engine *e, const fg_step *step) {
  fg_kept_prefixes *k = e->kept;
  if (!k || !k->seen) return;
  for (uint32_t i = 0; i < step->chunk_count; i++) {
    const fg_chunk *c = &step->chunks[i];
    const uint32_t blocks = worthy_blocks(e, c);
    uint32_t count, first = blocks;
    const uint32_t *pages = fg_scheduler_pages(e->scheduler, c->seq, &count);
    while (first && !k->seen[pages[first - 1]]) first--;
    for (uint32_t b = first; b < blocks && fg_scheduler_hold(e->scheduler, pages[b]); b++) {
      k->seen[pages[b]] = 1;
      k->held[k->held_count++] = pages[b];
    }
  }
}

// A page on its way out.
typedef struct departure {
  fg_engine *e;
  uint32_t page;
} departure;

static fg_status get_layers(void *user, uint32_t layer, uint32_t layers, void *bytes, fg_error *err) {
  const departure *d = user;
  const fg_kv_move move = {d->page, layer, layers, d->e->kept->spare};
  return fg_executor_get(d->e->executor, &move, bytes, err);
}

static void save_page(fg_engine *e, uint32_t page) {
  const fg_kept_prefixes *k = e->kept;
  fg_prefix_text text = {.tokens = k->text};
  const uint32_t blocks = fg_scheduler_text(e->scheduler, page, k->text, k->text_blocks, &text.kind);
  if (blocks > k->text_blocks) return;
  text.count = blocks * k->page_tokens;
  fg_prefix_notes notes = {0};
  if (fg_sharing_kind_is_noted(text.kind)) {
    notes = fg_prompt_notes_of(e->notes, page, k->notes);
    if (!notes.count) return; // of no use to its kind
  }
  departure d = {e, page};
  const fg_prefix_source source = {&d, get_layers};
  (void)fg_prefix_folder_save(k->folder, &text, &notes, &source);
}

// Beginnings first; they are let go last, so that ends of texts are what the cache forgets first.
void fg_kept_prefixes_save(fg_engine *e) {
  fg_kept_prefixes *k = e->kept;
  if (!k || !k->seen || !k->held_count) return;
  const uint64_t begin = fg_now_ns();
  for (uint32_t i = 0; i < k->held_count; i++) save_page(e, k->held[i]);
  k->nanoseconds += fg_now_ns() - begin;
  while (k->held_count) fg_scheduler_let_go(e->scheduler, k->held[--k->held_count]);
}

fg_prefix_counts fg_kept_prefixes_counts(const fg_engine *e) {
  return e->kept && e->kept->folder ? fg_prefix_folder_counts(e->kept->folder) : (fg_prefix_counts){0};
}

double fg_kept_prefixes_seconds(const fg_engine *e) {
  return e->kept ? 1e-9 * (double)e->kept->nanoseconds : 0;
}
