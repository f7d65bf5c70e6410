#include "hub/digest.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hub/repo.h"

enum { SHA256_DIGITS = 64, GIT_DIGITS = 40 };

struct fg_hub_digest {
  EVP_MD_CTX *context; // NULL: the name says nothing
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
  digest->context = EVP_MD_CTX_new();
  if (!digest->context || EVP_DigestInit_ex(digest->context, sha256 ? EVP_sha256() : EVP_sha1(), NULL) != 1) {
    fg_hub_digest_destroy(digest);
    *out = NULL;
    return fg_fail(err, FG_UNSUPPORTED, "libcrypto has no %s here", sha256 ? "SHA-256" : "SHA-1");
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
  EVP_MD_CTX_free(digest->context);
  free(digest);
}

void fg_hub_digest_add(fg_hub_digest *digest, const void *data, size_t count) {
  if (digest->context && EVP_DigestUpdate(digest->context, data, count) != 1) digest->failed = true;
}

bool fg_hub_digest_matches(fg_hub_digest *digest) {
  unsigned char sum[EVP_MAX_MD_SIZE];
  char text[2 * EVP_MAX_MD_SIZE + 1];
  unsigned count = 0;
  if (!digest->context) return true;
  if (digest->failed || EVP_DigestFinal_ex(digest->context, sum, &count) != 1) return false;
  for (unsigned i = 0; i < count; i++) snprintf(text + 2 * (size_t)i, 3, "%02x", sum[i]);
  return strcmp(text, digest->wanted) == 0;
}
