// opencl_program.h: kernels of one device, compiled when they are first needed and kept.
//
// A program is a source in xpu/ compiled with some options; a kernel is found by source, options and name.
// What the driver made of a program is kept in a file for the next process ($XDG_CACHE_HOME/flexgen/opencl or
// ~/.cache/flexgen/opencl): its name is a hash of the text, the options, the device and its driver, its
// content is checked by a checksum, since some drivers do not survive broken ones. Where no file can be
// written there is none.
//
// Threads: one owner.
#ifndef FG_DEVICE_OPENCL_PROGRAM_H
#define FG_DEVICE_OPENCL_PROGRAM_H

#include "device/opencl_list.h"

typedef enum fg_xpu_source { FG_XPU_ROWS, FG_XPU_MATMUL, FG_XPU_CACHE, FG_XPU_SOURCES } fg_xpu_source;

typedef struct fg_opencl_programs fg_opencl_programs;

fg_status fg_opencl_programs_create(fg_opencl_programs **out, const fg_opencl_api *cl, cl_context context,
                                    const fg_opencl_info *device, fg_error *err);
void fg_opencl_programs_destroy(fg_opencl_programs *programs);

// `options`: as for a compiler, "-D TILE_ROWS=8". The kernel stays the programs'.
fg_status fg_opencl_kernel(fg_opencl_programs *programs, fg_xpu_source source, const char *options,
                           const char *name, cl_kernel *out, fg_error *err);

// How many were compiled and how many were read from files.
typedef struct fg_opencl_built {
  uint32_t compiled, read;
} fg_opencl_built;
fg_opencl_built fg_opencl_programs_built(const fg_opencl_programs *programs);

#endif
