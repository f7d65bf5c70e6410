// policy_file.h: a policy that a user keeps, edits and gives back.
//
// The file is the object that `flexgen plan --json` has as "policy", alone or as it stands there. What it
// names is fixed; a key that is taken out is left to the planner. Keys that only tell (sizes of a page, the
// share that stays in memory) are read over, unknown ones are an error.
#ifndef FG_PLAN_POLICY_FILE_H
#define FG_PLAN_POLICY_FILE_H

#include "plan/policy.h"

// Fills the wishes that are still 0: what is already there was said more plainly. FG_NOT_FOUND, FG_INVALID.
fg_status fg_policy_file_read(const char *path, fg_plan_input *wishes, fg_error *err);
// As the file names it; not of FG_ORDER_CHOOSE.
const char *fg_row_order_name(fg_row_order order);

#endif
