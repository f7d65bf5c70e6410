// Every test runs on each backend that this machine has; the oracle is what was written with stdio.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/io.h"

enum { FILE_BYTES = 3 * 1024 * 1024 + 1234, PADDED = (FILE_BYTES + 4095) / 4096 * 4096, PIECE = 64 * 1024 };

typedef struct bench {
  fg_io_backend_id backend;
  char directory[64], path[96];
  uint8_t *content; // [PADDED], zero behind FILE_BYTES
  fg_budget *budget;
  fg_trace *trace;
  fg_error err;
  // Made by the tests.
  fg_io *io;
  fg_file *file;
  void *buffer; // [PADDED]
} bench;

static uint32_t next_random(uint64_t *seed) {
  *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
  return (uint32_t)(*seed >> 33);
}

static void make_directory(bench *b) {
  // On a disk, not in /tmp, which may be memory without direct access.
  const char *base = access("/var/tmp", W_OK) == 0 ? "/var/tmp" : "/tmp";
  snprintf(b->directory, sizeof b->directory, "%s/flexgen-io-XXXXXX", base);
  assert_non_null(mkdtemp(b->directory));
  snprintf(b->path, sizeof b->path, "%s/data", b->directory);
}

static int setup(void **state) {
  bench *b = *state;
  memset(&b->err, 0, sizeof b->err);
  make_directory(b);
  b->content = calloc(1, PADDED);
  assert_non_null(b->content);
  uint64_t seed = 1;
  for (size_t i = 0; i < FILE_BYTES; i++) b->content[i] = (uint8_t)next_random(&seed);
  FILE *file = fopen(b->path, "wb");
  assert_non_null(file);
  assert_int_equal(fwrite(b->content, 1, FILE_BYTES, file), FILE_BYTES);
  assert_int_equal(fclose(file), 0);
  assert_int_equal(fg_budget_create(&b->budget, "host memory", "--host-memory", 0, &b->err), FG_OK);
  assert_int_equal(fg_trace_create(&b->trace, NULL, &b->err), FG_OK);
  assert_int_equal(fg_budget_alloc(b->budget, PADDED, "test buffer", &b->buffer, &b->err), FG_OK);
  b->io = NULL;
  b->file = NULL;
  return 0;
}

static int teardown(void **state) {
  bench *b = *state;
  fg_file_close(b->file);
  fg_io_destroy(b->io);
  fg_budget_free(b->budget, b->buffer);
  assert_int_equal(fg_budget_used(b->budget), 0);
  fg_budget_destroy(b->budget);
  assert_int_equal(fg_trace_destroy(b->trace, &b->err), FG_OK);
  free(b->content);
  unlink(b->path);
  rmdir(b->directory);
  return 0;
}

static void open_io(bench *b, uint32_t depth, const fg_io_fault *fault) {
  fg_io_options options = {.backend = b->backend,
                           .depth = depth,
                           .piece_bytes = PIECE,
                           .fault = fault,
                           .budget = b->budget,
                           .trace = b->trace};
  assert_int_equal(fg_io_create(&b->io, &options, &b->err), FG_OK);
  assert_int_equal(fg_file_open(&b->file, b->path, FG_FILE_READ, &b->err), FG_OK);
  assert_int_equal(fg_file_size(b->file), FILE_BYTES);
}

static fg_status read_all(bench *b) {
  memset(b->buffer, 0xaa, PADDED);
  fg_io_read read = {.file = b->file, .buffer = b->buffer, .bytes = PADDED, .layer = 3};
  fg_io_read_begin(b->io, &read);
  return fg_io_read_wait(b->io, &read, &b->err);
}

static void assert_all_read(bench *b) {
  if (read_all(b) != FG_OK) fail_msg("%s", b->err.message);
  assert_memory_equal(b->buffer, b->content, PADDED);
}

static void test_whole_file_is_read_and_its_last_block_padded(void **state) {
  bench *b = *state;
  open_io(b, 8, NULL);
  assert_all_read(b);
  assert_int_equal(fg_io_bytes_read(b->io), FILE_BYTES);
  assert_int_equal(fg_io_bytes_written(b->io), 0);
}

static void test_depth_one_still_reads_everything(void **state) {
  bench *b = *state;
  open_io(b, 1, NULL);
  assert_all_read(b);
}

static void test_many_reads_wait_their_turn_and_arrive_in_any_order_of_waiting(void **state) {
  bench *b = *state;
  open_io(b, 4, NULL);
  enum { READS = 12, BYTES = PADDED / READS / 4096 * 4096 };
  fg_io_read reads[READS];
  for (int i = 0; i < READS; i++) {
    reads[i] = (fg_io_read){.file = b->file, .offset = (uint64_t)i * BYTES, .bytes = BYTES, .layer = i};
    reads[i].buffer = (char *)b->buffer + i * BYTES;
    fg_io_read_begin(b->io, &reads[i]);
  }
  for (int i = READS - 1; i >= 0; i--) assert_int_equal(fg_io_read_wait(b->io, &reads[i], &b->err), FG_OK);
  assert_memory_equal(b->buffer, b->content, READS * BYTES);
  fg_span_sum sum = fg_trace_sum(b->trace, FG_SPAN_READ);
  assert_int_equal(sum.count, READS);
  assert_int_equal(sum.bytes, READS * BYTES);
}

static void test_poll_alone_brings_a_read_to_its_end(void **state) {
  bench *b = *state;
  open_io(b, 2, NULL);
  fg_io_read read = {.file = b->file, .buffer = b->buffer, .bytes = PADDED, .layer = -1};
  fg_io_read_begin(b->io, &read);
  while (!fg_io_read_poll(b->io, &read)) usleep(100);
  assert_int_equal(fg_io_read_wait(b->io, &read, &b->err), FG_OK);
  assert_memory_equal(b->buffer, b->content, PADDED);
}

static void test_destroy_waits_for_reads_in_flight(void **state) {
  bench *b = *state;
  open_io(b, 4, NULL);
  fg_io_read read = {.file = b->file, .buffer = b->buffer, .bytes = PADDED, .layer = -1};
  fg_io_read_begin(b->io, &read);
  fg_io_destroy(b->io);
  b->io = NULL;
  memset(b->buffer, 0x55, PADDED); // nothing may write here any more
  usleep(20000);
  for (size_t i = 0; i < PADDED; i++) assert_int_equal(((uint8_t *)b->buffer)[i], 0x55);
}

static void test_short_reads_are_continued(void **state) {
  bench *b = *state;
  open_io(b, 4, &(fg_io_fault){.every = 2});
  assert_all_read(b);
  // A direct read goes on at the start of the torn block: its bytes move twice, and count twice.
  if (fg_file_is_direct(b->file)) assert_true(fg_io_bytes_read(b->io) > FILE_BYTES);
}

static void test_interrupted_reads_are_tried_again(void **state) {
  bench *b = *state;
  open_io(b, 4, &(fg_io_fault){.every = 3, .os_error = EINTR});
  assert_all_read(b);
}

static void test_a_refused_direct_read_goes_on_buffered(void **state) {
  bench *b = *state;
  open_io(b, 4, &(fg_io_fault){.after = 2, .every = 1, .os_error = EINVAL});
  if (!fg_file_is_direct(b->file)) skip();
  fg_status status = read_all(b);
  assert_false(fg_file_is_direct(b->file));
  assert_int_equal(status, FG_IO); // refused buffered as well: an error, not a loop
  fg_io_destroy(b->io);
  fg_file_close(b->file);
  open_io(b, 4, &(fg_io_fault){.after = 2, .every = 30, .os_error = EINVAL});
  assert_all_read(b);
  assert_false(fg_file_is_direct(b->file));
  assert_int_equal(fg_io_read_now(b->io, b->file, 4099, b->buffer, 200001, &b->err), FG_OK);
  assert_memory_equal(b->buffer, b->content + 4099, 200001);
}

static void test_a_failing_disk_names_file_and_place(void **state) {
  bench *b = *state;
  open_io(b, 4, &(fg_io_fault){.after = 5, .every = 1, .os_error = EIO});
  assert_int_equal(read_all(b), FG_IO);
  assert_non_null(strstr(b->err.message, b->path));
  assert_non_null(strstr(b->err.message, strerror(EIO)));
}

static void test_a_failed_read_is_not_touched_after_the_wait(void **state) {
  bench *b = *state;
  open_io(b, 2, &(fg_io_fault){.every = 3, .os_error = EIO});
  assert_int_equal(read_all(b), FG_IO);
  const uint8_t *last = (uint8_t *)b->buffer + PADDED - PIECE;
  assert_int_equal(fg_io_read_now(b->io, b->file, 0, b->buffer, PIECE, &b->err), FG_OK);
  assert_memory_equal(b->buffer, b->content, PIECE);
  for (int i = 0; i < PIECE; i++) assert_int_equal(last[i], 0xaa); // never asked for
}

static void test_a_failed_read_leaves_the_others_alone(void **state) {
  bench *b = *state;
  enum { READS = 20 };
  open_io(b, 3, &(fg_io_fault){.every = 7, .os_error = EIO});
  fg_io_read reads[READS];
  for (size_t i = 0; i < READS; i++) {
    reads[i] = (fg_io_read){.file = b->file, .offset = i * PIECE, .bytes = PIECE, .layer = -1};
    reads[i].buffer = (char *)b->buffer + i * PIECE;
    fg_io_read_begin(b->io, &reads[i]);
  }
  int failed = 0;
  for (size_t i = 0; i < READS; i++) {
    if (fg_io_read_wait(b->io, &reads[i], &b->err) != FG_OK)
      failed++;
    else
      assert_memory_equal(reads[i].buffer, b->content + i * PIECE, PIECE);
  }
  assert_int_equal(failed, READS / 7);
}

static void test_reading_past_the_end_is_refused(void **state) {
  bench *b = *state;
  open_io(b, 4, NULL);
  fg_io_read read = {.file = b->file, .buffer = b->buffer, .offset = 4096, .bytes = PADDED, .layer = -1};
  fg_io_read_begin(b->io, &read);
  assert_int_equal(fg_io_read_wait(b->io, &read, &b->err), FG_CORRUPT);
  read = (fg_io_read){.file = b->file, .buffer = b->buffer, .offset = UINT64_MAX - 4095, .bytes = 8192};
  fg_io_read_begin(b->io, &read);
  assert_int_not_equal(fg_io_read_wait(b->io, &read, &b->err), FG_OK);
  // Nobody who counts single bytes means the padding.
  assert_int_equal(fg_io_read_now(b->io, b->file, FILE_BYTES - 10, b->buffer, 11, &b->err), FG_CORRUPT);
  assert_int_equal(fg_io_read_now(b->io, b->file, FILE_BYTES - 10, b->buffer, 10, &b->err), FG_OK);
}

static void test_a_file_cut_after_opening_is_corrupt(void **state) {
  bench *b = *state;
  open_io(b, 4, NULL);
  static const off_t sizes[] = {1024 * 1024, 1024 * 1024 + 100, 0}; // at a block's end, within one, nothing
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
    assert_int_equal(truncate(b->path, sizes[i]), 0);
    assert_int_equal(read_all(b), FG_CORRUPT);
    assert_non_null(strstr(b->err.message, "truncated"));
  }
}

static void test_an_unaligned_buffer_is_refused_not_misread(void **state) {
  bench *b = *state;
  open_io(b, 4, NULL);
  if (!fg_file_is_direct(b->file)) skip();
  fg_io_read read = {.file = b->file, .buffer = (char *)b->buffer + 8, .bytes = 4096, .layer = -1};
  fg_io_read_begin(b->io, &read);
  assert_int_equal(fg_io_read_wait(b->io, &read, &b->err), FG_IO);
}

static void test_any_range_at_any_address_reads_as_pread_does(void **state) {
  bench *b = *state;
  open_io(b, 4, &(fg_io_fault){.every = 3}); // with short reads between
  uint64_t seed = 20240601;
  print_message("seed %llu\n", (unsigned long long)seed);
  int fd = open(b->path, O_RDONLY);
  uint8_t *want = malloc(FILE_BYTES);
  assert_true(fd >= 0 && want);
  for (int i = 0; i < 300; i++) {
    uint64_t offset = next_random(&seed) % FILE_BYTES;
    size_t most = FILE_BYTES - offset, bytes = next_random(&seed) % (i % 2 ? 5000 : 400000);
    if (bytes > most) bytes = most;
    uint8_t *to = (uint8_t *)b->buffer + next_random(&seed) % 64;
    if ((size_t)(to - (uint8_t *)b->buffer) + bytes + 1 > PADDED) continue;
    to[bytes] = 0xcc;
    assert_int_equal(pread(fd, want, bytes, (off_t)offset), bytes);
    if (fg_io_read_now(b->io, b->file, offset, to, bytes, &b->err)) fail_msg("%s", b->err.message);
    assert_memory_equal(to, want, bytes);
    assert_int_equal(to[bytes], 0xcc);
  }
  free(want);
  close(fd);
}

static void test_bounces_are_paid_for_once(void **state) {
  bench *b = *state;
  open_io(b, 4, NULL);
  if (!fg_file_is_direct(b->file)) skip();
  uint64_t before = fg_budget_used(b->budget);
  for (int i = 0; i < 3; i++)
    assert_int_equal(fg_io_read_now(b->io, b->file, 5, b->buffer, 300000, &b->err), FG_OK);
  assert_int_equal(fg_budget_used(b->budget), before + PIECE);
  assert_memory_equal(b->buffer, b->content + 5, 300000);
}

static void test_random_reads_with_faults_against_the_content(void **state) {
  bench *b = *state;
  open_io(b, 5, &(fg_io_fault){.every = 4});
  fg_io_register(b->io, b->buffer, PADDED);
  enum { READS = 16, SLOT = PADDED / READS / 4096 * 4096 };
  uint64_t seed = 99;
  print_message("seed %llu\n", (unsigned long long)seed);
  fg_io_read reads[READS];
  bool open[READS] = {false};
  for (int round = 0; round < 600; round++) {
    uint32_t i = next_random(&seed) % READS;
    if (open[i]) {
      if (next_random(&seed) % 2) fg_io_read_poll(b->io, &reads[i]);
      if (fg_io_read_wait(b->io, &reads[i], &b->err)) fail_msg("%s", b->err.message);
      assert_memory_equal(reads[i].buffer, b->content + reads[i].offset, reads[i].bytes);
      open[i] = false;
    } else {
      uint64_t block = next_random(&seed) % (PADDED / 4096),
               bytes = (1 + next_random(&seed) % (SLOT / 4096)) * 4096;
      if (block * 4096 + bytes > PADDED) bytes = PADDED - block * 4096;
      reads[i] = (fg_io_read){.file = b->file, .offset = block * 4096, .bytes = bytes, .layer = (int)i};
      reads[i].buffer = (char *)b->buffer + i * SLOT;
      fg_io_read_begin(b->io, &reads[i]);
      open[i] = true;
    }
  }
  for (int i = 0; i < READS; i++)
    if (open[i]) assert_int_equal(fg_io_read_wait(b->io, &reads[i], &b->err), FG_OK);
}

static void test_registering_too_much_is_no_error(void **state) {
  bench *b = *state;
  open_io(b, 4, NULL);
  fg_io_register(b->io, b->buffer, PADDED);
  fg_io_register(b->io, (void *)(uintptr_t)4096, 4096); // not mapped: refused
  fg_io_register(b->io, b->buffer, 0);
  bool uring = b->backend == FG_IO_URING;
  assert_int_equal(fg_io_bytes_registered(b->io), uring ? PADDED : 0); // what was there before stays
  assert_int_equal(fg_io_register_error(b->io), uring ? EFAULT : 0);
  assert_all_read(b);
}

// What a queue knew of memory that is gone must not reach what is mapped at its address next.
static void test_memory_that_was_registered_may_be_mapped_anew(void **state) {
  bench *b = *state;
  const int rights = PROT_READ | PROT_WRITE, private = MAP_PRIVATE | MAP_ANONYMOUS;
  open_io(b, 4, NULL);
  fg_io_register(b->io, b->buffer, PADDED);
  char *old = mmap(NULL, PADDED, rights, private, -1, 0);
  assert_ptr_not_equal(old, MAP_FAILED);
  fg_io_register(b->io, old, PADDED);
  fg_io_unregister(b->io, old, PADDED);
  assert_int_equal(fg_io_bytes_registered(b->io), b->backend == FG_IO_URING ? PADDED : 0);
  char *new = mmap(old, PADDED, rights, private | MAP_FIXED, -1, 0);
  assert_ptr_equal(new, old);
  fg_io_read read = {.file = b->file, .buffer = new, .bytes = PADDED, .layer = -1};
  fg_io_read_begin(b->io, &read);
  assert_int_equal(fg_io_read_wait(b->io, &read, &b->err), FG_OK);
  assert_memory_equal(new, b->content, PADDED);
  munmap(new, PADDED);
  assert_all_read(b);
}

// Little may be locked: kernels that count the ring itself still make one.
static bool limit_locked_memory(void) {
  enum { LOCKED = 64 * 1024 };
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3];
  if (syscall(SYS_capget, &header, sets) != 0) return false;
  sets[CAP_TO_INDEX(CAP_IPC_LOCK)].effective &= ~CAP_TO_MASK(CAP_IPC_LOCK);
  return syscall(SYS_capset, &header, sets) == 0 &&
         setrlimit(RLIMIT_MEMLOCK, &(struct rlimit){LOCKED, LOCKED}) == 0;
}

static void test_memory_that_may_not_be_locked_is_read_into_and_told(void **state) {
  bench *b = *state;
  enum { NO_RING = 77 };
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    fg_io_options options = {.backend = b->backend, .piece_bytes = PIECE, .budget = b->budget};
    if (!limit_locked_memory() || fg_io_create(&b->io, &options, &b->err) != FG_OK) _exit(NO_RING);
    fg_io_register(b->io, b->buffer, PADDED);
    bool good = fg_io_register_error(b->io) == (b->backend == FG_IO_URING ? ENOMEM : 0) &&
                fg_io_bytes_registered(b->io) == 0 &&
                fg_file_open(&b->file, b->path, FG_FILE_READ, &b->err) == FG_OK && read_all(b) == FG_OK &&
                memcmp(b->buffer, b->content, PADDED) == 0;
    _exit(good ? 0 : 1);
  }
  int status;
  waitpid(child, &status, 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) == NO_RING) skip();
  assert_int_equal(status, 0);
}

static void test_what_is_written_can_be_read_back(void **state) {
  bench *b = *state;
  open_io(b, 4, &(fg_io_fault){.every = 3}); // short writes are continued
  fg_file_close(b->file);
  assert_int_equal(fg_file_open(&b->file, b->path, FG_FILE_CREATE, &b->err), FG_OK);
  assert_int_equal(fg_file_size(b->file), 0);
  memcpy(b->buffer, b->content, PADDED);
  if (fg_io_write_now(b->io, b->file, 0, b->buffer, PADDED, &b->err)) fail_msg("%s", b->err.message);
  assert_int_equal(fg_file_size(b->file), PADDED);
  assert_true(fg_io_bytes_written(b->io) >= PADDED);
  assert_int_equal(fg_file_sync(b->file, &b->err), FG_OK);
  assert_all_read(b);
}

static void test_unaligned_direct_write_is_refused(void **state) {
  bench *b = *state;
  open_io(b, 4, NULL);
  fg_file_close(b->file);
  assert_int_equal(fg_file_open(&b->file, b->path, FG_FILE_CREATE, &b->err), FG_OK);
  if (!fg_file_is_direct(b->file)) skip();
  assert_int_not_equal(fg_io_write_now(b->io, b->file, 0, b->buffer, 100, &b->err), FG_OK);
  assert_int_equal(fg_file_size(b->file), 0);
}

static void test_injected_full_disk(void **state) {
  bench *b = *state;
  open_io(b, 4, &(fg_io_fault){.after = 3, .every = 1, .os_error = ENOSPC});
  fg_file_close(b->file);
  assert_int_equal(fg_file_open(&b->file, b->path, FG_FILE_CREATE, &b->err), FG_OK);
  assert_int_equal(fg_io_write_now(b->io, b->file, 0, b->buffer, PADDED, &b->err), FG_DISK_FULL);
}

// A real one, and on older kernels a file system without direct access.
static void test_full_disk(void **state) {
  bench *b = *state;
  char mount_point[128], path[160];
  snprintf(mount_point, sizeof mount_point, "%s/small", b->directory);
  snprintf(path, sizeof path, "%s/file", mount_point);
  assert_int_equal(mkdir(mount_point, 0700), 0);
  if (mount("flexgen-test", mount_point, "tmpfs", 0, "size=1m") != 0) {
    rmdir(mount_point);
    skip();
  }
  open_io(b, 4, NULL);
  memcpy(b->buffer, b->content, PADDED);
  fg_file *small;
  fg_status opened = fg_file_open(&small, path, FG_FILE_CREATE, &b->err);
  fg_status first = fg_io_write_now(b->io, small, 0, b->buffer, 8192, &b->err);
  fg_status status = fg_io_write_now(b->io, small, 8192, b->buffer, PADDED, &b->err);
  char back[100];
  fg_status reread = fg_io_read_now(b->io, small, 4000, back, 100, &b->err);
  fg_file_close(small);
  umount(mount_point);
  rmdir(mount_point);
  assert_int_equal(opened, FG_OK);
  assert_int_equal(first, FG_OK);
  assert_int_equal(status, FG_DISK_FULL);
  assert_int_equal(reread, FG_OK);
  assert_memory_equal(back, b->content + 4000, 100);
}

static void test_opening_what_is_no_file(void **state) {
  bench *b = *state;
  fg_file *file;
  assert_int_equal(fg_file_open(&file, b->directory, FG_FILE_READ, &b->err), FG_INVALID);
  assert_int_equal(fg_file_open(&file, "/nonexistent/file", FG_FILE_READ, &b->err), FG_NOT_FOUND);
  assert_int_equal(fg_file_open(&file, "/nonexistent/file", FG_FILE_CREATE, &b->err), FG_NOT_FOUND);
  unlink(b->path);
  assert_int_equal(mkfifo(b->path, 0600), 0); // would block
  assert_int_equal(fg_file_open(&file, b->path, FG_FILE_READ, &b->err), FG_INVALID);
}

static void test_options_that_make_no_sense(void **state) {
  bench *b = *state;
  fg_io *io;
  fg_io_options options = {.budget = b->budget, .piece_bytes = 1000};
  assert_int_equal(fg_io_create(&io, &options, &b->err), FG_INVALID);
  options = (fg_io_options){.budget = b->budget, .depth = 1000000};
  assert_int_equal(fg_io_create(&io, &options, &b->err), FG_INVALID);
}

static void test_auto_finds_a_backend(void **state) {
  bench *b = *state;
  fg_io_options options = {.budget = b->budget};
  assert_int_equal(fg_io_create(&b->io, &options, &b->err), FG_OK);
  print_message("auto: %s\n", fg_io_backend_name(b->io));
}

// As in a container whose filter knows no io_uring.
static bool forbid_io_uring(void) {
  struct sock_filter rules[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = {.len = sizeof rules / sizeof rules[0], .filter = rules};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

static void test_auto_takes_threads_where_io_uring_is_forbidden(void **state) {
  bench *b = *state;
  enum { NO_FILTER = 77 };
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    if (!forbid_io_uring()) _exit(NO_FILTER);
    fg_io_options options = {.budget = b->budget};
    bool good = fg_io_create(&b->io, &options, &b->err) == FG_OK &&
                fg_file_open(&b->file, b->path, FG_FILE_READ, &b->err) == FG_OK &&
                strcmp(fg_io_backend_name(b->io), "threads") == 0 && read_all(b) == FG_OK &&
                memcmp(b->buffer, b->content, PADDED) == 0;
    options.backend = FG_IO_URING;
    fg_io *io;
    _exit(good && fg_io_create(&io, &options, &b->err) == FG_UNSUPPORTED ? 0 : 1);
  }
  int status;
  waitpid(child, &status, 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) == NO_FILTER) skip();
  assert_int_equal(status, 0);
}

static int run(const char *name, fg_io_backend_id backend) {
  static bench state;
  state = (bench){.backend = backend};
#define ON(test) cmocka_unit_test_prestate_setup_teardown(test, setup, teardown, &state)
  const struct CMUnitTest tests[] = {
      ON(test_whole_file_is_read_and_its_last_block_padded),
      ON(test_depth_one_still_reads_everything),
      ON(test_many_reads_wait_their_turn_and_arrive_in_any_order_of_waiting),
      ON(test_poll_alone_brings_a_read_to_its_end),
      ON(test_destroy_waits_for_reads_in_flight),
      ON(test_short_reads_are_continued),
      ON(test_interrupted_reads_are_tried_again),
      ON(test_a_refused_direct_read_goes_on_buffered),
      ON(test_a_failing_disk_names_file_and_place),
      ON(test_a_failed_read_is_not_touched_after_the_wait),
      ON(test_a_failed_read_leaves_the_others_alone),
      ON(test_reading_past_the_end_is_refused),
      ON(test_a_file_cut_after_opening_is_corrupt),
      ON(test_an_unaligned_buffer_is_refused_not_misread),
      ON(test_any_range_at_any_address_reads_as_pread_does),
      ON(test_bounces_are_paid_for_once),
      ON(test_random_reads_with_faults_against_the_content),
      ON(test_registering_too_much_is_no_error),
      ON(test_memory_that_was_registered_may_be_mapped_anew),
      ON(test_memory_that_may_not_be_locked_is_read_into_and_told),
      ON(test_what_is_written_can_be_read_back),
      ON(test_unaligned_direct_write_is_refused),
      ON(test_injected_full_disk),
      ON(test_full_disk),
      ON(test_opening_what_is_no_file),
      ON(test_options_that_make_no_sense),
      ON(test_auto_finds_a_backend),
      ON(test_auto_takes_threads_where_io_uring_is_forbidden),
  };
  return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

static void test_io_uring_is_refused_here(void **state) {
  (void)state;
  skip();
}

int main(void) {
  int failed = run("threads", FG_IO_THREADS);
  fg_budget *budget;
  fg_io *io;
  if (fg_budget_create(&budget, "host memory", NULL, 0, NULL)) return 1;
  if (fg_io_create(&io, &(fg_io_options){.backend = FG_IO_URING, .budget = budget}, NULL) == FG_OK) {
    fg_io_destroy(io);
    failed += run("io_uring", FG_IO_URING);
  } else {
    const struct CMUnitTest none[] = {cmocka_unit_test(test_io_uring_is_refused_here)};
    failed += cmocka_run_group_tests_name("io_uring", none, NULL, NULL);
  }
  fg_budget_destroy(budget);
  return failed;
}
