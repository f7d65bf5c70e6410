#include "serve/mhd.h"

#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

#include "base/system.h"

static const struct {
  const char *name;
  size_t offset;
} functions[] = {
    {"MHD_start_daemon", offsetof(fg_mhd, start_daemon)},
    {"MHD_quiesce_daemon", offsetof(fg_mhd, quiesce_daemon)},
    {"MHD_stop_daemon", offsetof(fg_mhd, stop_daemon)},
    {"MHD_get_connection_info", offsetof(fg_mhd, get_connection_info)},
    {"MHD_lookup_connection_value", offsetof(fg_mhd, lookup_connection_value)},
    {"MHD_suspend_connection", offsetof(fg_mhd, suspend_connection)},
    {"MHD_resume_connection", offsetof(fg_mhd, resume_connection)},
    {"MHD_create_response_from_callback", offsetof(fg_mhd, create_response_from_callback)},
    {"MHD_create_response_from_fd64", offsetof(fg_mhd, create_response_from_fd64)},
    {"MHD_create_response_from_buffer", offsetof(fg_mhd, create_response_from_buffer)},
    {"MHD_add_response_header", offsetof(fg_mhd, add_response_header)},
    {"MHD_queue_response", offsetof(fg_mhd, queue_response)},
    {"MHD_destroy_response", offsetof(fg_mhd, destroy_response)},
};

fg_status fg_mhd_load(fg_mhd *out, fg_error *err) {
  void *library = dlopen(FG_SHARED_LIBRARY("libmicrohttpd", "12"), RTLD_NOW | RTLD_LOCAL);
  if (!library)
    return fg_fail(err, FG_NOT_FOUND, "libmicrohttpd is missing (Debian: apt install libmicrohttpd12): %s",
                   dlerror());
  for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
    void *address = dlsym(library, functions[i].name);
    if (!address)
      return fg_fail(err, FG_UNSUPPORTED, "libmicrohttpd has no %s; 0.9.75 or newer is wanted",
                     functions[i].name);
    memcpy((char *)out + functions[i].offset, &address, sizeof address);
  }
  return FG_OK;
}
