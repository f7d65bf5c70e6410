// topology.h: how many threads a machine is good for, and where the memory that all of them read should be.
//
// Dense products fill a core's vector units from one thread, so what counts is cores, not their hardware
// threads, of all NUMA nodes together, and only those on which the process may run. Those threads read every
// large block together, whichever touched it first; so on a machine of several memory nodes the pages of such
// a block are dealt out to the nodes in turn, and no node's bandwidth is the limit of all.
#ifndef FG_BASE_TOPOLOGY_H
#define FG_BASE_TOPOLOGY_H

#include <stddef.h>
#include <stdint.h>

// In what follows `xml` describes the machine in hwloc's format and `allowed` lists hardware threads
// ("0-3,8"); NULL = this machine, and the calling thread's affinity.

// Cores with at least one hardware thread in the set. 0: it cannot be told.
uint32_t fg_topology_cores(const char *xml, const char *allowed);

// Memory nodes next to the set, as a list in `list` ("0-1"): of nodes on top of each other, such as a
// package's own memory and a slower one behind it, the closest and first. Returns how many; 0: it cannot be
// told.
uint32_t fg_topology_nodes(const char *xml, const char *allowed, char *list, size_t size);

typedef struct fg_nodes fg_nodes;
// Those next to the calling thread's affinity; NULL if there are fewer than `fewest`, they cannot be told, or
// the thread has a memory policy already.
fg_nodes *fg_nodes_create(uint32_t fewest);
void fg_nodes_destroy(fg_nodes *nodes); // NULL is allowed
// Deals the pages of a block out to the nodes, as they are touched for the first time. A wish: nothing
// happens where the system refuses it, or if `nodes` is NULL.
void fg_nodes_interleave(const fg_nodes *nodes, const void *base, size_t bytes);

#endif
