#include "base/budget.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/size.h"

enum { PAGE = 4096, HUGE_PAGE = 2 << 20 };

typedef struct block {
  void *address;
  uint64_t bytes;
} block;

struct fg_budget {
  char name[64], flag[64];
  uint64_t limit;
  bool hollow;
  _Atomic uint64_t used, peak;
  // Sizes of the blocks handed out, for fg_budget_free. There are few of them, and they tend to go
  // last come first, so a list searched from its end will do.
  pthread_mutex_t mutex;
  block *blocks;
  size_t block_count, block_capacity;
};

fg_status fg_budget_create(fg_budget **out, const char *name, const char *flag, uint64_t limit,
                           fg_error *err) {
  fg_budget *b = calloc(1, sizeof *b);
  if (!b) return fg_fail(err, FG_NO_SPACE, "no memory for the budget of %s", name);
  snprintf(b->name, sizeof b->name, "%s", name);
  snprintf(b->flag, sizeof b->flag, "%s", flag ? flag : "");
  b->limit = limit ? limit : UINT64_MAX;
  pthread_mutex_init(&b->mutex, NULL);
  *out = b;
  return FG_OK;
}

void fg_budget_destroy(fg_budget *budget) {
  if (!budget) return;
  pthread_mutex_destroy(&budget->mutex);
  free(budget->blocks);
  free(budget);
}

static fg_status refuse(const fg_budget *b, uint64_t bytes, uint64_t used, const char *what, fg_error *err) {
  char want[16], left[16], limit[16];
  fg_size_format(bytes, want);
  fg_size_format(b->limit - used, left);
  fg_size_format(b->limit, limit);
  return fg_fail(err, FG_NO_SPACE, "%s needs %s of %s, but of the limit of %s only %s are left%s%s", what,
                 want, b->name, limit, left, b->flag[0] ? "; raise " : "", b->flag);
}

fg_status fg_budget_reserve(fg_budget *budget, uint64_t bytes, const char *what, fg_error *err) {
  uint64_t used = atomic_load(&budget->used);
  do {
    if (bytes > budget->limit - used) return refuse(budget, bytes, used, what, err);
  } while (!atomic_compare_exchange_weak(&budget->used, &used, used + bytes));
  uint64_t peak = atomic_load(&budget->peak);
  while (peak < used + bytes && !atomic_compare_exchange_weak(&budget->peak, &peak, used + bytes)) {
  }
  return FG_OK;
}

void fg_budget_release(fg_budget *budget, uint64_t bytes) {
  atomic_fetch_sub(&budget->used, bytes);
}

void fg_budget_make_hollow(fg_budget *budget) {
  budget->hollow = true;
}

void fg_budget_set_limit(fg_budget *budget, uint64_t limit) {
  budget->limit = limit ? limit : UINT64_MAX;
}
uint64_t fg_budget_limit(const fg_budget *budget) {
  return budget->limit;
}
uint64_t fg_budget_used(const fg_budget *budget) {
  return atomic_load(&budget->used);
}
uint64_t fg_budget_peak(const fg_budget *budget) {
  return atomic_load(&budget->peak);
}
uint64_t fg_budget_left(const fg_budget *budget) {
  return budget->limit - atomic_load(&budget->used);
}

static bool remember(fg_budget *b, void *address, uint64_t bytes) {
  pthread_mutex_lock(&b->mutex);
  if (b->block_count == b->block_capacity) {
    size_t capacity = b->block_capacity ? b->block_capacity * 2 : 32;
    block *blocks = realloc(b->blocks, capacity * sizeof *blocks);
    if (blocks) {
      b->blocks = blocks;
      b->block_capacity = capacity;
    }
  }
  bool room = b->block_count < b->block_capacity;
  if (room) b->blocks[b->block_count++] = (block){address, bytes};
  pthread_mutex_unlock(&b->mutex);
  return room;
}

// Bytes of the block that began at `address`; 0 if it is not one.
static uint64_t forget(fg_budget *b, void *address) {
  uint64_t bytes = 0;
  pthread_mutex_lock(&b->mutex);
  for (size_t i = b->block_count; i-- > 0;) {
    if (b->blocks[i].address != address) continue;
    bytes = b->blocks[i].bytes;
    memmove(b->blocks + i, b->blocks + i + 1, (b->block_count - i - 1) * sizeof *b->blocks);
    b->block_count--;
    break;
  }
  pthread_mutex_unlock(&b->mutex);
  return bytes;
}

// Maps `size` bytes, from a huge page's boundary if they hold one, for whoever asks for huge pages later.
static void *map_block(uint64_t size, bool hollow) {
  uint64_t spare = size >= HUGE_PAGE ? HUGE_PAGE : 0;
  uint64_t whole = fg_align_up(size, (uint64_t)sysconf(_SC_PAGESIZE)); // not everywhere PAGE
  char *mapped = mmap(NULL, whole + spare, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | (hollow ? MAP_NORESERVE : 0), -1, 0);
  if (mapped == MAP_FAILED || !spare) return mapped;
  uint64_t head = fg_align_up((uintptr_t)mapped, HUGE_PAGE) - (uintptr_t)mapped;
  if (head) munmap(mapped, head);
  if (spare > head) munmap(mapped + head + whole, spare - head);
  return mapped + head;
}

fg_status fg_budget_alloc(fg_budget *budget, uint64_t bytes, const char *what, void **out, fg_error *err) {
  if (bytes > (uint64_t)PTRDIFF_MAX - 2 * HUGE_PAGE)
    return refuse(budget, bytes, fg_budget_used(budget), what, err);
  uint64_t size = fg_align_up(bytes ? bytes : 1, PAGE);
  fg_status status = fg_budget_reserve(budget, size, what, err);
  if (status) return status;
  void *address = map_block(size, budget->hollow);
  int mmap_error = errno;
  if (address == MAP_FAILED) {
    fg_budget_release(budget, size);
    char want[16];
    return fg_fail(err, FG_NO_SPACE, "%s needs %s of %s, but the system refused: %s", what,
                   fg_size_format(size, want), budget->name, strerror(mmap_error));
  }
  if (!remember(budget, address, size)) {
    munmap(address, size);
    fg_budget_release(budget, size);
    return fg_fail(err, FG_NO_SPACE, "%s: no memory to note a block of %s", what, budget->name);
  }
  *out = address;
  return FG_OK;
}

void fg_prefer_huge_pages(void *base, uint64_t bytes) {
#if defined(MADV_HUGEPAGE)
  uintptr_t begin = fg_align_up((uintptr_t)base, PAGE);
  if (bytes > begin - (uintptr_t)base)
    (void)madvise((void *)begin, bytes - (begin - (uintptr_t)base), MADV_HUGEPAGE);
#else
  (void)base, (void)bytes; // the system decides by itself
#endif
}

void fg_budget_free(fg_budget *budget, void *block_start) {
  if (!block_start) return;
  uint64_t bytes = forget(budget, block_start);
  if (bytes == 0) return;
  munmap(block_start, bytes);
  fg_budget_release(budget, bytes);
}
