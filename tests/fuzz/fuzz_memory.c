#include "fuzz_memory.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

// Reads may complete on other threads.
static atomic_size_t largest;
static _Atomic int64_t live, peak;

static void count_block(size_t bytes) {
  int64_t now = atomic_fetch_add(&live, (int64_t)bytes) + (int64_t)bytes;
  if (bytes > atomic_load(&largest)) atomic_store(&largest, bytes);
  if (now > atomic_load(&peak)) atomic_store(&peak, now);
}

static void uncount_block(size_t bytes) {
  atomic_fetch_sub(&live, (int64_t)bytes);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)

// gcc's run-time library has them, its headers do not.
int __sanitizer_install_malloc_and_free_hooks(void (*on_malloc)(const volatile void *, size_t),
                                              void (*on_free)(const volatile void *));
size_t __sanitizer_get_allocated_size(const volatile void *block);

static void on_malloc(const volatile void *block, size_t bytes) {
  if (block) count_block(bytes);
}

static void on_free(const volatile void *block) {
  if (block) uncount_block(__sanitizer_get_allocated_size(block));
}

static void watch(void) {
  static bool watching;
  if (!watching) __sanitizer_install_malloc_and_free_hooks(on_malloc, on_free);
  watching = true;
}

#else

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>

// glibc lets a program put its own functions in the place of these; its own stay under other names.
void *__libc_malloc(size_t bytes);
void *__libc_realloc(void *block, size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_memalign(size_t alignment, size_t bytes);
void __libc_free(void *block);

static void *counted(void *block) {
  if (block) count_block(malloc_usable_size(block));
  return block;
}

void *malloc(size_t bytes) {
  return counted(__libc_malloc(bytes));
}
void *calloc(size_t count, size_t bytes) {
  return counted(__libc_calloc(count, bytes));
}
void *aligned_alloc(size_t alignment, size_t bytes) {
  return counted(__libc_memalign(alignment, bytes));
}

int posix_memalign(void **out, size_t alignment, size_t bytes) {
  *out = counted(__libc_memalign(alignment, bytes));
  return *out ? 0 : ENOMEM;
}

void *realloc(void *block, size_t bytes) {
  size_t before = block ? malloc_usable_size(block) : 0;
  void *grown = __libc_realloc(block, bytes);
  if (grown || bytes == 0) uncount_block(before);
  return counted(grown);
}

void free(void *block) {
  if (block) uncount_block(malloc_usable_size(block));
  __libc_free(block);
}

static void watch(void) {}

#endif

void fuzz_memory_begin(void) {
  watch();
  atomic_store(&largest, 0);
  atomic_store(&live, 0);
  atomic_store(&peak, 0);
}

fuzz_memory fuzz_memory_end(void) {
  return (fuzz_memory){.largest = atomic_load(&largest), .peak = (size_t)atomic_load(&peak)};
}
