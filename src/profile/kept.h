// kept.h: the profiles that are kept, one file a machine.
//
// A profile is worth something only for the machine, the kernels and the disk that it was made with. So its
// file's name is a hash of these, and what is read is compared with them once more; after a change of
// hardware, of the number of threads or of the version there is none, and it has to be measured again.
#ifndef FG_PROFILE_KEPT_H
#define FG_PROFILE_KEPT_H

#include "profile/measure.h"

// $XDG_CACHE_HOME/flexgen/profiles or ~/.cache/flexgen/profiles. FG_INVALID where neither is known.
fg_status fg_profile_folder(char *out, size_t size, fg_error *err);
// Where the profile of this machine (fg_profile_describe) is or will be.
fg_status fg_profile_path(char *out, size_t size, const fg_profile *machine, fg_error *err);

// The kept profile of this machine. FG_NOT_FOUND says what to do; FG_CORRUPT if it is damaged.
fg_status fg_profile_find(fg_profile *out, const fg_profile *machine, fg_error *err);
// Whole or not at all: under another name first.
fg_status fg_profile_keep(const fg_profile *profile, fg_error *err);

typedef enum fg_profile_wish {
  FG_PROFILE_KEPT,            // a kept one or FG_NOT_FOUND
  FG_PROFILE_KEPT_OR_MEASURE, // a kept one, else measured and kept; a damaged one is replaced
  FG_PROFILE_MEASURE,         // measured and kept
} fg_profile_wish;

// *measured (may be NULL) tells whether it is new. A measured profile that could not be kept is a warning in
// the log and no failure.
fg_status fg_profile_load_or_measure(fg_profile *out, const fg_profile_options *options, fg_profile_wish wish,
                                     bool *measured, fg_error *err);

#endif
