// policy.h: what lives where, and how much is computed at once. Plain numbers in and out.
//
// A policy says how many tokens a step takes, how many sequences run, how many KV pages there are, and
// which share of the weights stays in fast memory. This rule keeps what is needed for any progress first
// (a ring for streamed panels, activations, the KV of the longest sequence), then gives memory to as many
// sequences as fill a step, then to weights; but all of the weights stay if they fit beside enough sequences.
// The user may fix any part.
//
// The KV cache may be on three tiers. `device_pages` live where the device computes; the others, in host
// memory (devices of their own memory) or on disk, come to fast memory layer by layer in frames of a ring,
// and there are slots for the pages that are still being filled. That costs traffic in every step, so the
// rule does it only where the user says so or fewer than ENOUGH_BATCH sequences fit otherwise.
//
// A job whose rows are only scored, or get one token, may run in layer passes instead (pass_policy.h).
#ifndef FG_PLAN_POLICY_H
#define FG_PLAN_POLICY_H

#include <stdbool.h>
#include <stdint.h>

#include "flexgen/engine.h"
#include "flexgen/error.h"

// Tokens of a page of the KV cache, which is also what rows share, as a rule.
enum { FG_PAGE_TOKENS = 32 };

typedef enum fg_tier { FG_TIER_DEVICE, FG_TIER_HOST, FG_TIER_DISK } fg_tier;

// What a policy of layer passes needs of the memory that grows with its work; the rest is as in other ones.
typedef struct fg_pass_costs {
  bool possible;
  uint32_t hidden;                   // values of a row of the residual stream
  uint64_t held_bytes;               // matrices that stay acquired at once: of a layer
  uint64_t row_device, row_host;     // of each row of a batch
  uint64_t token_device, token_host; // of each token of a step, without the residual stream
  uint64_t seq_device, seq_host;     // of each sequence, without its page table
  uint64_t draw_host;                // of each sequence whose token is drawn from all logits, beyond
  uint32_t draws;                    // so many, which are in host_fixed
} fg_pass_costs;

typedef struct fg_plan_input {
  bool one_memory;       // the device computes in host memory
  uint64_t host, device; // bytes left in the budgets (one_memory: host only)
  // the model
  uint64_t panel_bytes; // all matrices, padded
  uint64_t largest_panel;
  uint64_t expert_least; // experts that are in memory at once at least; 0 = the model has none
  uint64_t vector_bytes;
  uint64_t table_bytes, small_table_bytes; // gathered tables; those small enough to keep always
  uint64_t page_bytes;                     // KV of one page, all layers
  uint64_t padded_page_bytes;              // the same in whole blocks of a disk
  uint64_t host_per_page;                  // what is known of each page
  uint32_t page_tokens, layers;
  uint64_t disk;    // bytes that the KV cache may take on disk; 0 = it must not
  bool restarts;    // sequences may begin again in the pages they have
  uint32_t context; // longest sequence that the model allows
  // memory that grows with the work of a step
  uint64_t device_per_token, host_per_token; // registers; gather buffers
  uint64_t device_per_seq, host_per_seq;     // a row of logits, page tables
  uint64_t device_fixed, host_fixed;
  uint64_t (*scratch)(const void *user, uint32_t tokens); // of the device, in host memory
  const void *user;
  fg_pass_costs pass;
  // Of the job's rows: tokens of the longest that was seen, and on average; none is known to get more than
  // one token; share of their tokens with which the row before begins as well; share of those whose token is
  // drawn from all logits.
  uint32_t longest_row;
  double mean_row;
  bool only_scored;
  double shared, drawn;
  // wishes; 0 = choose
  uint32_t max_tokens, max_seqs, max_len;
  uint32_t device_pages, disk_pages; // of the KV cache; both 0 = choose
  fg_row_order order;
  uint32_t frames, frame_pages;       // of the ring of KV frames; no fewer than one sequence needs
  uint64_t weight_bytes, wished_ring; // of weights that stay where the device computes; of ring_bytes
  // Layer passes, which a number of either means: rows of a batch; of the residual stream in fast memory.
  uint32_t micro_tokens, hidden_rows;
  fg_workload expected;
  const int *percent; // FlexGen's six, or NULL: w_dev w_host c_dev c_host a_dev a_host
} fg_plan_input;

typedef struct fg_policy {
  uint32_t max_tokens; // token budget of a step
  uint32_t max_seqs;
  uint32_t max_len;
  fg_row_order order; // of the job's rows
  uint32_t pages;     // of the KV cache: of the three tiers together
  uint32_t device_pages, host_pages, disk_pages;
  uint32_t open_slots; // room for pages that are not full, beside device_pages; 0: all pages are there
  uint32_t frames,
      frame_pages;      // ring in which pages of other tiers are attended to: each has one layer of them
  uint64_t stage_bytes; // of the frames, on the device; the same again in host memory if it is not its
  uint64_t ring_bytes;
  uint64_t expert_bytes; // for experts, where not all stay; what is left of resident weights comes to it
  uint64_t device_weight_bytes; // resident panels where the device computes
  uint64_t host_weight_bytes;   // resident panels in host memory (devices of their own memory)
  bool tables_resident;
  // Layer passes: rows of a batch, 0 in ordinary steps; the longest sequence that a step takes; sequences of
  // a step whose logits are kept to draw from them; where rows of the residual stream have room.
  // `device_pages` are then those of a batch in one layer, `pages` numbers without memory.
  uint32_t micro_tokens, pass_len, pass_draws;
  uint32_t hidden_rows, hidden_host_rows, hidden_disk_rows;
  uint64_t host_needed, device_needed; // all of the above and the workspace
} fg_policy;

enum {
  FG_POLICY_MOST_FRAMES = 1024, // that may be wished
  FG_POLICY_MOST_FRAME_PAGES = 1 << 20,
  FG_FRAME_CHUNKS = 64,    // chunks that are attended to in one frame, at most
  FG_FRAME_SHARED = 8,     // numbers of what they share, for each
  FG_FRAME_MEMBERS = 1024, // rows that are listed so, at most: chunks of prompts have little from it
  FG_FRAME_PAGE_ROOM = 256 // bytes of host memory for the bookkeeping of a page of a frame, at most
};

// Bytes of a frame's arrays (chunk list, page tables, what chunks share, slots), on the device and again in
// host memory.
uint64_t fg_frame_array_bytes(uint32_t max_tokens, uint32_t table_pages);

// All that a policy needs, its KV cache, resident weights and tables included; one_memory: all of it is
// host's.
void fg_policy_memory(const fg_plan_input *input, const fg_policy *policy, uint64_t *host, uint64_t *device);

// Pages without owner that are kept for rows to come, at most. Where pages live on several tiers they may not
// fill the fast one, which running sequences want: there it is what the longest sequence has, a prefix
// between two of its rows.
uint32_t fg_policy_kept_pages(const fg_policy *policy, uint32_t page_tokens);

// Bytes of the ring through which weights are streamed panel by panel.
uint64_t fg_policy_ring(const fg_plan_input *input);

// FG_NO_SPACE says what the least would be and which flag helps; FG_INVALID for impossible wishes.
fg_status fg_policy_make(const fg_plan_input *input, fg_policy *policy, fg_error *err);

// Marks each of `count` panels (bytes in order of use) with its tier so that about device_bytes and
// host_bytes stay, and so that every stretch of the order has its share of each: panel i stays when the
// running sum of what should stay passes it. Never exceeds device_bytes or host_bytes.
void fg_place_panels(const uint64_t *bytes, uint32_t count, uint64_t device_bytes, uint64_t host_bytes,
                     uint8_t *tier);

#endif
