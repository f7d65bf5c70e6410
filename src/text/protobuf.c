#include "text/protobuf.h"

#include <string.h>

static fg_status fail(const fg_proto *p, const char *what, fg_error *err) {
  return fg_fail(err, FG_CORRUPT, "byte %zu of a message of %zu: %s", p->at, p->bytes, what);
}

static fg_status take_varint(fg_proto *p, uint64_t *out, fg_error *err) {
  *out = 0;
  for (unsigned shift = 0; shift < 70; shift += 7) {
    if (p->at == p->bytes) return fail(p, "it ends within a number", err);
    uint64_t byte = p->data[p->at++];
    if (shift == 63 && byte > 1) break;
    *out |= (byte & 0x7f) << shift;
    if (byte < 0x80) return FG_OK;
  }
  return fail(p, "a number of more than 64 bits", err);
}

static fg_status take_bytes(fg_proto *p, uint64_t count, fg_slice *out, fg_error *err) {
  if (count > p->bytes - p->at) return fail(p, "a value that is longer than the rest", err);
  *out = (fg_slice){(const char *)p->data + p->at, (size_t)count};
  p->at += (size_t)count;
  return FG_OK;
}

fg_status fg_proto_next(fg_proto *p, fg_proto_field *field, bool *more, fg_error *err) {
  uint64_t tag, length;
  *more = p->at < p->bytes;
  if (!*more) return FG_OK;
  fg_status status = take_varint(p, &tag, err);
  if (status) return status;
  *field = (fg_proto_field){.number = (uint32_t)(tag >> 3), .kind = (fg_proto_kind)(tag & 7)};
  if (tag >> 3 == 0 || tag >> 32 != 0) return fail(p, "a field of no valid number", err);
  switch (field->kind) {
  case FG_PROTO_INTEGER: return take_varint(p, &field->integer, err);
  case FG_PROTO_BYTES:
    status = take_varint(p, &length, err);
    return status ? status : take_bytes(p, length, &field->bytes, err);
  case FG_PROTO_4_BYTES:
  case FG_PROTO_8_BYTES:
    length = field->kind == FG_PROTO_4_BYTES ? 4 : 8;
    status = take_bytes(p, length, &field->bytes, err);
    for (uint64_t i = 0; i < length && status == FG_OK; i++) {
      field->integer |= (uint64_t)(unsigned char)field->bytes.data[i] << (8 * i);
    }
    return status;
  default: return fail(p, "a field of a type that is not known", err);
  }
}

float fg_proto_float(const fg_proto_field *field) {
  uint32_t bits = (uint32_t)field->integer;
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}
