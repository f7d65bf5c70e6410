#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <hwloc.h>
#include <stdlib.h>
#include <string.h>

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

static void test_what_cannot_be_told_is_zero(void **state) {
  (void)state;
  char *xml = machine("core:2 pu:1");
  assert_int_equal(fg_topology_cores(xml, "x"), 0);
  assert_int_equal(fg_topology_cores(xml, ""), 0);
  free(xml);
}

static void test_this_machine_has_cores(void **state) {
  (void)state;
  assert_true(fg_topology_cores(NULL, NULL) >= 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_siblings_of_a_core_count_once),
      cmocka_unit_test(test_what_cannot_be_told_is_zero),
      cmocka_unit_test(test_this_machine_has_cores),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
