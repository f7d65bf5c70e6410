// mhd.h: libmicrohttpd, loaded when a server starts and not with the program: it brings a TLS library and
// eight more, which would cost every command time and memory.
#ifndef FG_SERVE_MHD_H
#define FG_SERVE_MHD_H

#include <microhttpd.h>

#include "flexgen/error.h"

typedef struct fg_mhd {
  __typeof__(MHD_start_daemon) *start_daemon;
  __typeof__(MHD_quiesce_daemon) *quiesce_daemon;
  __typeof__(MHD_stop_daemon) *stop_daemon;
  __typeof__(MHD_get_connection_info) *get_connection_info;
  __typeof__(MHD_lookup_connection_value) *lookup_connection_value;
  __typeof__(MHD_suspend_connection) *suspend_connection;
  __typeof__(MHD_resume_connection) *resume_connection;
  __typeof__(MHD_create_response_from_callback) *create_response_from_callback;
  __typeof__(MHD_create_response_from_fd64) *create_response_from_fd64;
  __typeof__(MHD_create_response_from_buffer) *create_response_from_buffer;
  __typeof__(MHD_add_response_header) *add_response_header;
  __typeof__(MHD_queue_response) *queue_response;
  __typeof__(MHD_destroy_response) *destroy_response;
} fg_mhd;

// The library stays loaded.
fg_status fg_mhd_load(fg_mhd *out, fg_error *err);

#endif
