#include "hub/digest.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hub/repo.h"
#include "hub/sha.h"

enum { SHA256_DIGITS = 64, GIT_DIGITS = 40 };

struct fg_hub_digest {
  fg_sha *sum; // NULL: the name says nothing
  char wanted[SHA256_DIGITS + 1];
  bool failed;
};

fg_status fg_hub_digest_create(fg_hub_digest **out, const char *etag, uint64_t bytes, fg_error *err) {
  bool sha256 = fg_hub_is_hex(etag, SHA256_DIGITS), git = fg_hub_is_hex(etag, GIT_DIGITS);
  fg_hub_digest *digest = calloc(1, sizeof *digest);
  *out = digest;
  if (!digest) return fg_fail(err, FG_NO_SPACE, "no memory for a digest");
  if (!sha256 && !git) return FG_OK;
  strcpy(digest->wanted, etag);
  digest->sum = fg_sha_create(sha256 ? FG_SHA_256 : FG_SHA_1);
  if (!digest->sum) {
    fg_hub_digest_destroy(digest);
    *out = NULL;
    return fg_fail(err, FG_UNSUPPORTED, "there is no %s here", sha256 ? "SHA-256" : "SHA-1");
  }
  if (git) {
    char head[32];
    int length = snprintf(head, sizeof head, "blob %" PRIu64, bytes);
    fg_hub_digest_add(digest, head, (size_t)length + 1);
  }
  return FG_OK;
}

void fg_hub_digest_destroy(fg_hub_digest *digest) {
  if (!digest) return;
  fg_sha_destroy(digest->sum);
  free(digest);
}

void fg_hub_digest_add(fg_hub_digest *digest, const void *data, size_t count) {
  if (digest->sum && !fg_sha_add(digest->sum, data, count)) digest->failed = true;
}

bool fg_hub_digest_matches(fg_hub_digest *digest) {
  unsigned char sum[FG_SHA_MOST_BYTES];
  char text[2 * FG_SHA_MOST_BYTES + 1];
  if (!digest->sum) return true;
  const size_t count = digest->failed ? 0 : fg_sha_end(digest->sum, sum);
  if (!count) return false;
  for (size_t i = 0; i < count; i++) snprintf(text + 2 * i, 3, "%02x", sum[i]);
  return strcmp(text, digest->wanted) == 0;
}
