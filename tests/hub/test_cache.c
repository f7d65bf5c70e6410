// The cache's folders, its locks, and the hashes that name its blobs.
#include "../scratch_folder.h"

#include <sys/stat.h>
#include <unistd.h>

#include "hub/cache.h"
#include "hub/digest.h"

#define COMMIT "0123456789abcdef0123456789abcdef01234567"
#define OTHER  "89abcdef0123456789abcdef0123456789abcdef"

// ---- folders --------------------------------------------------------------------------------------------

typedef struct fixture {
  scratch_folder folder;
  fg_hub_cache cache;
} fixture;

static int setup(void **state) {
  static const fg_hub_repo repo = {"org/name", "main"};
  fixture *f = calloc(1, sizeof *f);
  if (!f) return -1;
  *state = f;
  scratch_make(&f->folder);
  return fg_hub_cache_init(&f->cache, f->folder.path, &repo, NULL) || fg_hub_cache_make(&f->cache, NULL);
}

static int teardown(void **state) {
  fixture *f = *state;
  int failed = scratch_remove(&f->folder);
  free(f);
  return failed;
}

static void read_link(const fixture *f, const char *path, char out[PATH_MAX]) {
  char place[PATH_MAX];
  snprintf(place, sizeof place, "%s/models--org--name/snapshots/%s", f->folder.path, path);
  ssize_t length = readlink(place, out, PATH_MAX - 1);
  assert_true(length > 0);
  out[length] = 0;
}

static void test_links_lead_to_blobs_from_any_depth(void **state) {
  fixture *f = *state;
  char target[PATH_MAX];
  assert_int_equal(fg_hub_cache_link(&f->cache, COMMIT, "a", "e1", NULL), FG_OK);
  assert_int_equal(fg_hub_cache_link(&f->cache, COMMIT, "b/c/d", "e2", NULL), FG_OK);
  read_link(f, COMMIT "/a", target);
  assert_string_equal(target, "../../blobs/e1");
  read_link(f, COMMIT "/b/c/d", target);
  assert_string_equal(target, "../../../../blobs/e2");
}

static void test_a_link_replaces_what_was_there(void **state) {
  fixture *f = *state;
  char place[PATH_MAX], target[PATH_MAX];
  snprintf(place, sizeof place, "%s/models--org--name/snapshots/" COMMIT, f->folder.path);
  assert_int_equal(mkdir(place, 0777), 0);
  strcat(place, "/a");
  FILE *file = fopen(place, "w");
  assert_true(file && fclose(file) == 0);
  for (int i = 0; i < 2; i++) {
    assert_int_equal(fg_hub_cache_link(&f->cache, COMMIT, "a", i ? "e2" : "e1", NULL), FG_OK);
    read_link(f, COMMIT "/a", target);
    assert_string_equal(target, i ? "../../blobs/e2" : "../../blobs/e1");
  }
}

static void test_a_revision_is_found_where_its_snapshot_is(void **state) {
  fixture *f = *state;
  char commit[FG_HUB_COMMIT_BYTES];
  assert_int_equal(fg_hub_cache_commit(commit, &f->cache, "main", NULL), FG_NOT_FOUND);
  assert_int_equal(fg_hub_cache_set_commit(&f->cache, "main", COMMIT, NULL), FG_OK);
  assert_int_equal(fg_hub_cache_commit(commit, &f->cache, "main", NULL), FG_NOT_FOUND); // no snapshot
  assert_int_equal(fg_hub_cache_link(&f->cache, COMMIT, "a", "e", NULL), FG_OK);
  assert_int_equal(fg_hub_cache_commit(commit, &f->cache, "main", NULL), FG_OK);
  assert_string_equal(commit, COMMIT);
  assert_int_equal(fg_hub_cache_commit(commit, &f->cache, COMMIT, NULL), FG_OK);
  assert_int_equal(fg_hub_cache_commit(commit, &f->cache, OTHER, NULL), FG_NOT_FOUND);
}

static void test_a_reference_may_have_folders_and_moves(void **state) {
  fixture *f = *state;
  char commit[FG_HUB_COMMIT_BYTES];
  assert_int_equal(fg_hub_cache_link(&f->cache, COMMIT, "a", "e", NULL), FG_OK);
  assert_int_equal(fg_hub_cache_link(&f->cache, OTHER, "a", "e", NULL), FG_OK);
  assert_int_equal(fg_hub_cache_set_commit(&f->cache, "refs/pr/1", COMMIT, NULL), FG_OK);
  assert_int_equal(fg_hub_cache_set_commit(&f->cache, "refs/pr/1", OTHER, NULL), FG_OK);
  assert_int_equal(fg_hub_cache_commit(commit, &f->cache, "refs/pr/1", NULL), FG_OK);
  assert_string_equal(commit, OTHER);
}

static void test_a_reference_that_is_no_commit_is_not_followed(void **state) {
  fixture *f = *state;
  char path[PATH_MAX], commit[FG_HUB_COMMIT_BYTES];
  fg_error err;
  assert_int_equal(fg_hub_cache_path(path, &f->cache, "refs", "main", "", NULL), FG_OK);
  FILE *file = fopen(path, "w");
  assert_true(file && fputs("../../up", file) >= 0 && fclose(file) == 0);
  assert_int_equal(fg_hub_cache_commit(commit, &f->cache, "main", &err), FG_CORRUPT);
  assert_non_null(strstr(err.message, path));
}

static void test_a_lock_has_one_holder(void **state) {
  fixture *f = *state;
  int first, second, other;
  assert_int_equal(fg_hub_lock_try(&first, &f->cache, "e", NULL), FG_OK);
  assert_true(first >= 0);
  assert_int_equal(fg_hub_lock_try(&second, &f->cache, "e", NULL), FG_OK);
  assert_int_equal(second, -1);
  assert_int_equal(fg_hub_lock_try(&other, &f->cache, "e2", NULL), FG_OK);
  assert_true(other >= 0);
  fg_hub_lock_release(first);
  assert_int_equal(fg_hub_lock_try(&second, &f->cache, "e", NULL), FG_OK);
  assert_true(second >= 0);
  fg_hub_lock_release(second);
  fg_hub_lock_release(other);
}

static void test_a_path_too_long_is_an_error(void **state) {
  fixture *f = *state;
  static const fg_hub_repo repo = {"name", "main"};
  fg_hub_cache cache;
  char root[PATH_MAX + 1], path[PATH_MAX];
  (void)f;
  memset(root, 'a', sizeof root);
  root[PATH_MAX] = 0;
  assert_int_equal(fg_hub_cache_init(&cache, root, &repo, NULL), FG_INVALID);
  assert_int_equal(fg_hub_cache_init(&cache, root + 10, &repo, NULL), FG_OK);
  assert_string_equal(cache.folder, "models--name");
  assert_int_equal(fg_hub_cache_path(path, &cache, "blobs", "e", "", NULL), FG_INVALID);
  assert_int_equal(fg_hub_cache_make(&cache, NULL), FG_INVALID);
}

// ---- hashes ---------------------------------------------------------------------------------------------

static bool matches(const char *etag, const char *text, uint64_t said) {
  fg_hub_digest *digest;
  assert_int_equal(fg_hub_digest_create(&digest, etag, said, NULL), FG_OK);
  for (const char *c = text; *c; c++) fg_hub_digest_add(digest, c, 1); // in any pieces
  bool match = fg_hub_digest_matches(digest);
  fg_hub_digest_destroy(digest);
  return match;
}

// From sha256sum and git hash-object.
static void test_hashes_are_those_of_sha256sum_and_git(void **state) {
  (void)state;
  static const char sha256[] = "03ba204e50d126e4674c005e04d82e84c21366780af1f43bd54a37816b6ab340";
  static const char git[] = "ce013625030ba8dba906f756967f9e9ca394464a";
  assert_true(matches(sha256, "hello\n", 6) == false);
  assert_true(matches("5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03", "hello\n", 6));
  assert_true(matches(git, "hello\n", 6));
  assert_false(matches(git, "hello\n", 7)); // its size is part of it
  assert_false(matches(git, "hellp\n", 6));
  assert_true(matches("e69de29bb2d1d6434b8b29ae775ad8c2e48c5391", "", 0));
}

static void test_a_tag_that_is_no_hash_has_nothing_to_compare(void **state) {
  (void)state;
  assert_true(matches("v7", "anything", 8));
  assert_true(matches("CE013625030BA8DBA906F756967F9E9CA394464A", "anything", 8));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_links_lead_to_blobs_from_any_depth, setup, teardown),
      cmocka_unit_test_setup_teardown(test_a_link_replaces_what_was_there, setup, teardown),
      cmocka_unit_test_setup_teardown(test_a_revision_is_found_where_its_snapshot_is, setup, teardown),
      cmocka_unit_test_setup_teardown(test_a_reference_may_have_folders_and_moves, setup, teardown),
      cmocka_unit_test_setup_teardown(test_a_reference_that_is_no_commit_is_not_followed, setup, teardown),
      cmocka_unit_test_setup_teardown(test_a_lock_has_one_holder, setup, teardown),
      cmocka_unit_test_setup_teardown(test_a_path_too_long_is_an_error, setup, teardown),
      cmocka_unit_test(test_hashes_are_those_of_sha256sum_and_git),
      cmocka_unit_test(test_a_tag_that_is_no_hash_has_nothing_to_compare),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
