#include "serve/mhd.h"

#include "base/shared_library.h"
#include "base/system.h"

static const fg_shared_function functions[] = {
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
  static const fg_shared_library library = {.file = FG_SHARED_LIBRARY("libmicrohttpd", "12"),
                                            .name = "libmicrohttpd",
                                            .advice = "on Debian: apt install libmicrohttpd12",
                                            .wanted = "0.9.75 or newer",
                                            .functions = functions,
                                            .count = sizeof functions / sizeof *functions};
  void *handle; // stays: threads of the library may run on
  return fg_shared_library_open(&handle, &library, out, err);
}
