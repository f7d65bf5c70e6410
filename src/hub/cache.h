// cache.h: huggingface_hub's cache, so that what one program pulled the others find.
//
//   ROOT/models--ORG--NAME/blobs/ETAG              a file's contents, by hash
//   ROOT/models--ORG--NAME/blobs/ETAG.incomplete   the beginning of one, where the next attempt goes on
//   ROOT/models--ORG--NAME/snapshots/COMMIT/PATH   -> ../../blobs/ETAG
//   ROOT/models--ORG--NAME/refs/REVISION           the commit that a branch or tag stood for
//   ROOT/.locks/models--ORG--NAME/ETAG.lock        held (flock) by whoever downloads that blob
//
// Every step is a rename or a new name, so that a kill leaves what was there before or what comes after. The
// reference is written last: whoever follows it finds files that are whole.
#ifndef FG_HUB_CACHE_H
#define FG_HUB_CACHE_H

#include <limits.h>

#include "hub/repo.h"

typedef struct fg_hub_cache {
  char root[PATH_MAX];
  char folder[FG_HUB_ID_BYTES + 16]; // "models--ORG--NAME"
} fg_hub_cache;

// Looks at no file.
fg_status fg_hub_cache_init(fg_hub_cache *out, const char *root, const fg_hub_repo *repo, fg_error *err);

// ROOT/models--ORG--NAME, "/", `kind` ("blobs", "refs" or "snapshots"), "/", `name` and `suffix`.
fg_status fg_hub_cache_path(char out[PATH_MAX], const fg_hub_cache *cache, const char *kind, const char *name,
                            const char *suffix, fg_error *err);

// The commit of a revision as the last pull left it; FG_NOT_FOUND if none did or its snapshot is not there.
fg_status fg_hub_cache_commit(char out[static FG_HUB_COMMIT_BYTES], const fg_hub_cache *cache,
                              const char *revision, fg_error *err);

// Makes the root (with the tag that backups look for) and the repository's folders.
fg_status fg_hub_cache_make(const fg_hub_cache *cache, fg_error *err);
// Makes `path` of a snapshot point at a blob, whatever was there before.
fg_status fg_hub_cache_link(const fg_hub_cache *cache, const char *commit, const char *path, const char *etag,
                            fg_error *err);
// Notes the commit of a revision; nothing to do for a revision that is the commit.
fg_status fg_hub_cache_set_commit(const fg_hub_cache *cache, const char *revision, const char *commit,
                                  fg_error *err);

// Tries to take a blob's lock. *fd = -1: another process has it. On a file system without locks *fd is a file
// that nobody is kept from; what two processes then spoil, the hash finds.
fg_status fg_hub_lock_try(int *fd, const fg_hub_cache *cache, const char *etag, fg_error *err);
void fg_hub_lock_release(int fd);

#endif
