#include "plan/policy.h"

#include <inttypes.h>
#include <stddef.h>

#include "base/size.h"
#include "plan/pass_policy.h"

enum {
  DEFAULT_TOKENS = 512, // past the break-even of compute and weight traffic on the machines measured so far
  LEAST_TOKENS = 16,
  DEFAULT_SEQS = 64,
  MOST_SEQS = 256,
  DEFAULT_EXPECTED = 512,
  ENOUGH_SEQS = 32,      // decoding together they are bound by compute, not by reading weights from memory
  RING_PANELS_LEAST = 4, // one in use, the others on their way
  RING_PANELS_MOST = 16,
  ENOUGH_BATCH = 8, // with fewer, a token's share of the weights is more traffic than its cache
  FRAMES = 4,       // one in use, one being written, two on their way
  FRAMES_LEAST = 2,
  FRAMES_MOST = 32,
  FRAME_BYTES = 16 * 1024 * 1024, // past it a disk's latency is nothing beside its transfer
};

static uint64_t min_u64(uint64_t a, uint64_t b) {
  return a < b ? a : b;
}
static uint64_t pages_of(const fg_plan_input *in, uint64_t tokens) {
  return (tokens + in->page_tokens - 1) / in->page_tokens;
}

uint64_t fg_frame_array_bytes(uint32_t max_tokens, uint32_t table_pages) {
  const uint64_t chunk = 5ull + FG_FRAME_SHARED + table_pages;
  return (FG_FRAME_CHUNKS * chunk + 2ull * FG_FRAME_MEMBERS + max_tokens) * sizeof(int32_t);
}

static bool is_spilled(const fg_policy *p) {
  return p->open_slots > 0;
}

// What a page costs of the memory in which it lives, all layers together, if all of them are there.
static uint64_t page_cost(const fg_plan_input *in) {
  return in->page_bytes + (in->one_memory ? in->host_per_page : 0);
}

// Of a page in all layers.
static uint64_t page_bytes(const fg_plan_input *in, const fg_policy *p) {
  return p->disk_pages ? in->padded_page_bytes : in->page_bytes;
}

static void add_cache(const fg_plan_input *in, const fg_policy *p, uint64_t *host, uint64_t *device) {
  enum { PAGE_ENTRY = 32 }; // of the lists that say where a page is
  *host += p->pages * in->host_per_page;
  *device += ((uint64_t)p->device_pages + p->open_slots) * page_bytes(in, p);
  if (!is_spilled(p)) return;
  uint64_t arrays = p->frames * fg_frame_array_bytes(p->max_tokens, (uint32_t)pages_of(in, p->max_len));
  *device += p->stage_bytes + arrays;
  *host += arrays + (uint64_t)p->frames * p->frame_pages * FG_FRAME_PAGE_ROOM +
           (uint64_t)(p->pages + p->open_slots) * PAGE_ENTRY + p->host_pages * page_bytes(in, p);
  if (!in->one_memory) *host += p->stage_bytes;
}

static void add_work(const fg_plan_input *in, const fg_policy *p, uint64_t *host, uint64_t *device) {
  uint64_t streaming = p->ring_bytes + p->expert_bytes;
  *device += in->device_fixed + in->vector_bytes + streaming + in->device_per_token * p->max_tokens +
             in->device_per_seq * p->max_seqs;
  *host += in->host_fixed + in->small_table_bytes + (in->one_memory ? 0 : streaming) +
           in->host_per_token * p->max_tokens + in->host_per_seq * p->max_seqs +
           in->scratch(in->user, p->max_tokens);
}

static void fold(const fg_plan_input *in, uint64_t *host, uint64_t *device) {
  if (!in->one_memory) return;
  *host += *device;
  *device = 0;
}

// Memory of a policy without weights, tables and KV.
static void workspace(const fg_plan_input *in, const fg_policy *p, uint64_t *host, uint64_t *device) {
  *host = *device = 0;
  add_work(in, p, host, device);
  fold(in, host, device);
}

void fg_policy_memory(const fg_plan_input *in, const fg_policy *p, uint64_t *host, uint64_t *device) {
  *host = *device = 0;
  if (p->micro_tokens) {
    fg_pass_memory(in, p, host, device);
  } else {
    add_work(in, p, host, device);
    add_cache(in, p, host, device);
  }
  *host += p->host_weight_bytes;
  *device += p->device_weight_bytes;
  if (p->tables_resident) *host += in->table_bytes - in->small_table_bytes;
  fold(in, host, device);
}

uint32_t fg_policy_kept_pages(const fg_policy *p, uint32_t page_tokens) {
  enum { SHARE = 4 };
  if (!is_spilled(p)) return p->pages;
  return (uint32_t)min_u64(p->max_len / page_tokens, p->pages / SHARE);
}

// What a policy leaves of both memories; false if it needs more than there is.
static bool memory_left(const fg_plan_input *in, const fg_policy *p, uint64_t *host, uint64_t *device) {
  fg_policy_memory(in, p, host, device);
  const bool fits = *host <= in->host && (in->one_memory || *device <= in->device);
  *host = fits ? in->host - *host : 0;
  *device = !fits ? 0 : in->one_memory ? *host : in->device - *device;
  return fits;
}

// What remains of the memory in which the device computes, 0 if the workspace alone is too much.
static uint64_t left_for_content(const fg_plan_input *in, const fg_policy *p) {
  uint64_t host, device;
  workspace(in, p, &host, &device);
  if (host > in->host || (!in->one_memory && device > in->device)) return 0;
  return in->one_memory ? in->host - host : in->device - device;
}

static fg_status too_small(const fg_plan_input *in, const fg_policy *p, fg_error *err) {
  uint64_t host, device;
  char need[16], have[16], kv[16];
  workspace(in, p, &host, &device);
  uint64_t content = pages_of(in, p->max_len) * page_cost(in);
  bool device_short = !in->one_memory && (device + content > in->device);
  uint64_t total = device_short ? device + content : host + (in->one_memory ? content : 0);
  uint64_t limit = device_short ? in->device : in->host;
  return fg_fail(
      err, FG_NO_SPACE,
      "the job needs at least %s of %s memory beyond what the process already holds (%s of it for the KV "
      "cache of one sequence of %" PRIu32 " tokens), %s are left; raise %s or lower --max-model-len",
      fg_size_format(total, need), device_short ? "device" : "host", fg_size_format(content, kv), p->max_len,
      fg_size_format(limit, have), device_short ? "--device-memory" : "--host-memory");
}

static fg_status check_wishes(const fg_plan_input *in, fg_error *err) {
  const int *w = in->percent;
  if (fg_pass_is_wished(in) && !fg_pass_may(in))
    return fg_fail(err, FG_UNSUPPORTED, "a policy of layer passes (micro_batch_tokens) is not for %s",
                   in->percent ? "--percent: leave one of both out" : "this model: leave it out");
  if (!w) return FG_OK;
  for (int i = 0; i < 6; i += 2) {
    if (w[i] < 0 || w[i + 1] < 0 || w[i] + w[i + 1] > 100)
      return fg_fail(err, FG_INVALID, "--percent: %d and %d are not two shares of 100", w[i], w[i + 1]);
  }
  if (w[2] + w[3] != 100 && !in->disk)
    return fg_fail(err, FG_NO_SPACE,
                   "--percent: %d %% of the KV cache are for the disk, and it has no room; choose another "
                   "--offload-dir or give the cache 100 %%",
                   100 - w[2] - w[3]);
  if (w[4] + w[5] != 100)
    return fg_fail(err, FG_UNSUPPORTED, "--percent: activations stay in memory here; give them 100 %%");
  return FG_OK;
}

// How many sequences fill steps of `tokens`. When each is at another point of its way, of `length` tokens in
// `generated` + 1 steps, a step takes the tokens of tokens / length sequences that begin, and one of each
// that is under way. An eighth more, because they do not come evenly.
static uint32_t choose_seqs(const fg_plan_input *in, uint32_t tokens) {
  const fg_workload *w = &in->expected;
  uint64_t seqs = DEFAULT_SEQS;
  if (w->tokens) {
    seqs = (uint64_t)tokens * (w->generated + 1ull) / w->tokens;
    seqs = min_u64(seqs + seqs / 8 + 4, MOST_SEQS);
  }
  if (w->requests) seqs = min_u64(seqs, w->requests);
  return (uint32_t)seqs;
}

// The largest token budget (the wish, else halving from the default) and the longest context for which
// one sequence can run.
static fg_status choose_step(const fg_plan_input *in, fg_policy *p, fg_error *err) {
  uint32_t context = in->max_len ? in->max_len : in->context;
  p->max_tokens = in->max_tokens ? in->max_tokens : DEFAULT_TOKENS;
  p->max_seqs = in->max_seqs ? in->max_seqs : choose_seqs(in, p->max_tokens);
  for (;;) {
    if (p->max_seqs > p->max_tokens) p->max_seqs = p->max_tokens;
    uint64_t fits = left_for_content(in, p) / page_cost(in) * in->page_tokens;
    // Without a wish a long context gives way to memory, but not below a useful prompt.
    uint32_t least = in->max_len ? context : (uint32_t)min_u64(context, DEFAULT_EXPECTED);
    bool tokens_down = !in->max_tokens && p->max_tokens > LEAST_TOKENS;
    // A step's tokens and as many again must find room in the cache, or the step is never full.
    if (fits >= least && (fits >= 2ull * p->max_tokens || !tokens_down)) {
      p->max_len = (uint32_t)min_u64(context, fits);
      return FG_OK;
    }
    p->max_len = least;
    bool seqs_down = !in->max_seqs && p->max_seqs > 1;
    if (!tokens_down && !seqs_down) return too_small(in, p, err);
    if (tokens_down) p->max_tokens /= 2;
    if (seqs_down) p->max_seqs = p->max_seqs / 2 ? p->max_seqs / 2 : 1;
  }
}

// Of the expected length; and one to grow, which the scheduler keeps for each before it admits another.
static uint64_t pages_of_a_sequence(const fg_plan_input *in, const fg_policy *p) {
  uint64_t expected = in->expected.tokens ? in->expected.tokens : DEFAULT_EXPECTED;
  return pages_of(in, min_u64(expected, p->max_len)) + 1;
}

static uint64_t wanted_pages(const fg_plan_input *in, const fg_policy *p) {
  uint64_t wanted = pages_of_a_sequence(in, p) * p->max_seqs, least = pages_of(in, p->max_len);
  return wanted < least ? least : wanted;
}

// KV pages: for a batch of sequences of the expected length; the whole rest when the model fits beside it.
//
// With memory M for weights W and the KV of s sequences of size c, a job of n steps a sequence reads
// n / s * (W - (M - s c)) bytes for each: less with every sequence more, as long as W > M. Where all of W
// fits beside enough sequences to keep the device busy, nothing need be read at all.
static void choose_pages(const fg_plan_input *in, fg_policy *p) {
  uint64_t content = left_for_content(in, p);
  uint64_t least = pages_of(in, p->max_len), most = least * p->max_seqs;
  uint64_t a_sequence = pages_of_a_sequence(in, p), wanted = wanted_pages(in, p);
  uint64_t enough = min_u64(wanted, a_sequence * ENOUGH_SEQS);
  uint64_t weights = in->panel_bytes + (in->one_memory ? in->table_bytes - in->small_table_bytes : 0);
  // Of a job that is not known, half: its sequences may be short.
  uint64_t share = (in->expected.tokens ? content : content / 2) / page_cost(in);
  uint64_t pages = min_u64(share, wanted);
  if (weights + enough * page_cost(in) <= content) pages = (content - weights) / page_cost(in);
  if (in->device_pages) pages = min_u64(in->device_pages, content / page_cost(in));
  if (pages < least) pages = least;
  if (pages > most) pages = most;
  p->pages = p->device_pages = (uint32_t)min_u64(pages, UINT32_MAX / 2);
}

static fg_status choose_weights(const fg_plan_input *in, fg_policy *p, fg_error *err) {
  uint64_t host, device;
  memory_left(in, p, &host, &device);
  p->device_weight_bytes = min_u64(device, in->panel_bytes);
  if (in->weight_bytes) p->device_weight_bytes = min_u64(p->device_weight_bytes, in->weight_bytes);
  if (!in->one_memory) p->host_weight_bytes = min_u64(host, in->panel_bytes - p->device_weight_bytes);
  if (in->percent) {
    int share = in->percent[0] + (in->one_memory ? in->percent[1] : 0);
    uint64_t wish = in->panel_bytes / 100 * (uint64_t)share;
    uint64_t host_wish = in->one_memory ? 0 : in->panel_bytes / 100 * (uint64_t)in->percent[1];
    if (share == 100) wish = in->panel_bytes;
    char a[16], b[16];
    if (wish > p->device_weight_bytes)
      return fg_fail(err, FG_NO_SPACE,
                     "--percent asks for %s of resident weights, %s fit; raise %s or lower %d",
                     fg_size_format(wish, a), fg_size_format(p->device_weight_bytes, b),
                     in->one_memory ? "--host-memory" : "--device-memory", share);
    p->device_weight_bytes = wish;
    p->host_weight_bytes = min_u64(host_wish, p->host_weight_bytes);
  }
  p->tables_resident = true;
  if (!memory_left(in, p, &host, &device)) p->tables_resident = false;
  fg_policy_memory(in, p, &p->host_needed, &p->device_needed);
  return FG_OK;
}

// The ring lets reads go on while attention, which needs no weights, computes: about a layer's worth, as
// long as it does not take much from what could be resident.
uint64_t fg_policy_ring(const fg_plan_input *in) {
  uint64_t memory = in->one_memory ? in->host : min_u64(in->host, in->device);
  uint64_t ring = in->wished_ring;
  if (!ring) ring = min_u64(RING_PANELS_MOST * in->largest_panel, memory / 8);
  if (ring < RING_PANELS_LEAST * in->largest_panel) ring = RING_PANELS_LEAST * in->largest_panel;
  return min_u64(ring, in->panel_bytes);
}

static fg_policy begin_policy(const fg_plan_input *in, bool streaming) {
  return (fg_policy){.order = in->order ? in->order : FG_ORDER_INPUT,
                     .ring_bytes = streaming ? fg_policy_ring(in) : 0,
                     .expert_bytes = streaming ? in->expert_least : 0};
}

// All pages in fast memory. First as if all weights were resident, which needs no ring; then with one.
static fg_status make_in_memory(const fg_plan_input *in, fg_policy *p, fg_error *err) {
  fg_status status = FG_OK;
  for (int streaming = 0; status == FG_OK && streaming <= 1; streaming++) {
    *p = begin_policy(in, streaming > 0);
    status = choose_step(in, p, err);
    if (status == FG_OK) {
      choose_pages(in, p);
      status = choose_weights(in, p, err);
      if (status == FG_OK && p->device_weight_bytes >= in->panel_bytes) break;
    }
    if (!streaming && status == FG_NO_SPACE) status = FG_OK;
  }
  return status;
}

// ---- a cache on several tiers --------------------------------------------------------------------------

static void set_frames(const fg_plan_input *in, fg_policy *p, uint32_t frames, uint64_t frame_pages) {
  p->frames = frames;
  p->frame_pages = (uint32_t)frame_pages;
  p->stage_bytes = frames * frame_pages * (page_bytes(in, p) / in->layers);
}

// The least that this many sequences need: their open pages, and frames for one sequence of max_len.
static bool least_fits(const fg_plan_input *in, fg_policy *p) {
  uint64_t host, device, open = (in->restarts ? 2ull : 1ull) * p->max_seqs + 2;
  p->open_slots = (uint32_t)min_u64(open, UINT32_MAX / 4);
  set_frames(in, p, FRAMES_LEAST, pages_of(in, p->max_len));
  return memory_left(in, p, &host, &device);
}

static fg_status least_is_too_much(const fg_plan_input *in, const fg_policy *p, fg_error *err) {
  uint64_t host, device;
  char need[16], have[16];
  fg_policy_memory(in, p, &host, &device);
  const bool device_short = !in->one_memory && device > in->device;
  return fg_fail(
      err, FG_NO_SPACE,
      "with the KV cache elsewhere the job still needs %s of %s memory beyond what the process already "
      "holds (pages that are being filled by %" PRIu32 " sequences, and one layer of the longest), %s "
      "are left; lower --max-num-seqs or --max-model-len, or raise %s",
      fg_size_format(device_short ? device : host, need), device_short ? "device" : "host", p->max_seqs,
      fg_size_format(device_short ? in->device : in->host, have),
      device_short ? "--device-memory" : "--host-memory");
}

// As choose_step; a long context that nobody asked for gives way first.
static fg_status choose_spilled_step(const fg_plan_input *in, fg_policy *p, fg_error *err) {
  const uint32_t context = in->max_len ? in->max_len : in->context;
  const uint32_t least = in->max_len ? context : (uint32_t)min_u64(context, DEFAULT_EXPECTED);
  p->max_tokens = in->max_tokens ? in->max_tokens : DEFAULT_TOKENS;
  p->max_seqs = in->max_seqs ? in->max_seqs : choose_seqs(in, p->max_tokens);
  for (;;) {
    if (p->max_seqs > p->max_tokens) p->max_seqs = p->max_tokens;
    for (p->max_len = context;; p->max_len = p->max_len / 2 > least ? p->max_len / 2 : least) {
      if (least_fits(in, p)) return FG_OK;
      if (p->max_len == least) break;
    }
    const bool tokens_down = !in->max_tokens && p->max_tokens > LEAST_TOKENS;
    const bool seqs_down = !in->max_seqs && p->max_seqs > 1;
    if (!tokens_down && !seqs_down) return least_is_too_much(in, p, err);
    if (tokens_down) p->max_tokens /= 2;
    if (seqs_down) p->max_seqs = p->max_seqs / 2 ? p->max_seqs / 2 : 1;
  }
}

// Sizes of the ring, the best first. Frames of a good size; as many as hold the cache of a layer, so that it
// is read while matrices, which need no page, are computed, as long as they take little of the memory.
typedef struct ring {
  uint64_t frames, pages;
} ring;

enum { RINGS_LARGE = 8, RINGS = RINGS_LARGE + 3 };

static void list_rings(const fg_plan_input *in, const fg_policy *p, uint64_t all_pages, ring *rings) {
  const uint64_t memory = in->one_memory ? in->host : min_u64(in->host, in->device);
  const uint64_t layer = page_bytes(in, p) / in->layers, least = p->frame_pages;
  uint64_t pages = min_u64(min_u64(FRAME_BYTES, memory / 64) / layer, all_pages);
  if (pages < least) pages = least;
  uint64_t frames = min_u64(memory / 8 / (pages * layer), all_pages / pages + 2);
  frames = frames < FRAMES ? FRAMES : min_u64(frames, FRAMES_MOST);
  for (uint64_t i = 0; i < RINGS_LARGE; i++) {
    const uint64_t fewer = frames * (RINGS_LARGE - i) / RINGS_LARGE;
    rings[i] = (ring){fewer > FRAMES ? fewer : FRAMES, pages};
  }
  rings[RINGS_LARGE] = (ring){FRAMES, least};
  rings[RINGS_LARGE + 1] = (ring){FRAMES - 1, least};
  rings[RINGS_LARGE + 2] = (ring){FRAMES_LEAST, least};
  for (int i = 0; i < RINGS; i++) {
    if (in->frames) rings[i].frames = in->frames < FRAMES_LEAST ? FRAMES_LEAST : in->frames;
    if (in->frame_pages) rings[i].pages = in->frame_pages < least ? least : in->frame_pages;
  }
}

static bool has_page_wishes(const fg_plan_input *in) {
  return in->device_pages || in->disk_pages;
}

// Room of the tiers in pages, and what the user wants to be there in hundredths.
typedef struct shares {
  uint64_t room[3];
  int percent[3];
} shares;

// Weights that the user wants to stay have their room first.
static shares find_shares(const fg_plan_input *in, const fg_policy *policy) {
  fg_policy p = *policy;
  uint64_t host, device;
  if (in->percent) {
    int share = in->percent[0] + (in->one_memory ? in->percent[1] : 0);
    p.device_weight_bytes = share == 100 ? in->panel_bytes : in->panel_bytes / 100 * (uint64_t)share;
    p.host_weight_bytes = in->one_memory ? 0 : in->panel_bytes / 100 * (uint64_t)in->percent[1];
  }
  memory_left(in, &p, &host, &device);
  shares s = {.room = {device / page_bytes(in, &p), in->one_memory ? 0 : host / page_bytes(in, &p),
                       in->disk ? in->disk / in->padded_page_bytes : 0}};
  if (in->percent) {
    s.percent[0] = in->percent[2] + (in->one_memory ? in->percent[3] : 0);
    s.percent[1] = in->one_memory ? 0 : in->percent[3];
    s.percent[2] = 100 - in->percent[2] - in->percent[3];
  } else if (has_page_wishes(in)) {
    s.room[0] = min_u64(s.room[0], in->device_pages);
    s.room[2] = min_u64(s.room[2], in->disk_pages);
  } else if (!in->expected.tokens) {
    s.room[0] /= 2; // of a job that is not known: its sequences may be short
  }
  return s;
}

// Fast memory first, then the host's, then the disk; or the user's shares of as many pages as they allow.
static void share_pages(const shares *s, bool fixed, uint64_t wanted, fg_policy *p) {
  for (int i = 0; fixed && i < 3; i++)
    if (s->percent[i]) wanted = min_u64(wanted, s->room[i] * 100 / (uint64_t)s->percent[i]);
  wanted = min_u64(wanted, UINT32_MAX / 2);
  uint64_t most[3] = {s->room[0], s->room[1], s->room[2]};
  // Rounding leaves a page or two, for the slowest of the tiers that are wanted, if it has room for them.
  const int last = s->percent[2] ? 2 : s->percent[1] ? 1 : 0;
  for (bool fits = !fixed; !fits; wanted -= !fits) {
    for (int i = 0; i < 3; i++) most[i] = wanted * (uint64_t)s->percent[i] / 100;
    most[last] = wanted - most[0] - most[1] - most[2] + most[last];
    fits = most[last] <= s->room[last];
  }
  p->device_pages = (uint32_t)min_u64(wanted, most[0]);
  p->host_pages = (uint32_t)min_u64(wanted - p->device_pages, most[1]);
  p->disk_pages = (uint32_t)min_u64(wanted - p->device_pages - p->host_pages, most[2]);
  p->pages = p->device_pages + p->host_pages + p->disk_pages;
}

static fg_status spilled_pages(const fg_plan_input *in, fg_policy *p, fg_error *err) {
  // Pages are padded unless it is known that none goes to disk.
  p->disk_pages = in->percent ? in->percent[2] + in->percent[3] < 100 : in->disk > 0;
  fg_status status = choose_spilled_step(in, p, err);
  if (status != FG_OK) return status;
  const uint64_t least = pages_of(in, p->max_len), most = least * p->max_seqs;
  const uint64_t wished = (uint64_t)in->device_pages + in->disk_pages;
  const uint64_t wanted = min_u64(wished ? (wished < least ? least : wished) : wanted_pages(in, p), most);
  ring rings[RINGS];
  list_rings(in, p, wanted, rings);
  const fg_policy before = *p;
  for (int i = 0; i < RINGS; i++) {
    *p = before;
    set_frames(in, p, (uint32_t)rings[i].frames, rings[i].pages);
    p->pages = (uint32_t)min_u64(wanted, UINT32_MAX / 2); // at most; for the lists of pages
    uint64_t host, device;
    if (!memory_left(in, p, &host, &device)) {
      p->pages = 0;
      continue;
    }
    const shares s = find_shares(in, p);
    share_pages(&s, in->percent != NULL, wanted, p);
    if (p->pages >= least) return FG_OK;
  }
  char have[16], need[16];
  return fg_fail(err, FG_NO_SPACE,
                 "the KV cache of one sequence of %" PRIu32
                 " tokens is %s, the tiers have room for %s of it; "
                 "lower --max-model-len, change --percent, or choose an --offload-dir with more space",
                 p->max_len, fg_size_format(least * page_bytes(in, p), need),
                 fg_size_format(p->pages * page_bytes(in, p), have));
}

static fg_status make_spilled(const fg_plan_input *in, fg_policy *p, fg_error *err) {
  fg_status status = FG_OK;
  for (int streaming = 0; streaming <= 1; streaming++) {
    *p = begin_policy(in, streaming > 0);
    status = spilled_pages(in, p, err);
    if (status == FG_OK) status = choose_weights(in, p, err);
    if (status == FG_OK && p->device_weight_bytes >= in->panel_bytes) break;
    if (status != FG_OK && status != FG_NO_SPACE) break;
  }
  return status;
}

static bool shares_spill(const fg_plan_input *in) {
  const int *w = in->percent;
  return w && w[2] + (in->one_memory ? w[3] : 0) < 100;
}

// Whether memory alone holds so few sequences that traffic of the cache is worth it.
static bool few_sequences(const fg_plan_input *in, const fg_policy *p) {
  uint64_t enough = ENOUGH_BATCH;
  if (in->max_seqs) enough = min_u64(enough, in->max_seqs);
  if (in->expected.requests) enough = min_u64(enough, in->expected.requests);
  return p->max_seqs < enough || p->pages < enough * pages_of_a_sequence(in, p);
}

static fg_status make_ordinary(const fg_plan_input *in, fg_policy *p, fg_error *err) {
  if (shares_spill(in) || in->disk_pages) return make_spilled(in, p, err);
  fg_status status = make_in_memory(in, p, err);
  if (in->percent || has_page_wishes(in) || !in->disk || (status != FG_OK && status != FG_NO_SPACE))
    return status;
  if (status == FG_OK && !few_sequences(in, p)) return FG_OK;
  fg_policy spilled;
  fg_error unused; // of the two refusals the one that speaks of memory alone asks for less
  if (make_spilled(in, &spilled, &unused) != FG_OK) return status;
  if (status == FG_OK && spilled.pages <= p->pages) return FG_OK;
  *p = spilled;
  return FG_OK;
}

fg_status fg_policy_make(const fg_plan_input *in, fg_policy *p, fg_error *err) {
  fg_status status = check_wishes(in, err);
  if (status != FG_OK) return status;
  status = make_ordinary(in, p, err);
  if (!fg_pass_may(in) || (status != FG_OK && status != FG_NO_SPACE)) return status;
  const fg_policy *ordinary = status == FG_OK ? p : NULL;
  fg_policy pass;
  fg_error unused; // of the two refusals the ordinary one asks for more than passes need, but takes any row
  const bool says_why = !ordinary || fg_pass_is_wished(in);
  const fg_status made = fg_pass_policy_make(in, ordinary, &pass, says_why ? err : &unused);
  if (made != FG_OK) return fg_pass_is_wished(in) ? made : status;
  if (!fg_pass_pays(in, ordinary, &pass)) return status;
  *p = pass;
  return FG_OK;
}

void fg_place_panels(const uint64_t *bytes, uint32_t count, uint64_t device_bytes, uint64_t host_bytes,
                     uint8_t *tier) {
  uint64_t total = 0, seen = 0, on_device = 0, on_host = 0;
  for (uint32_t i = 0; i < count; i++) total += bytes[i];
  if (device_bytes > total) device_bytes = total;
  if (host_bytes > total - device_bytes) host_bytes = total - device_bytes;
  for (uint32_t i = 0; i < count; i++) {
    seen += bytes[i];
    // What should stay of the first `seen` bytes; in double because the product exceeds 64 bits.
    double share = total ? (double)seen / (double)total : 0;
    if ((double)(on_device + bytes[i]) <= (double)device_bytes * share + 0.5) {
      tier[i] = FG_TIER_DEVICE;
      on_device += bytes[i];
    } else if ((double)(on_host + bytes[i]) <= (double)host_bytes * share + 0.5) {
      tier[i] = FG_TIER_HOST;
      on_host += bytes[i];
    } else {
      tier[i] = FG_TIER_DISK;
    }
  }
}
