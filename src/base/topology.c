#include "base/topology.h"

#include <hwloc.h>
#include <stdbool.h>
#include <string.h>

// Loads what is asked about and nothing else: no caches, devices or vendor libraries.
static bool load(hwloc_topology_t topology, const char *xml) {
  if (hwloc_topology_set_all_types_filter(topology, HWLOC_TYPE_FILTER_KEEP_NONE) != 0) return false;
  if (hwloc_topology_set_type_filter(topology, HWLOC_OBJ_CORE, HWLOC_TYPE_FILTER_KEEP_ALL) != 0) return false;
  if (xml && hwloc_topology_set_xmlbuffer(topology, xml, (int)strlen(xml) + 1) != 0) return false;
  return hwloc_topology_load(topology) == 0;
}

static uint32_t count(hwloc_topology_t topology, hwloc_const_bitmap_t allowed) {
  // A virtual machine may hide which hardware threads share a core: then each counts.
  bool cores = hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_CORE) > 0;
  hwloc_obj_type_t type = cores ? HWLOC_OBJ_CORE : HWLOC_OBJ_PU;
  uint32_t found = 0;
  for (hwloc_obj_t object = NULL; (object = hwloc_get_next_obj_by_type(topology, type, object));)
    found += hwloc_bitmap_intersects(object->cpuset, allowed);
  return found;
}

uint32_t fg_topology_cores(const char *xml, const char *allowed) {
  hwloc_topology_t topology;
  if (hwloc_topology_init(&topology) != 0) return 0;
  hwloc_bitmap_t set = hwloc_bitmap_alloc();
  uint32_t cores = 0;
  if (set && load(topology, xml) &&
      (allowed ? hwloc_bitmap_list_sscanf(set, allowed)
               : hwloc_get_cpubind(topology, set, HWLOC_CPUBIND_THREAD)) == 0)
    cores = count(topology, set);
  hwloc_bitmap_free(set);
  hwloc_topology_destroy(topology);
  return cores;
}
