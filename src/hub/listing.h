// listing.h: which files a model has at a commit, as the Hub's API answers
// GET /api/models/REPO/revision/REVISION?blobs=true:
//
//   {"sha": COMMIT, "siblings": [{"rfilename", "size", "blobId", "lfs": {"sha256", "size"}}, ...], ...}
//
// The answer is hostile text: read in one pass, its names checked. A server that knows no "blobs=true" leaves
// out sizes and hashes; whoever downloads asks for those of a file by HEAD.
#ifndef FG_HUB_LISTING_H
#define FG_HUB_LISTING_H

#include <stddef.h>
#include <stdint.h>

#include "hub/repo.h"

#define FG_HUB_UNKNOWN_SIZE UINT64_MAX

typedef struct fg_hub_file {
  const char *path; // safe (repo.h)
  const char *etag; // its blob: the SHA-256 of a large file, git's SHA-1 of another; NULL = not said
  uint64_t bytes;   // FG_HUB_UNKNOWN_SIZE = not said
  bool chosen;      // by fg_hub_choose
} fg_hub_file;

typedef struct fg_hub_listing {
  char commit[FG_HUB_COMMIT_BYTES];
  fg_hub_file *files; // in the order of paths, each once
  size_t count;
  size_t refused; // names that are no safe paths and were passed over
  const char *refused_name;
  char *text; // what the strings point into
} fg_hub_listing;

// Takes the malloc'd `text` of `length` bytes, in every case. `where` names it in messages.
fg_status fg_hub_listing_read(fg_hub_listing *out, char *text, size_t length, const char *where,
                              fg_error *err);
void fg_hub_listing_free(fg_hub_listing *listing);

#endif
