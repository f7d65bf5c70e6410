// multipart.h: the form that an upload comes as (multipart/form-data, RFC 7578), read as it arrives.
//
// Bytes go in in pieces of any size and come out at a sink, part by part; nothing of a part is kept. What is
// wrong with a form is an error of whoever sent it, in words for them. Everything here comes from strangers.
//
// Pure: bytes in, calls out.
#ifndef FG_SERVE_MULTIPART_H
#define FG_SERVE_MULTIPART_H

#include <stdbool.h>
#include <stddef.h>

#include "flexgen/error.h"

// Of a part: name is there; filename NULL: it is a field, no file. Both without control characters.
typedef struct fg_multipart_part {
  const char *name, *filename;
} fg_multipart_part;

// Each returns false to stop.
typedef struct fg_multipart_sink {
  bool (*begin)(void *user, const fg_multipart_part *part);
  bool (*data)(void *user, const char *bytes, size_t count);
  bool (*end)(void *user);
  void *user;
} fg_multipart_sink;

typedef struct fg_multipart fg_multipart;

// `content_type` is the header's text, NULL where there was none. FG_INVALID: no form, or none that can be
// read.
fg_status fg_multipart_create(fg_multipart **out, const char *content_type, const fg_multipart_sink *sink,
                              fg_error *err);
void fg_multipart_destroy(fg_multipart *form);
// FG_INVALID, or FG_CANCELLED when the sink stopped it; then nothing more may be fed.
fg_status fg_multipart_feed(fg_multipart *form, const char *bytes, size_t count, fg_error *err);
// That was all: FG_INVALID if the form has no end.
fg_status fg_multipart_finish(const fg_multipart *form, fg_error *err);

#endif
