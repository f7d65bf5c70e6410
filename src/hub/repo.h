// repo.h: what names a model on a Hub, and which names that come from a server may become paths here.
//
// A repository is "ORG/NAME" (a few old ones are a plain "NAME"), at a revision: a branch, a tag, a commit,
// or a reference such as "refs/pr/1". Everything that a server says is hostile: a name becomes a path only if
// fg_hub_path_is_safe, and a blob's name only if fg_hub_etag_is_safe.
#ifndef FG_HUB_REPO_H
#define FG_HUB_REPO_H

#include <stdbool.h>
#include <stddef.h>

#include "base/text_buffer.h"
#include "flexgen/error.h"

enum {
  FG_HUB_ID_BYTES = 200,
  FG_HUB_REVISION_BYTES = 256,
  FG_HUB_COMMIT_BYTES = 41,
  FG_HUB_ETAG_BYTES = 129
};

typedef struct fg_hub_repo {
  char id[FG_HUB_ID_BYTES];
  char revision[FG_HUB_REVISION_BYTES];
} fg_hub_repo;

// "ORG/NAME", "NAME", either with "@REVISION" (main without it).
fg_status fg_hub_repo_parse(fg_hub_repo *out, const char *text, fg_error *err);

// Whether `text` is `digits` hexadecimal digits in lower case, and whether it is a whole commit.
bool fg_hub_is_hex(const char *text, size_t digits);
bool fg_hub_is_commit(const char *text);

// Relative, of plain parts (no empty one, no "." or ".."), without control characters and backslashes, each
// part and the whole short enough for a file system.
bool fg_hub_path_is_safe(const char *path);
bool fg_hub_etag_is_safe(const char *etag);

// Appends `text` as a part of a URL: all but letters, digits, "-._~" and the characters of `keep` as %XX.
void fg_hub_quote(fg_text *out, const char *text, const char *keep);

#endif
