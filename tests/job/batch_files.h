// batch_files.h: a folder with an input and an output for tests of the batch runner, and with it the memory
// of a job, which has no limit and which a test must give back.
#ifndef FG_TESTS_BATCH_FILES_H
#define FG_TESTS_BATCH_FILES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text_buffer.h"
#include "job/job_memory.h"

typedef struct batch_files {
  char folder[64], input[96], output[96], journal[128];
} batch_files;

static inline void files_make(batch_files *f) {
  // In memory where there is such a place: these tests sync a lot.
  const char *where = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
  snprintf(f->folder, sizeof f->folder, "%s/flexgen-job-XXXXXX", where);
  if (!mkdtemp(f->folder)) fail_msg("no temporary folder");
  snprintf(f->input, sizeof f->input, "%s/in.jsonl", f->folder);
  snprintf(f->output, sizeof f->output, "%s/out.jsonl", f->folder);
  snprintf(f->journal, sizeof f->journal, "%s.journal", f->output);
}

static inline void files_forget_output(const batch_files *f) {
  unlink(f->output);
  unlink(f->journal);
}

static inline void files_remove(const batch_files *f) {
  files_forget_output(f);
  unlink(f->input);
  rmdir(f->folder);
}

typedef struct job_place {
  batch_files files;
  fg_job_memory memory;
} job_place;

static inline void place_make(job_place *place) {
  files_make(&place->files);
  place->memory = (fg_job_memory){0};
  fg_budget_create(&place->memory.host, "host memory", "--host-memory", 0, NULL);
}

static inline void place_remove(job_place *place) {
  files_remove(&place->files);
  assert_int_equal(place->memory.used, 0);
  fg_budget_destroy(place->memory.host);
}

static inline void file_write(const char *path, const void *bytes, size_t count) {
  FILE *file = fopen(path, "wb");
  assert_non_null(file);
  assert_int_equal(fwrite(bytes, 1, count, file), count);
  fclose(file);
}

// NUL-terminated; the caller frees it. A missing file is empty.
static inline char *file_read(const char *path, size_t *count) {
  FILE *file = fopen(path, "rb");
  fg_text text = {0};
  char piece[4096];
  for (size_t got; file && (got = fread(piece, 1, sizeof piece, file)) > 0;)
    fg_text_append(&text, piece, got);
  if (file) fclose(file);
  fg_text_append(&text, "", 0);
  if (count) *count = text.length;
  return text.data;
}

static inline bool file_exists(const char *path) {
  return access(path, F_OK) == 0;
}

#endif
