// budget.h: one memory tier's promise.
//
// Every byte is reserved here before it is allocated; a reservation beyond the limit fails, with a
// message that says what wanted how much and how much is left. A budget counts what its holder
// declares: large blocks come from fg_budget_alloc, and what cannot be counted one by one (libraries,
// stacks, small strings) is reserved as a named lump at the start.
//
// Threads: all functions may be called from any thread.
#ifndef FG_BASE_BUDGET_H
#define FG_BASE_BUDGET_H

#include <stddef.h>
#include <stdint.h>

#include "flexgen/error.h"

typedef struct fg_budget fg_budget;

// `name` ("host memory") and `flag` ("--host-memory") appear in messages. limit 0 = unlimited.
fg_status fg_budget_create(fg_budget **out, const char *name, const char *flag, uint64_t limit,
                           fg_error *err);
void fg_budget_destroy(fg_budget *budget);

fg_status fg_budget_reserve(fg_budget *budget, uint64_t bytes, const char *what, fg_error *err);
void fg_budget_release(fg_budget *budget, uint64_t bytes);

// For what is reserved from now on. Not while another thread uses the budget.
void fg_budget_set_limit(fg_budget *budget, uint64_t limit);
uint64_t fg_budget_limit(const fg_budget *budget); // UINT64_MAX when unlimited
uint64_t fg_budget_used(const fg_budget *budget);
uint64_t fg_budget_peak(const fg_budget *budget);
uint64_t fg_budget_left(const fg_budget *budget);

// A zeroed block aligned to 4096, mapped from the system so that freeing gives the pages back.
// bytes 0 gives a valid block of one page. Touched lazily by the kernel, counted at once. A block of 2 MiB or
// more begins at a multiple of it, where huge pages do.
fg_status fg_budget_alloc(fg_budget *budget, uint64_t bytes, const char *what, void **out, fg_error *err);
// Blocks are counted from now on, and the system need not have the memory: it is for blocks that nobody uses
// but for small parts, of a machine that is simulated.
void fg_budget_make_hollow(fg_budget *budget);
void fg_budget_free(fg_budget *budget, void *block); // NULL is allowed

// Says of memory that was not used yet that it will be used in pieces, over and over. The system may give it
// huge pages: fewer to find (products of resident weights 1.2 times as fast, attention over a large cache as
// well) and to describe to a disk, but slower to clear, above all where a virtual machine gives large free
// blocks back to its host. So what is gone through once does not ask for it.
void fg_prefer_huge_pages(void *base, uint64_t bytes);

// Bytes of this process that are resident now / at most so far (0 if unknown).
uint64_t fg_process_rss(void);
uint64_t fg_process_peak_rss(void);

// What the machine, or the memory cgroup (v1 or v2) if it is tighter, has left for this process.
uint64_t fg_machine_memory_available(void);

#endif
