// profile_json.h: a profile as the text that is kept and that `flexgen profile --json` prints.
//
// What is read is as strict as what is written is plain: every number is there, finite and in its range,
// every name is known. A planner that believed half a profile would be wrong without anybody knowing why, so
// a damaged one is refused as a whole and measured again.
#ifndef FG_PLAN_PROFILE_JSON_H
#define FG_PLAN_PROFILE_JSON_H

#include <jansson.h>

#include "flexgen/error.h"
#include "plan/profile.h"

enum { FG_PROFILE_MAX_BYTES = 1 << 20 }; // of a file

// A new reference; NULL without memory.
json_t *fg_profile_to_json(const fg_profile *profile);
// FG_CORRUPT names the entry and the way out. `where` names the text in messages.
fg_status fg_profile_from_json(fg_profile *out, const json_t *json, const char *where, fg_error *err);
fg_status fg_profile_read(fg_profile *out, const char *path, fg_error *err);
// The name of an arithmetic, as on the command line; NULL for an unknown one.
const char *fg_profile_compute_name(int compute);

#endif
