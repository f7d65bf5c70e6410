#include "plan/policy.h"

#include <inttypes.h>
#include <stddef.h>

#include "base/size.h"

enum {
  DEFAULT_TOKENS = 512, // past the break-even of compute and weight traffic on the machines measured so far
  LEAST_TOKENS = 16,
  DEFAULT_SEQS = 64,
  MOST_SEQS = 256,
  DEFAULT_EXPECTED = 512,
  ENOUGH_SEQS = 32,      // decoding together they are bound by compute, not by reading weights from memory
  RING_PANELS_LEAST = 4, // one in use, the others on their way
  RING_PANELS_MOST = 16,
};

static uint64_t min_u64(uint64_t a, uint64_t b) {
  return a < b ? a : b;
}
static uint64_t pages_of(const fg_plan_input *in, uint64_t tokens) {
  return (tokens + in->page_tokens - 1) / in->page_tokens;
}

// Memory of a policy without weights, tables and KV.
static void workspace(const fg_plan_input *in, const fg_policy *p, uint64_t *host, uint64_t *device) {
  uint64_t streaming = p->ring_bytes + p->expert_bytes, ring_host = in->one_memory ? 0 : streaming;
  *device = in->device_fixed + in->vector_bytes + streaming + in->device_per_token * p->max_tokens +
            in->device_per_seq * p->max_seqs;
  *host = in->host_fixed + in->small_table_bytes + ring_host + in->host_per_token * p->max_tokens +
          in->host_per_seq * p->max_seqs + in->scratch(in->user, p->max_tokens);
  if (in->one_memory) {
    *host += *device;
    *device = 0;
  }
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
  uint64_t content = pages_of(in, p->max_len) * in->page_bytes;
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
  if (!w) return FG_OK;
  for (int i = 0; i < 6; i += 2) {
    if (w[i] < 0 || w[i + 1] < 0 || w[i] + w[i + 1] > 100)
      return fg_fail(err, FG_INVALID, "--percent: %d and %d are not two shares of 100", w[i], w[i + 1]);
  }
  if (w[2] + w[3] != 100 || (!in->one_memory && w[2] != 100))
    return fg_fail(err, FG_UNSUPPORTED, "--percent: the KV cache stays in %s memory here; give it 100 %%",
                   in->one_memory ? "host" : "device");
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
    uint64_t fits = left_for_content(in, p) / in->page_bytes * in->page_tokens;
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

// KV pages: for a batch of sequences of the expected length; the whole rest when the model fits beside it.
//
// With memory M for weights W and the KV of s sequences of size c, a job of n steps a sequence reads
// n / s * (W - (M - s c)) bytes for each: less with every sequence more, as long as W > M. Where all of W
// fits beside enough sequences to keep the device busy, nothing need be read at all.
static void choose_pages(const fg_plan_input *in, fg_policy *p) {
  uint64_t content = left_for_content(in, p);
  uint64_t expected = in->expected.tokens ? in->expected.tokens : DEFAULT_EXPECTED;
  expected = min_u64(expected, p->max_len);
  uint64_t least = pages_of(in, p->max_len);
  // And one to grow, which the scheduler keeps for each before it admits another.
  uint64_t a_sequence = pages_of(in, expected) + 1, wanted = a_sequence * p->max_seqs;
  uint64_t most = pages_of(in, p->max_len) * p->max_seqs;
  if (wanted < least) wanted = least;
  uint64_t enough = min_u64(wanted, a_sequence * ENOUGH_SEQS);
  uint64_t weights = in->panel_bytes + (in->one_memory ? in->table_bytes - in->small_table_bytes : 0);
  // Of a job that is not known, half: its sequences may be short.
  uint64_t share = (in->expected.tokens ? content : content / 2) / in->page_bytes;
  uint64_t pages = min_u64(share, wanted);
  if (weights + enough * in->page_bytes <= content) pages = (content - weights) / in->page_bytes;
  if (in->device_pages) pages = min_u64(in->device_pages, content / in->page_bytes);
  if (pages < least) pages = least;
  if (pages > most) pages = most;
  p->pages = p->device_pages = (uint32_t)min_u64(pages, UINT32_MAX / 2);
}

static fg_status choose_weights(const fg_plan_input *in, fg_policy *p, fg_error *err) {
  uint64_t content = left_for_content(in, p), kv = p->pages * in->page_bytes;
  uint64_t room = content > kv ? content - kv : 0;
  p->device_weight_bytes = min_u64(room, in->panel_bytes);
  if (!in->one_memory) {
    uint64_t host, device;
    workspace(in, p, &host, &device);
    p->host_weight_bytes = min_u64(in->host - host, in->panel_bytes - p->device_weight_bytes);
  }
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
  uint64_t host, device;
  workspace(in, p, &host, &device);
  uint64_t large_tables = in->table_bytes - in->small_table_bytes;
  p->host_needed = host + (in->one_memory ? kv + p->device_weight_bytes : p->host_weight_bytes);
  p->device_needed = in->one_memory ? 0 : device + kv + p->device_weight_bytes;
  p->tables_resident = p->host_needed <= in->host && large_tables <= in->host - p->host_needed;
  if (p->tables_resident) p->host_needed += large_tables;
  return FG_OK;
}

// The ring lets reads go on while attention, which needs no weights, computes: about a layer's worth, as
// long as it does not take much from what could be resident.
static uint64_t choose_ring(const fg_plan_input *in) {
  uint64_t memory = in->one_memory ? in->host : min_u64(in->host, in->device);
  uint64_t ring = min_u64(RING_PANELS_MOST * in->largest_panel, memory / 8);
  if (ring < RING_PANELS_LEAST * in->largest_panel) ring = RING_PANELS_LEAST * in->largest_panel;
  return min_u64(ring, in->panel_bytes);
}

fg_status fg_policy_make(const fg_plan_input *in, fg_policy *p, fg_error *err) {
  fg_status status = check_wishes(in, err);
  // First as if everything were resident, which needs no ring; then with one.
  for (int streaming = 0; status == FG_OK && streaming <= 1; streaming++) {
    *p = (fg_policy){.ring_bytes = streaming ? choose_ring(in) : 0,
                     .expert_bytes = streaming ? in->expert_least : 0};
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
