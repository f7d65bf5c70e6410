#include "hub/sha.h"

#if defined(__APPLE__)

#include <CommonCrypto/CommonDigest.h>
#include <stdlib.h>

struct fg_sha {
  fg_sha_kind kind;
  CC_SHA1_CTX sha1;
  CC_SHA256_CTX sha256;
};

fg_sha *fg_sha_create(fg_sha_kind kind) {
  fg_sha *s = calloc(1, sizeof *s);
  if (!s) return NULL;
  s->kind = kind;
  CC_SHA1_Init(&s->sha1);
  CC_SHA256_Init(&s->sha256);
  return s;
}

void fg_sha_destroy(fg_sha *sha) {
  free(sha);
}

bool fg_sha_add(fg_sha *sha, const void *data, size_t count) {
  const unsigned char *at = data;
  while (count > 0) { // it takes 32 bits of them
    const CC_LONG part = count < (1u << 30) ? (CC_LONG)count : 1u << 30;
    if (sha->kind == FG_SHA_1)
      CC_SHA1_Update(&sha->sha1, at, part);
    else
      CC_SHA256_Update(&sha->sha256, at, part);
    at += part, count -= part;
  }
  return true;
}

size_t fg_sha_end(fg_sha *sha, unsigned char out[FG_SHA_MOST_BYTES]) {
  if (sha->kind == FG_SHA_1) {
    CC_SHA1_Final(out, &sha->sha1);
    return CC_SHA1_DIGEST_LENGTH;
  }
  CC_SHA256_Final(out, &sha->sha256);
  return CC_SHA256_DIGEST_LENGTH;
}

#else

#include <openssl/evp.h>

// The library's own object.
static EVP_MD_CTX *context_of(fg_sha *sha) {
  return (EVP_MD_CTX *)(void *)sha;
}

fg_sha *fg_sha_create(fg_sha_kind kind) {
  EVP_MD_CTX *context = EVP_MD_CTX_new();
  if (context && EVP_DigestInit_ex(context, kind == FG_SHA_256 ? EVP_sha256() : EVP_sha1(), NULL) == 1)
    return (fg_sha *)(void *)context;
  EVP_MD_CTX_free(context);
  return NULL;
}

void fg_sha_destroy(fg_sha *sha) {
  EVP_MD_CTX_free(context_of(sha));
}

bool fg_sha_add(fg_sha *sha, const void *data, size_t count) {
  return EVP_DigestUpdate(context_of(sha), data, count) == 1;
}

size_t fg_sha_end(fg_sha *sha, unsigned char out[FG_SHA_MOST_BYTES]) {
  unsigned count = 0;
  return EVP_DigestFinal_ex(context_of(sha), out, &count) == 1 ? count : 0;
}

#endif
