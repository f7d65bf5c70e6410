// folders.h: making a folder and all that it stands in.
#ifndef FG_BASE_FOLDERS_H
#define FG_BASE_FOLDERS_H

#include "flexgen/error.h"

// Does nothing where it is there already. The message names the part that could not be made.
fg_status fg_folders_make(const char *path, fg_error *err);

#endif
