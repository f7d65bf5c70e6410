// hardware_json.h: a machine as a JSON file: {"machine": "t4", "disk_read": 3.5e9, ...}.
//
// "machine" names a known one, whose figures hold where the file gives none; without it the file gives all.
// Keys are the fields of fg_hardware; a key that is none of them is refused.
#ifndef FG_MACHINE_HARDWARE_JSON_H
#define FG_MACHINE_HARDWARE_JSON_H

#include "flexgen/error.h"
#include "machine/hardware.h"

// `word`: the name of a known machine, or a file. out->name and out->about are constants.
fg_status fg_hardware_find(fg_hardware *out, const char *word, fg_error *err);

#endif
