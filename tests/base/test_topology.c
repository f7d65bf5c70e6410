#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <hwloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/topology.h"

// A machine in hwloc's XML from its short description.
static char *machine(const char *synthetic) {
  hwloc_topology_t topology;
  char *xml, *copy;
  int length;
  assert_int_equal(hwloc_topology_init(&topology), 0);
  assert_int_equal(hwloc_topology_set_synthetic(topology, synthetic), 0);
  assert_int_equal(hwloc_topology_load(topology), 0);
  assert_int_equal(hwloc_topology_export_xmlbuffer(topology, &xml, &length, 0), 0);
  copy = strdup(xml);
  hwloc_free_xmlbuffer(topology, xml);
  hwloc_topology_destroy(topology);
  return copy;
}

static void test_siblings_of_a_core_count_once(void **state) {
  (void)state;
  static const struct {
    const char *machine, *allowed;
    uint32_t cores;
  } cases[] = {
      {"node:2 core:4 pu:2", "0-15", 8},   // two nodes of four cores of two threads
      {"node:2 core:4 pu:2", "0-7", 4},    // one node
      {"node:2 core:4 pu:2", "0,1", 1},    // one core
      {"node:2 core:4 pu:2", "1,3,8", 3},  // parts of three
      {"node:2 core:4 pu:2", "0-1000", 8}, // more than there is
      {"node:2 core:4 pu:2", "64", 0},     // none of it
      {"node:1 core:64 pu:1", "0-63", 64}, // no siblings
      {"node:4 pu:8", "0-9", 10},          // cores are not told: every thread counts
      {"node:16 core:12 pu:2", "0-383", 192},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char *xml = machine(cases[i].machine);
    uint32_t cores = fg_topology_cores(xml, cases[i].allowed);
    if (cores != cases[i].cores) fail_msg("case %zu: %u cores, not %u", i, cores, cases[i].cores);
    free(xml);
  }
}

static void test_nodes_next_to_the_threads(void **state) {
  (void)state;
  static const struct {
    const char *machine, *allowed, *nodes;
  } cases[] = {
      {"node:2 core:4 pu:2", "0-15", "0-1"},
      {"node:2 core:4 pu:2", "8-9", "1"},
      {"node:2 core:4 pu:2", "3,12", "0-1"},
      {"node:4 core:4 pu:1", "0-3,8-11", "0,2"}, // threads of two nodes of four
      {"node:1 core:64 pu:1", "0-63", "0"},
      {"core:2 pu:1", "0-1", "0"},
      {"pack:2 [numa] [numa] core:2 pu:1", "0-3", "0,2"},     // a slow memory behind each package's own
      {"[numa] pack:2 [numa] core:2 pu:1", "0-3", "0-1"},     // and one behind both
      {"[numa] pack:2 [numa] core:2 pu:1", "2-3", "1"},       // of which a package takes its own
      {"pack:2 [numa] group:2 [numa] core:1 pu:1", "0", "0"}, // the part's, not its package's
      {"node:2 core:4 pu:2", "64", ""},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char *xml = machine(cases[i].machine), list[64] = "";
    fg_topology_nodes(xml, cases[i].allowed, list, sizeof list);
    if (strcmp(list, cases[i].nodes)) fail_msg("case %zu: %s, not %s", i, list, cases[i].nodes);
    free(xml);
  }
}

static void test_many_nodes_that_do_not_fit_the_list_are_none(void **state) {
  (void)state;
  char *xml = machine("node:8 core:1 pu:1"), list[4];
  assert_int_equal(fg_topology_nodes(xml, "0,2,4,6", list, sizeof list), 0);
  assert_int_equal(fg_topology_nodes(xml, "1-3", list, sizeof list), 3);
  assert_string_equal(list, "1-3");
  free(xml);
}

static hwloc_membind_policy_t policy_of(const void *base, size_t bytes) {
  hwloc_topology_t topology;
  hwloc_membind_policy_t policy = HWLOC_MEMBIND_MIXED;
  hwloc_bitmap_t nodes = hwloc_bitmap_alloc();
  assert_int_equal(hwloc_topology_init(&topology), 0);
  assert_int_equal(hwloc_topology_load(topology), 0);
  hwloc_get_area_membind(topology, base, bytes, nodes, &policy, HWLOC_MEMBIND_BYNODESET);
  hwloc_bitmap_free(nodes);
  hwloc_topology_destroy(topology);
  return policy;
}

// One node is enough to see that the system took the wish.
static void test_a_block_is_interleaved_and_no_other_one(void **state) {
  (void)state;
  enum { BYTES = 1 << 20 };
  char *all = mmap(NULL, 3 * BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  assert_ptr_not_equal(all, MAP_FAILED);
  fg_nodes *nodes = fg_nodes_create(1);
  if (!nodes) skip();
  if (policy_of(all, BYTES) == HWLOC_MEMBIND_MIXED) skip(); // the kernel knows no policies
  fg_nodes_interleave(NULL, all, BYTES);
  fg_nodes_interleave(nodes, all + BYTES, BYTES);
  assert_int_not_equal(policy_of(all, BYTES), HWLOC_MEMBIND_INTERLEAVE);
  assert_int_equal(policy_of(all + BYTES, BYTES), HWLOC_MEMBIND_INTERLEAVE);
  assert_int_not_equal(policy_of(all + 2 * BYTES, BYTES), HWLOC_MEMBIND_INTERLEAVE);
  memset(all, 1, 3 * BYTES);
  fg_nodes_interleave(nodes, NULL, BYTES); // refused: no error
  fg_nodes_destroy(nodes);
  munmap(all, 3 * BYTES);
}

static void test_a_policy_that_was_chosen_before_stays(void **state) {
  (void)state;
  hwloc_topology_t topology;
  assert_int_equal(hwloc_topology_init(&topology), 0);
  assert_int_equal(hwloc_topology_load(topology), 0);
  hwloc_const_bitmap_t all = hwloc_topology_get_topology_nodeset(topology);
  int flags = HWLOC_MEMBIND_THREAD | HWLOC_MEMBIND_BYNODESET;
  if (hwloc_set_membind(topology, all, HWLOC_MEMBIND_BIND, flags) != 0) {
    hwloc_topology_destroy(topology);
    skip();
  }
  fg_nodes *nodes = fg_nodes_create(1);
  hwloc_set_membind(topology, all, HWLOC_MEMBIND_DEFAULT, flags);
  hwloc_topology_destroy(topology);
  assert_null(nodes);
}

static void test_a_machine_with_too_few_nodes_has_none(void **state) {
  (void)state;
  assert_null(fg_nodes_create(4096));
  fg_nodes_destroy(NULL);
}

static void test_what_cannot_be_told_is_zero(void **state) {
  (void)state;
  char *xml = machine("core:2 pu:1");
  assert_int_equal(fg_topology_cores(xml, "x"), 0);
  assert_int_equal(fg_topology_cores(xml, ""), 0);
  char list[8];
  assert_int_equal(fg_topology_nodes(xml, "x", list, sizeof list), 0);
  assert_int_equal(fg_topology_nodes(xml, "", list, sizeof list), 0);
  free(xml);
}

static void test_this_machine_has_cores(void **state) {
  (void)state;
  assert_true(fg_topology_cores(NULL, NULL) >= 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_siblings_of_a_core_count_once),
      cmocka_unit_test(test_nodes_next_to_the_threads),
      cmocka_unit_test(test_many_nodes_that_do_not_fit_the_list_are_none),
      cmocka_unit_test(test_a_block_is_interleaved_and_no_other_one),
      cmocka_unit_test(test_a_policy_that_was_chosen_before_stays),
      cmocka_unit_test(test_a_machine_with_too_few_nodes_has_none),
      cmocka_unit_test(test_what_cannot_be_told_is_zero),
      cmocka_unit_test(test_this_machine_has_cores),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
