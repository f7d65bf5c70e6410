// tinyllama.h: a model and a machine for tests of policies.
#ifndef FG_TESTS_TINYLLAMA_H
#define FG_TESTS_TINYLLAMA_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "plan/policy.h"

static const uint64_t MiB = 1024 * 1024;

static uint64_t scratch(const void *user, uint32_t tokens) {
  (void)user;
  return tokens * 4096ull;
}

// About tinyllama-1.1b in bf16: 2.1 GB of panels, 22 layers of 4 KV heads of 64.
static fg_plan_input tinyllama(uint64_t host) {
  return (fg_plan_input){.one_memory = true,
                         .host = host,
                         .panel_bytes = 2000 * MiB,
                         .largest_panel = 8 * MiB,
                         .vector_bytes = MiB,
                         .table_bytes = 125 * MiB,
                         .page_bytes = 22 * 2 * 4 * 64 * 2 * 32,
                         .page_tokens = 32,
                         .context = 2048,
                         .device_per_token = 80 * 1024,
                         .host_per_token = 1024,
                         .host_per_seq = 128 * 1024,
                         .device_fixed = 4 * MiB,
                         .host_fixed = 2 * MiB,
                         .scratch = scratch};
}

#endif
