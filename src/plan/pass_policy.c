#include "plan/pass_policy.h"

#include <inttypes.h>

#include "base/checked.h"
#include "base/size.h"
#include "io/io.h"

enum {
  // Past it a disk of 100 MB/s feeds 6 Tflop/s; and the rows of a step end together, so that a kill loses all
  // of them.
  MOST_TOKENS = 65536,
  ENOUGH_TOKENS = 8192, // past it more memory for registers and ring costs nothing that matters
  MOST_ROWS = 1024,     // of a batch: products are as fast as they get at a quarter of it
  LEAST_ROWS = 64,
  DEFAULT_ROW = 512, // tokens
  LEAST_DRAWS = 8,   // that a look at some rows may have missed
};

static const double MOST_SHARED = 0.1; // of a job's tokens, that are better computed once
static const double MUCH_MORE = 1.5;   // tokens, that are worth a smaller ring or batch
static const double PASS_GAIN = 0.5;   // of the traffic of ordinary steps
static const double SPILL_GAIN = 0.9;  // of the traffic of a step in memory

static uint64_t min_u64(uint64_t a, uint64_t b) {
  return a < b ? a : b;
}
static uint64_t max_u64(uint64_t a, uint64_t b) {
  return a > b ? a : b;
}
static uint64_t pages_of(const fg_plan_input *in, uint64_t tokens) {
  return (tokens + in->page_tokens - 1) / in->page_tokens;
}

// ---- memory ----------------------------------------------------------------------------------------------

fg_hidden_limits fg_pass_hidden_limits(const fg_policy *p, uint32_t width) {
  return (fg_hidden_limits){.width = width,
                            .fast_rows = p->hidden_rows,
                            .host_rows = p->hidden_host_rows,
                            .disk_rows = p->hidden_disk_rows,
                            .batch_rows = p->micro_tokens,
                            .batches = p->max_seqs};
}

static uint64_t whole_blocks(uint64_t bytes) {
  return fg_align_up(bytes, FG_IO_ALIGN);
}

// Each batch begins at a whole block.
uint64_t fg_hidden_disk_bytes(const fg_hidden_limits *l) {
  const uint64_t row = (uint64_t)l->width * sizeof(float);
  return l->disk_rows ? l->disk_rows * row + (uint64_t)l->batches * FG_IO_ALIGN : 0;
}

void fg_hidden_bytes(const fg_hidden_limits *l, bool one_memory, uint64_t *host, uint64_t *device) {
  const uint64_t row = (uint64_t)l->width * sizeof(float);
  const bool elsewhere = l->host_rows || l->disk_rows;
  const uint64_t frames = elsewhere ? FG_HIDDEN_FRAMES * whole_blocks(l->batch_rows * row) : 0;
  *device = whole_blocks(l->fast_rows * row) + frames;
  *host = (uint64_t)l->batches * FG_HIDDEN_BATCH_ROOM + whole_blocks(l->host_rows * row);
  if (!one_memory && l->disk_rows) *host += frames;
}

void fg_pass_memory(const fg_plan_input *in, const fg_policy *p, uint64_t *host, uint64_t *device) {
  const fg_pass_costs *c = &in->pass;
  const fg_hidden_limits hidden = fg_pass_hidden_limits(p, c->hidden);
  const uint64_t streaming = p->ring_bytes + p->expert_bytes;
  const uint64_t table = pages_of(in, p->pass_len) * sizeof(int32_t);
  const uint64_t draws = p->pass_draws > c->draws ? p->pass_draws - c->draws : 0;
  fg_hidden_bytes(&hidden, in->one_memory, host, device);
  *device += in->device_fixed + in->vector_bytes + streaming + c->row_device * p->micro_tokens +
             c->token_device * p->max_tokens + (c->seq_device + table) * p->max_seqs +
             in->page_bytes / in->layers * p->device_pages;
  *host += in->host_fixed + in->small_table_bytes + (in->one_memory ? 0 : streaming) +
           c->row_host * p->micro_tokens + c->token_host * p->max_tokens +
           (c->seq_host + table) * p->max_seqs + c->draw_host * draws +
           in->scratch(in->user, p->micro_tokens);
}

static bool fits(const fg_plan_input *in, const fg_policy *p) {
  uint64_t host, device;
  fg_policy_memory(in, p, &host, &device);
  return host <= in->host && (in->one_memory || device <= in->device);
}

// ---- a policy for so many tokens -------------------------------------------------------------------------

static uint32_t mean_row(const fg_plan_input *in) {
  if (in->mean_row >= 1) return (uint32_t)(in->mean_row + 0.999);
  return in->expected.tokens ? in->expected.tokens : in->longest_row ? in->longest_row : DEFAULT_ROW;
}

// How the registers and the ring are made.
typedef struct shape {
  uint32_t rows; // of a batch; 0: all of the step are one
  uint64_t ring;
  bool resident; // all weights stay
} shape;

static void set_pages(const fg_plan_input *in, const shape *s, fg_policy *p) {
  const uint64_t mean = mean_row(in), rows = p->micro_tokens;
  uint64_t pages = rows / in->page_tokens + p->max_seqs; // enough for a step whatever its rows are
  if (s->rows) {
    pages = (rows / mean + 1) * pages_of(in, mean) * 5 / 4 + 1;
    pages = min_u64(max_u64(pages, rows / in->page_tokens + 1), rows);
    pages = max_u64(pages, pages_of(in, p->pass_len));
  }
  p->device_pages = (uint32_t)pages;
  // What the scheduler counts: each sequence has a part of a page, and one to grow.
  pages = p->max_tokens / in->page_tokens + 2ull * p->max_seqs + 2;
  p->pages = (uint32_t)max_u64(pages, pages_of(in, p->max_len) + 1);
}

// Rows of logits that are kept. A step takes no more sequences that need one, which costs speed where too few
// were expected.
static uint32_t draws_of(const fg_plan_input *in, uint32_t seqs) {
  const uint64_t drawn = (uint64_t)(in->drawn * seqs * 5 / 4) + LEAST_DRAWS;
  return (uint32_t)min_u64(max_u64(drawn, in->pass.draws), seqs);
}

static void set_tokens(const fg_plan_input *in, const shape *s, uint32_t longest, uint64_t tokens,
                       fg_policy *p) {
  p->order = in->order ? in->order : FG_ORDER_INPUT;
  p->max_tokens = (uint32_t)tokens;
  p->micro_tokens = s->rows && s->rows < tokens ? s->rows : (uint32_t)tokens;
  p->pass_len = p->micro_tokens;
  p->max_len = longest > p->pass_len ? longest : p->pass_len;
  if (p->max_len > in->context) p->max_len = in->context;
  if (in->max_len) p->max_len = in->max_len;
  if (p->pass_len > p->max_len) p->pass_len = p->max_len;
  uint64_t seqs = tokens / mean_row(in) * 5 / 4 + 4; // some are shorter
  if (in->expected.requests) seqs = min_u64(seqs, in->expected.requests);
  if (in->max_seqs) seqs = in->max_seqs;
  p->max_seqs = (uint32_t)min_u64(seqs, tokens);
  p->pass_draws = draws_of(in, p->max_seqs);
  p->ring_bytes = s->ring;
  p->expert_bytes = s->resident ? 0 : in->expert_least;
  // A wish for weights comes before tokens that nobody wished for.
  const uint64_t wished = in->max_tokens ? 0 : min_u64(in->weight_bytes, in->panel_bytes);
  p->device_weight_bytes = s->resident ? in->panel_bytes : wished;
  p->hidden_rows = p->max_tokens;
  p->hidden_host_rows = p->hidden_disk_rows = 0;
  set_pages(in, s, p);
}

// With so many rows in fast memory; a batch may leave the end of it free.
static bool fits_with(const fg_plan_input *in, bool disk, uint32_t rows, fg_policy *p) {
  p->hidden_rows = rows;
  *(disk ? &p->hidden_disk_rows : &p->hidden_host_rows) = p->max_tokens - rows + p->micro_tokens;
  return fits(in, p);
}

// As many rows in fast memory as fit, at most `most`, with the others in host memory or on disk.
static bool spill_to(const fg_plan_input *in, bool disk, uint32_t most, fg_policy *p) {
  uint32_t low = 0, high = most + 1; // fits, does not
  if (!fits_with(in, disk, 0, p)) return false;
  while (low + 1 < high) {
    const uint32_t rows = low + (high - low) / 2;
    if (fits_with(in, disk, rows, p))
      low = rows;
    else
      high = rows;
  }
  (void)fits_with(in, disk, low, p);
  const fg_hidden_limits limits = fg_pass_hidden_limits(p, in->pass.hidden);
  return fg_hidden_disk_bytes(&limits) <= in->disk;
}

static bool place_hidden(const fg_plan_input *in, fg_policy *p) {
  const uint32_t most = in->hidden_rows ? (uint32_t)min_u64(in->hidden_rows, p->max_tokens) : p->max_tokens;
  if (most == p->max_tokens && fits(in, p)) return true;
  if (p->micro_tokens == p->max_tokens) return false;
  const fg_policy before = *p;
  if (!in->one_memory && spill_to(in, false, most, p)) return true;
  *p = before;
  return in->disk > 0 && spill_to(in, true, most, p);
}

// ---- how many tokens -------------------------------------------------------------------------------------

static uint64_t all_tokens(const fg_plan_input *in) {
  return in->expected.requests ? in->expected.requests * mean_row(in) : UINT64_MAX;
}

// The most that are worth it, and at least the longest row.
static uint64_t most_tokens(const fg_plan_input *in) {
  return max_u64(min_u64(all_tokens(in) + in->longest_row, MOST_TOKENS), mean_row(in));
}

// The largest step whose residual stream is in fast memory; false: there is none of `least` tokens.
static bool largest_in_memory(const fg_plan_input *in, const shape *s, uint32_t longest, uint64_t least,
                              fg_policy *p) {
  uint64_t low = least, high = max_u64(most_tokens(in), least) + 1;
  set_tokens(in, s, longest, low, p);
  if (!fits(in, p)) return false;
  while (low + 1 < high) {
    const uint64_t tokens = low + (high - low) / 2;
    set_tokens(in, s, longest, tokens, p);
    if (fits(in, p))
      low = tokens;
    else
      high = tokens;
  }
  set_tokens(in, s, longest, low, p);
  return true;
}

// Bytes of the disk for each token of a step.
static double traffic(const fg_plan_input *in, const fg_policy *p) {
  const double weights = (double)(in->panel_bytes - p->device_weight_bytes - p->host_weight_bytes);
  const double spilled = p->hidden_disk_rows ? p->max_tokens - p->hidden_rows : 0;
  const double row = 2.0 * sizeof(float) * in->pass.hidden * (in->layers + 1.0);
  return (weights + spilled * row) / p->max_tokens;
}

// More tokens, whose residual stream goes to disk, where that is less traffic.
static void spill_if_less(const fg_plan_input *in, const shape *s, uint32_t longest, fg_policy *p) {
  const uint64_t in_memory = p->max_tokens, most = most_tokens(in);
  if (!s->rows || s->resident || !in->one_memory) return;
  for (uint64_t tokens = 2 * in_memory; tokens / 2 < most; tokens *= 2) {
    fg_policy larger = *p;
    set_tokens(in, s, longest, min_u64(tokens, most), &larger);
    if (place_hidden(in, &larger) && traffic(in, &larger) < SPILL_GAIN * traffic(in, p)) *p = larger;
  }
}

// A step that divides the job evenly, so that its last one is not a small one.
static void even_out(const fg_plan_input *in, const shape *s, uint32_t longest, fg_policy *p) {
  const uint64_t all = all_tokens(in), tokens = p->max_tokens;
  if (all == UINT64_MAX || all <= tokens || p->hidden_rows < p->max_tokens) return;
  const uint64_t steps = (all + tokens - 1) / tokens, each = all / steps;
  set_tokens(in, s, longest, min_u64(tokens, each + each / 64 + max_u64(in->longest_row, mean_row(in))), p);
}

// ---- the search ------------------------------------------------------------------------------------------

enum { SHAPES = 16 };

// The best first: all weights resident; two layers in the ring (panels do not quite fill it), so that the
// next one is read while this one is gone through; then one; batches of many rows before ones of few. Where
// experts come and go all rows are one batch, and panels come one by one.
static uint32_t list_shapes(const fg_plan_input *in, shape *out) {
  uint32_t count = 0, rows[8], sizes = 0;
  const uint64_t whole = in->pass.held_bytes + 2 * in->largest_panel;
  const uint32_t longest = in->longest_row ? in->longest_row : mean_row(in);
  if (in->micro_tokens) {
    rows[sizes++] = in->micro_tokens;
  } else {
    for (uint32_t r = MOST_ROWS; r >= LEAST_ROWS; r /= 2) rows[sizes++] = (uint32_t)max_u64(r, longest);
  }
  const bool may_stay = !in->weight_bytes || in->weight_bytes >= in->panel_bytes;
  for (uint32_t i = 0; i < sizes && may_stay; i++) out[count++] = (shape){rows[i], 0, true};
  for (uint32_t layers = 2; layers >= 1 && (!in->expert_least || in->micro_tokens); layers--) {
    const uint64_t ring = in->wished_ring ? in->wished_ring : in->pass.held_bytes * (layers - 1) + whole;
    for (uint32_t i = 0; i < sizes && ring >= whole; i++) out[count++] = (shape){rows[i], ring, false};
  }
  out[count++] = (shape){0, fg_policy_ring(in), false};
  return count;
}

static bool try_shape(const fg_plan_input *in, const shape *s, uint32_t longest, fg_policy *p) {
  const uint64_t least = max_u64(in->longest_row, mean_row(in));
  if (in->max_tokens || in->hidden_rows) {
    set_tokens(in, s, longest, in->max_tokens ? in->max_tokens : most_tokens(in), p);
    return place_hidden(in, p);
  }
  if (!largest_in_memory(in, s, longest, least, p)) return false;
  spill_if_less(in, s, longest, p);
  even_out(in, s, longest, p);
  return true;
}

static void give_rest(const fg_plan_input *in, fg_policy *p) {
  uint64_t host, device;
  fg_policy_memory(in, p, &host, &device);
  const uint64_t host_left = in->host - host;
  const uint64_t left = in->one_memory ? host_left : in->device - device;
  p->device_weight_bytes = min_u64(p->device_weight_bytes + left, in->panel_bytes);
  if (in->weight_bytes) p->device_weight_bytes = min_u64(p->device_weight_bytes, in->weight_bytes);
  if (!in->one_memory) p->host_weight_bytes = min_u64(host_left, in->panel_bytes - p->device_weight_bytes);
  p->tables_resident = true;
  p->tables_resident = fits(in, p);
  fg_policy_memory(in, p, &p->host_needed, &p->device_needed);
}

static fg_status too_small(const fg_plan_input *in, fg_error *err) {
  char have[16], layer[16];
  return fg_fail(
      err, FG_NO_SPACE,
      "a layer pass needs the matrices of a layer (%s), a batch of rows and the residual stream in "
      "memory, %s are left; raise %s or lower --max-num-batched-tokens",
      fg_size_format(in->pass.held_bytes, layer),
      fg_size_format(in->one_memory ? in->host : in->device, have),
      in->one_memory ? "--host-memory" : "--device-memory");
}

fg_status fg_pass_policy_make(const fg_plan_input *in, const fg_policy *ordinary, fg_policy *p,
                              fg_error *err) {
  shape shapes[SHAPES];
  const uint32_t count = list_shapes(in, shapes), longest = ordinary ? ordinary->max_len : 0;
  fg_policy best = {0};
  for (uint32_t i = 0; i < count; i++) {
    fg_policy tried = {0};
    if (!try_shape(in, &shapes[i], longest, &tried)) continue;
    if (tried.max_tokens <= MUCH_MORE * best.max_tokens) continue;
    best = tried;
    if (best.max_tokens >= min_u64(most_tokens(in), ENOUGH_TOKENS)) break;
  }
  if (!best.max_tokens) return too_small(in, err);
  give_rest(in, &best);
  *p = best;
  return FG_OK;
}

// ---- whether ---------------------------------------------------------------------------------------------

bool fg_pass_is_wished(const fg_plan_input *in) {
  return in->micro_tokens || in->hidden_rows;
}

bool fg_pass_may(const fg_plan_input *in) {
  if (!in->pass.possible || in->percent) return false;
  if (fg_pass_is_wished(in)) return true;
  return in->only_scored && !in->device_pages && !in->disk_pages;
}

bool fg_pass_pays(const fg_plan_input *in, const fg_policy *ordinary, const fg_policy *pass) {
  if (fg_pass_is_wished(in) || !ordinary) return true;
  const bool bound_by_cache = ordinary->open_slots > 0;
  if (in->shared > MOST_SHARED && !bound_by_cache) return false;
  return bound_by_cache || traffic(in, pass) < PASS_GAIN * traffic(in, ordinary);
}
