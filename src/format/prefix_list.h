// prefix_list.h: which pages of prefixes a folder holds, and which of them go first. Pure: numbers in,
// numbers out.
//
// The names that are there are a set of hashes, so that most texts, of which nothing is kept, cost no look at
// the disk. What goes first is what was used longest ago; of the same use, what stands further behind in its
// text, since a page is of no use without those before it. There may be more files than anyone wants to list
// at once: whoever looks for the first ones offers each file, and the few that go first are kept.
#ifndef FG_FORMAT_PREFIX_LIST_H
#define FG_FORMAT_PREFIX_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// ---- names ----------------------------------------------------------------------------------------------

typedef struct fg_prefix_names {
  uint64_t *slots; // [mask + 1]; 0: free
  size_t mask, count;
} fg_prefix_names;

void fg_prefix_names_free(fg_prefix_names *names);
bool fg_prefix_names_has(const fg_prefix_names *names, uint64_t hash);
// Adding one that is there does nothing. False: no memory.
bool fg_prefix_names_add(fg_prefix_names *names, uint64_t hash);
void fg_prefix_names_remove(fg_prefix_names *names, uint64_t hash); // one that is not there: nothing happens
size_t fg_prefix_names_bytes(const fg_prefix_names *names);         // allocated

// ---- what goes first ------------------------------------------------------------------------------------

typedef struct fg_prefix_file {
  uint64_t folder, hash; // of its name
  uint32_t block;
  uint64_t bytes;
  int64_t used_ns; // when it was used last
} fg_prefix_file;

enum { FG_PREFIX_OLDEST = 512 };

typedef struct fg_prefix_oldest {
  fg_prefix_file files[FG_PREFIX_OLDEST]; // a heap: the one that goes last is on top
  uint32_t count;
} fg_prefix_oldest;

// Whether `a` goes before `b`.
bool fg_prefix_goes_before(const fg_prefix_file *a, const fg_prefix_file *b);
void fg_prefix_oldest_offer(fg_prefix_oldest *oldest, const fg_prefix_file *file);
// In the order in which they go; nothing can be offered afterwards.
void fg_prefix_oldest_sort(fg_prefix_oldest *oldest);

#endif
