// gguf.h: GGUF's metadata (version 3, little-endian): typed values by key.
//
// The header of a GGUF file (all before the tensor data) carries configuration and tokenizer; it is
// kept as bytes in packed stores and parsed again from there, so this reads from memory.
// Specification: ggml docs/gguf.md. Unknown value types are errors; so is anything out of bounds.
#ifndef FG_FORMAT_GGUF_H
#define FG_FORMAT_GGUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "flexgen/error.h"

typedef struct fg_gguf fg_gguf;

// A string inside the header: not NUL-terminated.
typedef struct fg_gguf_string {
  const char *data;
  uint64_t length;
} fg_gguf_string;

// Takes a copy of nothing: `header` must outlive the result.
fg_status fg_gguf_parse(fg_gguf **out, const void *header, size_t bytes, fg_error *err);
void fg_gguf_destroy(fg_gguf *gguf);

// Reads the header of a file, up to where its tensor data begins, into a malloc'd block (at most
// max_bytes).
fg_status fg_gguf_read_header(const char *path, size_t max_bytes, void **header, size_t *bytes,
                              fg_error *err);

bool fg_gguf_has(const fg_gguf *gguf, const char *key);
// Missing key: *out = fallback. Any integer type that fits is accepted for u32.
fg_status fg_gguf_u32(const fg_gguf *gguf, const char *key, uint32_t fallback, uint32_t *out, fg_error *err);
fg_status fg_gguf_f32(const fg_gguf *gguf, const char *key, float fallback, float *out, fg_error *err);
fg_status fg_gguf_bool(const fg_gguf *gguf, const char *key, bool fallback, bool *out, fg_error *err);
// Missing key: *out = {NULL, 0}.
fg_status fg_gguf_text(const fg_gguf *gguf, const char *key, fg_gguf_string *out, fg_error *err);
// Arrays: count 0 when missing.
fg_status fg_gguf_array_count(const fg_gguf *gguf, const char *key, uint64_t *count, fg_error *err);
// Fill caller's arrays of `count` elements; an element type that does not fit is an error.
fg_status fg_gguf_array_strings(const fg_gguf *gguf, const char *key, fg_gguf_string *out, uint64_t count,
                                fg_error *err);
fg_status fg_gguf_array_i32(const fg_gguf *gguf, const char *key, int32_t *out, uint64_t count,
                            fg_error *err);
fg_status fg_gguf_array_bool(const fg_gguf *gguf, const char *key, bool *out, uint64_t count, fg_error *err);
fg_status fg_gguf_array_f32(const fg_gguf *gguf, const char *key, float *out, uint64_t count, fg_error *err);

// ---- tensors -----------------------------------------------------------------------------------------

enum { FG_GGUF_MAX_DIMS = 4 };

// As the file has it; not yet checked against the size of the file. shape[0] is the fastest dimension.
typedef struct fg_gguf_tensor {
  fg_gguf_string name;
  uint64_t shape[FG_GGUF_MAX_DIMS];
  uint64_t offset; // from the start of the data
  uint32_t dims;
  uint32_t type; // ggml's number
} fg_gguf_tensor;

const fg_gguf_tensor *fg_gguf_tensors(const fg_gguf *gguf, size_t *count); // in file order
uint64_t fg_gguf_data_start(const fg_gguf *gguf);                          // offset in the file
uint32_t fg_gguf_alignment(const fg_gguf *gguf);                           // of every tensor

#endif
