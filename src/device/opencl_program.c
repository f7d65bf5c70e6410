#include "device/opencl_program.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/folders.h"
#include "base/hash.h"
#include "device/xpu/embedded.h"

enum {
  MOST_KERNELS = 128, // of a model: a few types of weights and one of the cache
  OPTIONS = 160,
  TEXTS = 3,
  MOST_BINARY = 64 << 20,
};

typedef struct program {
  fg_xpu_source source;
  char options[OPTIONS];
  cl_program program;
} program;

typedef struct kernel {
  uint32_t program;
  const char *name;
  cl_kernel kernel;
} kernel;

struct fg_opencl_programs {
  const fg_opencl_api *cl;
  cl_context context;
  fg_opencl_info device;
  char folder[PATH_MAX - 64]; // "" = nothing is kept
  program programs[MOST_KERNELS];
  kernel kernels[MOST_KERNELS];
  uint32_t program_count, kernel_count;
  fg_opencl_built built;
};

typedef struct text {
  const unsigned char *bytes;
  const size_t *length;
} text;

static const text sources[FG_XPU_SOURCES] = {
    [FG_XPU_ROWS] = {fg_embedded_rows_xpu, &fg_embedded_rows_xpu_length},
    [FG_XPU_MATMUL] = {fg_embedded_matmul_xpu, &fg_embedded_matmul_xpu_length},
    [FG_XPU_CACHE] = {fg_embedded_cache_xpu, &fg_embedded_cache_xpu_length},
};

static void texts_of(fg_xpu_source source, text out[TEXTS]) {
  out[0] = (text){fg_embedded_prelude_h, &fg_embedded_prelude_h_length};
  out[1] = (text){fg_embedded_call_h, &fg_embedded_call_h_length};
  out[2] = sources[source];
}

// ---- files ---------------------------------------------------------------------------------------------

typedef struct file_head {
  char magic[8];
  uint64_t bytes, hash;
} file_head;

static const char magic[8] = "fg-clb1";

static void find_folder(fg_opencl_programs *p) {
  const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
  int length = -1;
  if (cache && cache[0] == '/')
    length = snprintf(p->folder, sizeof p->folder, "%s/flexgen/opencl", cache);
  else if (home && home[0] == '/')
    length = snprintf(p->folder, sizeof p->folder, "%s/.cache/flexgen/opencl", home);
  if (length < 0 || (size_t)length >= sizeof p->folder || fg_folders_make(p->folder, NULL) != FG_OK)
    p->folder[0] = 0;
}

static uint64_t hash_text(uint64_t hash, const char *s) {
  return fg_hash_more(hash, s, strlen(s) + 1);
}

static void file_of(const fg_opencl_programs *p, const program *of, char path[PATH_MAX]) {
  text texts[TEXTS];
  texts_of(of->source, texts);
  uint64_t hash = 0;
  for (int i = 0; i < TEXTS; i++) hash = fg_hash_more(hash, texts[i].bytes, *texts[i].length);
  hash = hash_text(hash, of->options);
  hash = hash_text(hash, p->device.platform_name);
  hash = hash_text(hash, p->device.platform_version);
  hash = hash_text(hash, p->device.name);
  hash = hash_text(hash, p->device.driver);
  snprintf(path, PATH_MAX, "%s/%016" PRIx64 ".bin", p->folder, hash);
}

// The binary, to be freed; NULL if there is none that is whole.
static unsigned char *read_binary(const char *path, size_t *bytes) {
  FILE *file = fopen(path, "rb");
  if (!file) return NULL;
  file_head head;
  unsigned char *binary = NULL;
  if (fread(&head, sizeof head, 1, file) == 1 && memcmp(head.magic, magic, sizeof magic) == 0 &&
      head.bytes > 0 && head.bytes <= MOST_BINARY)
    binary = malloc(head.bytes);
  if (binary && (fread(binary, 1, head.bytes, file) != head.bytes || fgetc(file) != EOF ||
                 fg_hash(binary, head.bytes) != head.hash)) {
    free(binary);
    binary = NULL;
  }
  *bytes = binary ? (size_t)head.bytes : 0;
  fclose(file);
  return binary;
}

// Whole or not at all; that it cannot be written costs the next process a compilation.
static void write_binary(const char *path, const unsigned char *binary, size_t bytes) {
  char part[PATH_MAX + 32];
  snprintf(part, sizeof part, "%s.%ld", path, (long)getpid());
  FILE *file = fopen(part, "wb");
  if (!file) return;
  file_head head = {.bytes = bytes, .hash = fg_hash(binary, bytes)};
  memcpy(head.magic, magic, sizeof magic);
  bool written = fwrite(&head, sizeof head, 1, file) == 1 && fwrite(binary, 1, bytes, file) == bytes;
  written = fclose(file) == 0 && written;
  if (!written || rename(part, path) != 0) unlink(part);
}

static void keep_program(const fg_opencl_programs *p, const program *of) {
  size_t bytes = 0;
  if (!p->folder[0] ||
      p->cl->clGetProgramInfo(of->program, CL_PROGRAM_BINARY_SIZES, sizeof bytes, &bytes, NULL) !=
          CL_SUCCESS ||
      bytes == 0 || bytes > MOST_BINARY)
    return;
  unsigned char *binary = malloc(bytes);
  char path[PATH_MAX];
  file_of(p, of, path);
  if (binary &&
      p->cl->clGetProgramInfo(of->program, CL_PROGRAM_BINARIES, sizeof binary, &binary, NULL) == CL_SUCCESS)
    write_binary(path, binary, bytes);
  free(binary);
}

// ---- programs --------------------------------------------------------------------------------------------

static cl_int build(const fg_opencl_programs *p, const program *of) {
  char options[OPTIONS + 96];
  snprintf(options, sizeof options, "-cl-std=CL1.2 %s%s",
           p->device.exact_division ? "-cl-fp32-correctly-rounded-divide-sqrt " : "", of->options);
  return p->cl->clBuildProgram(of->program, 1, &p->device.device, options, NULL, NULL);
}

static bool build_kept(fg_opencl_programs *p, program *of) {
  char path[PATH_MAX];
  size_t bytes;
  cl_int code, taken;
  if (!p->folder[0]) return false;
  file_of(p, of, path);
  unsigned char *binary = read_binary(path, &bytes);
  if (!binary) return false;
  const unsigned char *given = binary;
  of->program =
      p->cl->clCreateProgramWithBinary(p->context, 1, &p->device.device, &bytes, &given, &taken, &code);
  free(binary);
  if (code == CL_SUCCESS && taken == CL_SUCCESS && build(p, of) == CL_SUCCESS) return true;
  if (of->program) p->cl->clReleaseProgram(of->program);
  of->program = NULL;
  return false;
}

// The first line of what the compiler says that speaks of an error.
static void find_reason(const fg_opencl_programs *p, const program *of, char *out, size_t size) {
  size_t bytes = 0;
  out[0] = 0;
  if (p->cl->clGetProgramBuildInfo(of->program, p->device.device, CL_PROGRAM_BUILD_LOG, 0, NULL, &bytes) !=
      CL_SUCCESS)
    return;
  char *log = calloc(1, bytes + 1);
  if (log && p->cl->clGetProgramBuildInfo(of->program, p->device.device, CL_PROGRAM_BUILD_LOG, bytes, log,
                                          NULL) == CL_SUCCESS) {
    const char *line = strstr(log, "error");
    while (line && line > log && line[-1] != '\n') line--;
    if (!line) line = log;
    snprintf(out, size, "%.*s", (int)strcspn(line, "\n"), line);
  }
  free(log);
}

static fg_status build_source(fg_opencl_programs *p, program *of, fg_error *err) {
  text texts[TEXTS];
  const char *parts[TEXTS];
  size_t lengths[TEXTS];
  texts_of(of->source, texts);
  for (int i = 0; i < TEXTS; i++) {
    parts[i] = (const char *)texts[i].bytes;
    lengths[i] = *texts[i].length;
  }
  cl_int code;
  of->program = p->cl->clCreateProgramWithSource(p->context, TEXTS, parts, lengths, &code);
  if (code == CL_SUCCESS) code = build(p, of);
  if (code == CL_SUCCESS) {
    keep_program(p, of);
    return FG_OK;
  }
  char reason[300] = "";
  if (of->program) find_reason(p, of, reason, sizeof reason);
  return fg_fail(err, FG_UNSUPPORTED, "kernels [%s] cannot be built for %s: %s (%d)%s%s", of->options,
                 p->device.name, fg_opencl_error(code), (int)code, reason[0] ? ": " : "", reason);
}

static fg_status find_program(fg_opencl_programs *p, fg_xpu_source source, const char *options, uint32_t *out,
                              fg_error *err) {
  for (*out = 0; *out < p->program_count; ++*out)
    if (p->programs[*out].source == source && strcmp(p->programs[*out].options, options) == 0) return FG_OK;
  if (p->program_count == MOST_KERNELS || strlen(options) >= OPTIONS)
    return fg_fail(err, FG_INTERNAL, "no room for kernels [%s]", options);
  program *of = &p->programs[p->program_count];
  *of = (program){.source = source};
  memcpy(of->options, options, strlen(options) + 1);
  fg_status status = FG_OK;
  if (build_kept(p, of)) {
    p->built.read++;
  } else {
    status = build_source(p, of, err);
    p->built.compiled++;
  }
  if (status == FG_OK)
    p->program_count++;
  else if (of->program)
    p->cl->clReleaseProgram(of->program);
  return status;
}

fg_status fg_opencl_kernel(fg_opencl_programs *p, fg_xpu_source source, const char *options, const char *name,
                           cl_kernel *out, fg_error *err) {
  uint32_t of;
  fg_status status = find_program(p, source, options, &of, err);
  if (status != FG_OK) return status;
  for (uint32_t i = 0; i < p->kernel_count; i++)
    if (p->kernels[i].program == of && strcmp(p->kernels[i].name, name) == 0) {
      *out = p->kernels[i].kernel;
      return FG_OK;
    }
  cl_int code = CL_OUT_OF_HOST_MEMORY;
  if (p->kernel_count < MOST_KERNELS) *out = p->cl->clCreateKernel(p->programs[of].program, name, &code);
  if (code != CL_SUCCESS)
    return fg_fail(err, FG_UNSUPPORTED, "kernel %s [%s] cannot be had of %s: %s (%d)", name, options,
                   p->device.name, fg_opencl_error(code), (int)code);
  p->kernels[p->kernel_count++] = (kernel){of, name, *out};
  return FG_OK;
}

fg_opencl_built fg_opencl_programs_built(const fg_opencl_programs *programs) {
  return programs->built;
}

fg_status fg_opencl_programs_create(fg_opencl_programs **out, const fg_opencl_api *cl, cl_context context,
                                    const fg_opencl_info *device, fg_error *err) {
  fg_opencl_programs *p = calloc(1, sizeof *p);
  *out = p;
  if (!p) return fg_fail(err, FG_NO_SPACE, "no memory for the kernels");
  p->cl = cl;
  p->context = context;
  p->device = *device;
  find_folder(p);
  return FG_OK;
}

void fg_opencl_programs_destroy(fg_opencl_programs *p) {
  if (!p) return;
  for (uint32_t i = 0; i < p->kernel_count; i++) p->cl->clReleaseKernel(p->kernels[i].kernel);
  for (uint32_t i = 0; i < p->program_count; i++) p->cl->clReleaseProgram(p->programs[i].program);
  free(p);
}
