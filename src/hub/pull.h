// pull.h: a model from a Hub into the cache.
//
// One request for the list of files at a revision, then one for each chosen file that is not there yet; a
// HEAD before it where the list left out hash or size. Files are pinned to the commit that the list names.
// When all are whole the snapshot's links are there and the revision points at it.
#ifndef FG_HUB_PULL_H
#define FG_HUB_PULL_H

#include "base/log.h"
#include "hub/choose.h"
#include "hub/settings.h"

typedef struct fg_hub_progress {
  const char *file;     // under way
  size_t index, count;  // it is number `index` (from 1) of `count`
  uint64_t done, total; // bytes of all chosen files
  uint64_t fetched;     // bytes that came over the network since the beginning
} fg_hub_progress;

typedef struct fg_hub_pull_options {
  const fg_hub_settings *settings;
  const fg_hub_repo *repo;
  fg_hub_wish wish;
  bool dry_run; // find out what would be done and write nothing
  const fg_log *log;
  void (*progress)(void *user, const fg_hub_progress *progress);
  bool (*stopped)(void *user); // asked often; true ends it with FG_CANCELLED
  void *user;
} fg_hub_pull_options;

typedef struct fg_hub_pulled {
  const char *path;
  uint64_t bytes;
  uint64_t have; // of them in the cache when the call returns
} fg_hub_pulled;

typedef struct fg_hub_result {
  char snapshot[PATH_MAX];
  char commit[FG_HUB_COMMIT_BYTES];
  fg_hub_pulled *files; // the chosen ones
  size_t count;
  uint64_t bytes, have;   // of all files
  uint64_t fetched;       // over the network
  fg_hub_listing listing; // what the names point into
  char **etags;           // those that HEAD said
} fg_hub_result;

// The result needs fg_hub_result_free in any case; also after a failure its sums say what is kept.
fg_status fg_hub_pull(fg_hub_result *out, const fg_hub_pull_options *options, fg_error *err);
void fg_hub_result_free(fg_hub_result *result);

// The folder of a model that was pulled before; FG_NOT_FOUND if none was.
fg_status fg_hub_find(char out[PATH_MAX], const char *cache_folder, const fg_hub_repo *repo, fg_error *err);

#endif
