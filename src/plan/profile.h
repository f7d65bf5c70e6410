// profile.h: what a machine was measured to do, and how long pieces of a step take on it.
//
// A profile is made of short measurements with the engine's own kernels, reads and writes
// (profile/measure.h); here it is only numbers: how long a product, attention, reading from the disk would
// take. Between two measured points time is interpolated in the logarithm; beyond the last one, work goes on
// at its rate.
#ifndef FG_PLAN_PROFILE_H
#define FG_PLAN_PROFILE_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/kinds.h"
#include "tensor/dtype.h"

// Numbers of rows at which products are measured: powers of two, and more where kernels take turns and where
// rows that fill no block of theirs count most.
enum { FG_PROFILE_ROW_POINTS = 15 };
extern const uint16_t fg_profile_rows[FG_PROFILE_ROW_POINTS];
enum { FG_PROFILE_COMPUTES = 3 }; // fg_compute has as many
// Numbers of rows at which a layer was measured.
enum { FG_PROFILE_STEP_POINTS = 2 };
extern const uint16_t fg_profile_step_rows[FG_PROFILE_STEP_POINTS];
enum { FG_PROFILE_MAX_PRODUCTS = 64, FG_PROFILE_MAX_ATTENTIONS = 64, FG_PROFILE_MAX_DISKS = 32 };

// Products of many panels, whose weights come from memory and not from a cache.
typedef struct fg_profile_product {
  fg_dtype dtype;                        // of the weights as they are held
  int compute;                           // fg_compute
  uint32_t k;                            // length of a row of weights
  double seconds[FG_PROFILE_ROW_POINTS]; // of one weight value with so many rows
} fg_profile_product;

// Attention of sequences that all have contexts beyond the caches.
typedef struct fg_profile_attention {
  fg_dtype cache;
  uint32_t k_dim;
  uint32_t group; // query heads of a KV head
  double decode;  // seconds of one key with its value of one KV head, seen by one token
  double prefill; // seconds of one pair of query and key of one query head, in chunks of many tokens
} fg_profile_attention;

// Long reads and writes of a file in the offload dir, direct.
typedef struct fg_profile_disk {
  uint64_t bytes;     // of a request
  uint32_t depth;     // requests in flight
  double read, write; // bytes/s; 0 = not measured
} fg_profile_disk;

typedef struct fg_profile {
  char machine[96];  // CPU and number of threads
  char kernels[32];  // the kernels' family
  char version[32];  // of the engine
  char date[32];     // ISO 8601, UTC
  char offload[128]; // the disk: its folder and file system
  char disk[64];     // what tells this disk from another one
  double load;       // of other processes, over the minute before it was made
  bool quick;        // by fewer points and shorter measurements
  uint32_t threads;
  uint64_t memory_bytes;
  fg_profile_product products[FG_PROFILE_MAX_PRODUCTS];
  uint32_t product_count;
  fg_profile_attention attentions[FG_PROFILE_MAX_ATTENTIONS];
  uint32_t attention_count;
  fg_profile_disk disks[FG_PROFILE_MAX_DISKS];
  uint32_t disk_count;
  double memory_read, memory_copy; // bytes/s by all threads
  double disk_read, disk_write;    // bytes/s that last: for as long as it took to see a throttle
  double disk_burst;               // of the first second of reading; above disk_read on a throttled disk
  bool disk_direct;                // false: the file system refused direct requests; a cache took part
  double row_value;                // seconds of one value of an operation on activations (norm, add, GLU)
  double
      input_value[FG_PROFILE_COMPUTES]; // of one that is put into the form that products read, by fg_compute
  // Times as long as by itself a product takes in a step, by fg_compute, at fg_profile_step_rows; 0: as long.
  double in_step[FG_PROFILE_COMPUTES][FG_PROFILE_STEP_POINTS];
  double store_value; // of one value put into the KV cache
  double logit;       // of reading out one logit, greedily
  double launch;      // of an operation on one row of next to nothing
  double read_cost;   // share of the processors that reading at disk_read takes, 0 to 1
  double link;        // bytes/s each way between host memory and a device's own; 0 = its memory is the host's
  double read_slowdown; // share of its rate that a product loses while the disk is read so, 0 to 1
} fg_profile;

// Seconds with so many rows from those at fg_profile_rows: less than one row, as experts have on average,
// costs what one does; none costs nothing. 0 where nothing was measured.
double fg_profile_at_rows(const double *seconds, double rows);

// A look-up in a table without entries is 0 seconds: nothing is known, so nothing is counted.

// Seconds of products of `rows` rows with `values` weights of rows of length k, kernels of the nearest
// measured kind if this one was not. The arithmetic int8 of weights that are no codes is that of bf16. The
// rows are in the form that the product reads; input_value is what that takes.
double fg_profile_product_seconds(const fg_profile *profile, fg_dtype dtype, int compute, uint32_t k,
                                  double values, double rows);
// Times as long as by itself that products of so many rows take in a step.
double fg_profile_in_step(const fg_profile *profile, int compute, double rows);
// In one layer. keys: summed over all tokens that are decoded; pairs: of queries and visible keys of all
// chunks. From the nearest type of cache; head sizes and groups between measured ones are interpolated,
// beyond them the time goes with the size.
double fg_profile_decode_seconds(const fg_profile *profile, const fg_kv_geometry *kv, uint32_t heads,
                                 double keys);
double fg_profile_prefill_seconds(const fg_profile *profile, const fg_kv_geometry *kv, uint32_t heads,
                                  double pairs);

#endif
