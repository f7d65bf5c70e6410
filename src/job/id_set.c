#include "job/id_set.h"

#include <stdlib.h>

#include "base/hash.h"

static uint64_t *find_slot(uint64_t *slots, uint64_t capacity, uint64_t hash) {
  uint64_t i = hash & (capacity - 1);
  while (slots[i] && slots[i] != hash) i = (i + 1) & (capacity - 1);
  return &slots[i];
}

// At most 7/8 full: 9 to 18 bytes an id.
static bool has_room(uint64_t capacity, uint64_t count) {
  return count <= capacity - capacity / 8;
}

static uint64_t capacity_for(uint64_t count, uint64_t capacity) {
  if (!capacity) capacity = 1024;
  while (!has_room(capacity, count)) capacity *= 2;
  return capacity;
}

uint64_t fg_id_set_bytes(uint64_t count) {
  return capacity_for(count, 0) * sizeof(uint64_t);
}

fg_status fg_id_set_reserve(fg_id_set *set, uint64_t count, fg_error *err) {
  if (set->capacity && has_room(set->capacity, count)) return FG_OK;
  const uint64_t capacity = capacity_for(count, set->capacity);
  fg_status status =
      fg_job_memory_take(set->memory, capacity * sizeof *set->slots, "finding duplicate custom_ids", err);
  if (status != FG_OK) return status;
  uint64_t *slots = calloc(capacity, sizeof *slots);
  if (!slots) {
    fg_job_memory_give(set->memory, capacity * sizeof *slots);
    return fg_fail(err, FG_NO_SPACE, "out of memory for finding duplicate custom_ids");
  }
  for (uint64_t i = 0; i < set->capacity; i++)
    if (set->slots[i]) *find_slot(slots, capacity, set->slots[i]) = set->slots[i];
  fg_job_memory_give(set->memory, set->capacity * sizeof *slots);
  free(set->slots);
  set->slots = slots;
  set->capacity = capacity;
  return FG_OK;
}

fg_status fg_id_set_add(fg_id_set *set, const char *id, size_t length, bool *seen, fg_error *err) {
  fg_status status = fg_id_set_reserve(set, set->count + 1, err);
  if (status != FG_OK) return status;
  uint64_t hash = fg_hash(id, length);
  if (!hash) hash = 1;
  uint64_t *slot = find_slot(set->slots, set->capacity, hash);
  *seen = *slot != 0;
  set->count += !*seen;
  *slot = hash;
  return FG_OK;
}

void fg_id_set_free(fg_id_set *set) {
  if (set->memory) fg_job_memory_give(set->memory, set->capacity * sizeof *set->slots);
  free(set->slots);
  *set = (fg_id_set){0};
}
