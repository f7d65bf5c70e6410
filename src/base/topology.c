#include "base/topology.h"

#if defined(FG_HAVE_HWLOC)

#include <hwloc.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

// Loads what is asked about and nothing else: no caches, devices or vendor libraries.
static bool load(hwloc_topology_t topology, const char *xml) {
  static const hwloc_obj_type_t places[] = {HWLOC_OBJ_PACKAGE, HWLOC_OBJ_DIE, HWLOC_OBJ_GROUP};
  if (hwloc_topology_set_all_types_filter(topology, HWLOC_TYPE_FILTER_KEEP_NONE) != 0) return false;
  if (hwloc_topology_set_type_filter(topology, HWLOC_OBJ_CORE, HWLOC_TYPE_FILTER_KEEP_ALL) != 0) return false;
  // What memory nodes hang on: without it every node would seem next to the whole machine.
  for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
    if (hwloc_topology_set_type_filter(topology, places[i], HWLOC_TYPE_FILTER_KEEP_STRUCTURE) != 0)
      return false;
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

// Returns whether both are there; otherwise nothing is left to destroy.
static bool open_machine(const char *xml, const char *allowed, hwloc_topology_t *topology,
                         hwloc_bitmap_t *set) {
  if (hwloc_topology_init(topology) != 0) return false;
  *set = hwloc_bitmap_alloc();
  if (*set && load(*topology, xml) &&
      (allowed ? hwloc_bitmap_list_sscanf(*set, allowed)
               : hwloc_get_cpubind(*topology, *set, HWLOC_CPUBIND_THREAD)) == 0)
    return true;
  hwloc_bitmap_free(*set);
  hwloc_topology_destroy(*topology);
  return false;
}

uint32_t fg_topology_cores(const char *xml, const char *allowed) {
  hwloc_topology_t topology;
  hwloc_bitmap_t set;
  if (!open_machine(xml, allowed, &topology, &set)) return 0;
  uint32_t cores = count(topology, set);
  hwloc_bitmap_free(set);
  hwloc_topology_destroy(topology);
  return cores;
}

// ---- memory nodes ------------------------------------------------------------------------------------

// Whether `other` serves fewer hardware threads, all of them of this node, or the same ones and comes first.
static bool is_closer(hwloc_obj_t other, hwloc_obj_t node) {
  if (hwloc_bitmap_isequal(other->cpuset, node->cpuset)) return other->os_index < node->os_index;
  return !hwloc_bitmap_iszero(other->cpuset) && hwloc_bitmap_isincluded(other->cpuset, node->cpuset);
}

static bool is_closest(hwloc_topology_t topology, hwloc_obj_t node) {
  for (hwloc_obj_t other = NULL; (other = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_NUMANODE, other));)
    if (other != node && is_closer(other, node)) return false;
  return true;
}

// Turns the set of hardware threads into the one of their nodes.
static bool find_nodes(hwloc_topology_t topology, hwloc_bitmap_t set) {
  hwloc_bitmap_t found = hwloc_bitmap_alloc();
  if (!found) return false;
  for (hwloc_obj_t node = NULL; (node = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_NUMANODE, node));)
    if (hwloc_bitmap_intersects(node->cpuset, set) && is_closest(topology, node))
      hwloc_bitmap_set(found, node->os_index);
  bool copied = hwloc_bitmap_copy(set, found) == 0;
  hwloc_bitmap_free(found);
  return copied;
}

uint32_t fg_topology_nodes(const char *xml, const char *allowed, char *list, size_t size) {
  hwloc_topology_t topology;
  hwloc_bitmap_t set;
  if (!open_machine(xml, allowed, &topology, &set)) return 0;
  uint32_t nodes = 0;
  if (find_nodes(topology, set) && hwloc_bitmap_list_snprintf(list, size, set) < (int)size)
    nodes = (uint32_t)hwloc_bitmap_weight(set);
  hwloc_bitmap_free(set);
  hwloc_topology_destroy(topology);
  return nodes;
}

struct fg_nodes {
  hwloc_topology_t topology;
  hwloc_bitmap_t set;
};

// Whoever started the process with a policy (numactl) keeps it.
static bool has_policy(hwloc_topology_t topology) {
  hwloc_bitmap_t set = hwloc_bitmap_alloc();
  hwloc_membind_policy_t policy = HWLOC_MEMBIND_FIRSTTOUCH;
  if (set) (void)hwloc_get_membind(topology, set, &policy, HWLOC_MEMBIND_THREAD | HWLOC_MEMBIND_BYNODESET);
  hwloc_bitmap_free(set);
  return policy != HWLOC_MEMBIND_FIRSTTOUCH;
}

fg_nodes *fg_nodes_create(uint32_t fewest) {
  fg_nodes *nodes = malloc(sizeof *nodes);
  if (!nodes) return NULL;
  if (!open_machine(NULL, NULL, &nodes->topology, &nodes->set)) {
    free(nodes);
    return NULL;
  }
  if (find_nodes(nodes->topology, nodes->set) && hwloc_bitmap_weight(nodes->set) >= (int)fewest &&
      !has_policy(nodes->topology))
    return nodes;
  fg_nodes_destroy(nodes);
  return NULL;
}

void fg_nodes_destroy(fg_nodes *nodes) {
  if (!nodes) return;
  hwloc_bitmap_free(nodes->set);
  hwloc_topology_destroy(nodes->topology);
  free(nodes);
}

void fg_nodes_interleave(const fg_nodes *nodes, const void *base, size_t bytes) {
  if (!nodes) return;
  (void)hwloc_set_area_membind(nodes->topology, base, bytes, nodes->set, HWLOC_MEMBIND_INTERLEAVE,
                               HWLOC_MEMBIND_BYNODESET);
}

#else // not known: callers then take the machine as one

#include <stddef.h>

uint32_t fg_topology_cores(const char *xml, const char *allowed) {
  (void)xml, (void)allowed;
  return 0;
}

uint32_t fg_topology_nodes(const char *xml, const char *allowed, char *list, size_t size) {
  (void)xml, (void)allowed, (void)list, (void)size;
  return 0;
}

fg_nodes *fg_nodes_create(uint32_t fewest) {
  (void)fewest;
  return NULL;
}

void fg_nodes_destroy(fg_nodes *nodes) {
  (void)nodes;
}

void fg_nodes_interleave(const fg_nodes *nodes, const void *base, size_t bytes) {
  (void)nodes, (void)base, (void)bytes;
}

#endif
