// json_config.h: the configuration of a config.json that stands in the test.
#ifndef TESTS_MODEL_JSON_CONFIG_H
#define TESTS_MODEL_JSON_CONFIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "model/config.h"

static inline fg_status try_load(fg_config *config, const char *json, fg_error *err) {
  fg_assets assets = {0};
  assert_int_equal(fg_assets_add(&assets, "config.json", json, strlen(json), err), FG_OK);
  fg_status status = fg_config_load(config, &assets, err);
  fg_assets_free(&assets);
  return status;
}

static inline fg_config load(const char *json) {
  fg_config config;
  fg_error err = {FG_OK, ""};
  if (try_load(&config, json, &err)) fail_msg("%s: %s", json, err.message);
  return config;
}

#endif
