// topology.h: how many threads a machine is good for.
//
// Dense products fill a core's vector units from one thread, so what counts is cores, not their hardware
// threads, of all NUMA nodes together, and only those on which the process may run.
#ifndef FG_BASE_TOPOLOGY_H
#define FG_BASE_TOPOLOGY_H

#include <stdint.h>

// Cores with at least one hardware thread in the set. `xml` describes the machine in hwloc's format,
// `allowed` lists the set ("0-3,8"); NULL = this machine, and the calling thread's affinity. 0: it cannot be
// told.
uint32_t fg_topology_cores(const char *xml, const char *allowed);

#endif
