// zip_directory.h: where the entries of an uncompressed zip archive lie in the file.
//
// torch saves a zip archive whose entries are all stored as they are, so that weights can be read from
// the archive itself by their offset. That offset is all that is wanted here; nothing is extracted.
// Compressed, encrypted and split archives are refused, ZIP64 is known (PKWARE APPNOTE 4.3, 4.5.3).
#ifndef FG_FORMAT_ZIP_DIRECTORY_H
#define FG_FORMAT_ZIP_DIRECTORY_H

#include <stddef.h>
#include <stdint.h>

#include "flexgen/error.h"
#include "io/io.h"

typedef struct fg_zip_entry {
  const char *name; // not NUL-terminated
  size_t name_length;
  uint64_t header; // offset of its local header
  uint64_t bytes;
} fg_zip_entry;

typedef struct fg_zip {
  fg_zip_entry *entries; // sorted by name, names unique
  size_t count;
  uint64_t directory; // offset of the central directory: entries end before it
  void *raw;          // what the names point into
} fg_zip;

fg_status fg_zip_read(fg_zip *out, fg_io *io, fg_file *file, fg_error *err);
void fg_zip_free(fg_zip *zip);

const fg_zip_entry *fg_zip_find(const fg_zip *zip, const char *name, size_t name_length);
// Offset in the file of the entry's bytes, all of which lie within the file.
fg_status fg_zip_locate(const fg_zip *zip, const fg_zip_entry *entry, fg_io *io, fg_file *file,
                        uint64_t *offset, fg_error *err);

#endif
