// id_set.h: which custom_ids were seen, as 64-bit hashes: 9 to 18 bytes a row. Among a million ids two
// different ones meet with probability 3e-8.
#ifndef FG_JOB_ID_SET_H
#define FG_JOB_ID_SET_H

#include <stdbool.h>

#include "job/job_memory.h"

typedef struct fg_id_set {
  fg_job_memory *memory;
  uint64_t *slots; // 0 = free
  uint64_t capacity, count;
} fg_id_set;

// Adds an id; *seen tells whether it was there before. Set `memory` before the first call.
fg_status fg_id_set_add(fg_id_set *set, const char *id, size_t length, bool *seen, fg_error *err);
// Makes room for `count` ids at once.
fg_status fg_id_set_reserve(fg_id_set *set, uint64_t count, fg_error *err);
uint64_t fg_id_set_bytes(uint64_t count); // that room for so many takes
void fg_id_set_free(fg_id_set *set);

#endif
