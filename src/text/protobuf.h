// protobuf.h: the wire format of protocol buffers, read field by field.
//
// A message is a list of fields, each a number and a value that is an integer, four or eight bytes, or a
// length and that many bytes: a text, or a message within the message. Nothing is copied; every length is
// checked against what is left of the bytes around it.
#ifndef FG_TEXT_PROTOBUF_H
#define FG_TEXT_PROTOBUF_H

#include <stdbool.h>
#include <stdint.h>

#include "flexgen/error.h"
#include "text/unicode.h"

typedef struct fg_proto {
  const unsigned char *data;
  size_t bytes, at;
} fg_proto;

typedef enum fg_proto_kind {
  FG_PROTO_INTEGER = 0,
  FG_PROTO_8_BYTES = 1,
  FG_PROTO_BYTES = 2,
  FG_PROTO_4_BYTES = 5
} fg_proto_kind;

typedef struct fg_proto_field {
  uint32_t number;
  fg_proto_kind kind;
  uint64_t integer; // also the bits of four or eight bytes
  fg_slice bytes;
} fg_proto_field;

static inline fg_proto fg_proto_of(fg_slice bytes) {
  return (fg_proto){(const unsigned char *)bytes.data, bytes.length, 0};
}

// *more: false at the end of the message.
fg_status fg_proto_next(fg_proto *message, fg_proto_field *field, bool *more, fg_error *err);
float fg_proto_float(const fg_proto_field *field); // of four bytes

#endif
