#include "machine.h"

#include <stddef.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "kernels/amx.h"
#include "kernels/cpu.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

enum { ACCUMULATORS = 12, MAX_THREADS = 1024 };

#if defined(__x86_64__)

// The assembler repeats the text for each register.
#define EACH(registers, text) ".irp r," registers "\n\t" text "\n\t.endr\n\t"
#define LOADS                 EACH("0,1,2,3,4,5,6,7", "vmovdqu 32*\\r(%0),%%ymm\\r")
#define SUMS                  "0,1,2,3,4,5,6,7,8,9,10,11"
#define CLEAR                 EACH(SUMS ",15", "vpxor %%xmm\\r,%%xmm\\r,%%xmm\\r")
#define LOOP(name, op, reg)                                                                                  \
  static void name(uint64_t turns) {                                                                         \
    __asm__ volatile(CLEAR "1:\n\t" EACH(SUMS, op " %%" reg "15,%%" reg "15,%%" reg                          \
                                                  "\\r") "dec %0\n\tjnz 1b\n\tvzeroupper\n\t"                \
                     : "+r"(turns)                                                                           \
                     :                                                                                       \
                     : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", \
                       "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");                                \
  }

LOOP(fma_512, "vfmadd231ps", "zmm")
LOOP(fma_256, "vfmadd231ps", "ymm")
LOOP(dot_bf16_512, "vdpbf16ps", "zmm")
LOOP(dot_int8_512, "vpdpbusd", "zmm")
LOOP(dot_int8_256, "%{vex%} vpdpbusd", "ymm")

#if defined(FG_HAVE_AMX)

// Products of whole tiles, each of 16 rows, 16 columns and 64 bytes of k.
enum { TILES = 6, TILE_OPERATIONS = TILES * 16 * 16 * FG_AMX_ROW_BYTES * 2 };
#define TILE_LOOP(name, dot)                                                                                 \
  static void name(uint64_t turns) {                                                                         \
    fg_amx_shapes shapes = {0};                                                                              \
    for (uint32_t t = 0; t < TILES + 2; t++) fg_amx_shape(&shapes, t, FG_AMX_ROWS, FG_AMX_ROW_BYTES);        \
    fg_amx_begin(&shapes);                                                                                   \
    for (; turns; turns--) {                                                                                 \
      dot(0, 6, 7);                                                                                          \
      dot(1, 6, 7);                                                                                          \
      dot(2, 6, 7);                                                                                          \
      dot(3, 6, 7);                                                                                          \
      dot(4, 6, 7);                                                                                          \
      dot(5, 6, 7);                                                                                          \
    }                                                                                                        \
    fg_amx_end();                                                                                            \
  }

TILE_LOOP(tiles_bf16, FG_AMX_DOT_BF16)
TILE_LOOP(tiles_int8, FG_AMX_DOT_INT8)

static bool has_tiles_bf16(void) {
  return fg_cpu_features() & FG_CPU_AMX_BF16;
}
static bool has_tiles_int8(void) {
  return fg_cpu_features() & FG_CPU_AMX_INT8;
}

#endif

static bool has_fma(void) {
  return __builtin_cpu_supports("fma");
}
static bool has_avx512(void) {
  return __builtin_cpu_supports("avx512f");
}
static bool has_bf16(void) {
  return has_avx512() && __builtin_cpu_supports("avx512bf16");
}
static bool has_vnni(void) {
  return has_avx512() && __builtin_cpu_supports("avx512vnni");
}
static bool has_vex_vnni(void) {
  uint32_t a, b, c, d; // clang 14 does not know the feature's name
  return __builtin_cpu_supports("avx2") && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & 1 << 4);
}

// Loads of 16 bytes, which any CPU of this kind has, do not read as fast as memory gives: a thread of a Zen 5
// gets 23 GB/s by them, 42 by loads of 32 or of 64.
static bool read_wide(const uint8_t *block, uint64_t bytes) {
  if (!__builtin_cpu_supports("avx")) return false;
  uint64_t turns = bytes / 256;
  __asm__ volatile("1:\n\t" LOADS "add $256,%0\n\tdec %1\n\tjnz 1b\n\tvzeroupper\n\t"
                   : "+r"(block), "+r"(turns)
                   :
                   : "cc", "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7");
  return true;
}

// A lane of 4 bytes has 1, 2 or 4 products, each added.
static const bench_instruction instructions[] = {
    {"f32", "vfmadd231ps zmm", ACCUMULATORS * 16 * 2, has_avx512, fma_512},
    {"f32", "vfmadd231ps ymm", ACCUMULATORS * 8 * 2, has_fma, fma_256},
#if defined(FG_HAVE_AMX)
    {"bf16", "tdpbf16ps tmm", TILE_OPERATIONS / 2, has_tiles_bf16, tiles_bf16},
    {"int8", "tdpbssd tmm", TILE_OPERATIONS, has_tiles_int8, tiles_int8},
#endif
    {"bf16", "vdpbf16ps zmm", ACCUMULATORS * 16 * 4, has_bf16, dot_bf16_512},
    {"int8", "vpdpbusd zmm", ACCUMULATORS * 16 * 8, has_vnni, dot_int8_512},
    {"int8", "vpdpbusd ymm", ACCUMULATORS * 8 * 8, has_vex_vnni, dot_int8_256},
    {0},
};

#else

static const bench_instruction instructions[] = {{0}};

static bool read_wide(const uint8_t *block, uint64_t bytes) {
  (void)block, (void)bytes;
  return false;
}

#endif

const bench_instruction *bench_instruction_at(uint32_t i) {
  return instructions[i].name ? &instructions[i] : NULL;
}

const bench_instruction *bench_instruction_of(const char *name) {
  for (const bench_instruction *i = instructions; i->name; i++)
    if (strcmp(i->name, name) == 0 && i->supported()) return i;
  return NULL;
}

typedef struct peak_job {
  const bench_instruction *instruction;
  uint64_t turns;
  double cpu_seconds[MAX_THREADS]; // by item
} peak_job;

static double thread_seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void run_loop(void *arg, uint32_t item, uint32_t thread) {
  (void)thread;
  peak_job *job = arg;
  double begin = thread_seconds();
  job->instruction->loop(job->turns);
  job->cpu_seconds[item] = thread_seconds() - begin;
}

bench_rate bench_peak(const bench_instruction *instruction, fg_threads *threads, uint64_t turns) {
  peak_job job = {.instruction = instruction, .turns = turns};
  uint32_t count = fg_threads_count(threads);
  if (count > MAX_THREADS) count = MAX_THREADS;
  uint64_t begin = fg_now_ns();
  fg_threads_run(threads, count, run_loop, &job);
  double wall = (double)(fg_now_ns() - begin), operations = (double)instruction->operations * (double)turns;
  bench_rate rate = {.wall = count * operations / wall};
  for (uint32_t i = 0; i < count; i++) rate.cpu += operations / job.cpu_seconds[i] * 1e-9;
  return rate;
}

enum { READ_PIECE = 1 << 20 };

typedef struct read_job {
  const uint8_t *block;
  uint64_t sums[MAX_THREADS]; // so that the loads are wanted
} read_job;

typedef uint64_t read_vector
    __attribute__((vector_size(16))); // wider ones pass through memory in plain x86-64

enum { LINE_VECTORS = 64 / sizeof(read_vector), PIECE_LINES = READ_PIECE / 64 };

// One stream, from first to last: the CPU reads ahead of it by itself. (Four streams with requests ahead of
// each: 0.8 to 0.9 of it.)
static void read_piece(void *arg, uint32_t item, uint32_t thread) {
  read_job *job = arg;
  const uint8_t *piece = job->block + (uint64_t)item * READ_PIECE;
  if (read_wide(piece, READ_PIECE)) return;
  const read_vector *p = (const read_vector *)piece;
  read_vector sums[LINE_VECTORS] = {{0}};
  for (uint32_t i = 0; i < PIECE_LINES; i++)
    for (uint32_t v = 0; v < LINE_VECTORS; v++) sums[v] |= *p++;
  for (uint32_t v = 0; v < LINE_VECTORS; v++) job->sums[thread] |= sums[v][0] | sums[v][1];
}

double bench_read_rate(const void *block, uint64_t bytes, fg_threads *threads) {
  read_job job = {.block = block};
  uint32_t pieces = (uint32_t)(bytes / READ_PIECE);
  uint64_t begin = fg_now_ns();
  fg_threads_run(threads, pieces, read_piece, &job);
  uint64_t end = fg_now_ns();
  volatile uint64_t sink = job.sums[0];
  (void)sink;
  return (double)pieces * READ_PIECE / (double)(end - begin);
}
