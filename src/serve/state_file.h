// state_file.h: small files that say how things stand, written so that a kill leaves the old one or the new.
#ifndef FG_SERVE_STATE_FILE_H
#define FG_SERVE_STATE_FILE_H

#include <jansson.h>
#include <stddef.h>

#include "flexgen/error.h"

// `object` takes the place of the file, on the disk when this returns. NULL: there was no memory for it.
fg_status fg_state_write(const json_t *object, const char *path, fg_error *err);
// All of the bytes; `what` is for the message.
fg_status fg_write_whole(int fd, const void *bytes, size_t count, const char *what, fg_error *err);

#endif
