// journal.h: finished rows that wait for an earlier one, on disk.
//
// A file of checksummed records: a header that says which job it belongs to, then rows in the order in which
// they finished. Each record is one write; what a crash left torn at the end is found by its checksum and cut
// off. In memory there are 16 bytes for each row between the first and the last that wait. Records that
// nobody waits for any more are dropped by writing the others into a new file, which takes the old one's
// name; so the file stays within a few times what waits. Layout of a record, in the machine's byte order:
// uint32 magic, uint32 bytes of payload, uint64 number of the row (the header: all ones), uint64 XXH3 of
// these two and the payload, payload.
#ifndef FG_JOB_JOURNAL_H
#define FG_JOB_JOURNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/text_buffer.h"
#include "flexgen/error.h"
#include "job/job_memory.h"

typedef struct fg_journal fg_journal;

// Lines "name value" that must be equal for a journal to belong to a job.
typedef struct fg_journal_key {
  char text[1024];
} fg_journal_key;

typedef enum fg_journal_state { FG_JOURNAL_NONE, FG_JOURNAL_OTHER_JOB, FG_JOURNAL_THIS_JOB } fg_journal_state;

// What stands at `path`. A file without a whole header (a crash while it was made) counts as none. For
// OTHER_JOB, `differs` gets the name of the first line that differs.
fg_status fg_journal_look(const char *path, const fg_journal_key *key, fg_journal_state *state,
                          char differs[64], fg_error *err);

typedef struct fg_journal_options {
  const char *path; // NULL: a file without a name
  const fg_journal_key *key;
  bool keep;      // take over what this job wrote there; otherwise it starts empty
  uint64_t first; // rows below it do not wait any more
  uint64_t spare; // bytes that nobody waits for are left standing up to so many; 0 = some MiB
  fg_job_memory *memory;
} fg_journal_options;

fg_status fg_journal_open(fg_journal **out, const fg_journal_options *options, fg_error *err);
void fg_journal_close(fg_journal *journal);

// Rows below `first` are forgotten; it only grows. A row that is appended must not be below it.
void fg_journal_set_first(fg_journal *journal, uint64_t first);
// Makes sure that a row can be appended without more memory.
fg_status fg_journal_expect(fg_journal *journal, uint64_t row, fg_error *err);
fg_status fg_journal_append(fg_journal *journal, uint64_t row, const char *bytes, size_t length,
                            fg_error *err);
bool fg_journal_has(const fg_journal *journal, uint64_t row);
fg_status fg_journal_read(fg_journal *journal, uint64_t row, fg_text *bytes, fg_error *err);
void fg_journal_forget(fg_journal *journal, uint64_t row);
uint64_t fg_journal_waiting(const fg_journal *journal);
uint64_t fg_journal_end(const fg_journal *journal); // one more than the highest number that waits, or `first`

fg_status fg_journal_sync(fg_journal *journal, fg_error *err);
// Drops the records that nobody waits for, if they are most of the file. What they held must be safe
// elsewhere.
fg_status fg_journal_trim(fg_journal *journal, fg_error *err);

#endif
