// file.h: what the queue needs to know of an open file.
#ifndef FG_IO_FILE_H
#define FG_IO_FILE_H

#include "io/io.h"

struct fg_file {
  int fd;
  bool direct;
  uint64_t size;
  char *path;
};

// Gives up direct access: the file system accepted O_DIRECT at opening but refuses a request.
// False if it was not direct any more.
bool fg_file_make_buffered(fg_file *file);

// Tells the page cache to forget a range of a buffered file that was just read or written; returns 0
// or the errno of a write that failed only now.
int fg_file_forget(const fg_file *file, uint64_t offset, uint64_t bytes, bool written);

#endif
