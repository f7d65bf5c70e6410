#include "serve/access_log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

// ---- a line ----------------------------------------------------------------------------------------------

static void put_quoted(fg_text *out, const char *text) {
  for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
    if (*c >= 0x20 && *c < 0x7f && *c != '"' && *c != '\\')
      fg_text_append(out, c, 1);
    else
      fg_text_printf(out, "\\x%02X", *c);
  }
}

// Months are English, whatever the locale.
static void put_time(fg_text *out, int64_t seconds) {
  static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const time_t time = (time_t)seconds;
  struct tm t = {0};
  localtime_r(&time, &t);
  const long minutes = labs(t.tm_gmtoff) / 60;
  fg_text_printf(out, "%02d/%s/%d:%02d:%02d:%02d %c%02ld%02ld", t.tm_mday, months[t.tm_mon], t.tm_year + 1900,
                 t.tm_hour, t.tm_min, t.tm_sec, t.tm_gmtoff < 0 ? '-' : '+', minutes / 60, minutes % 60);
}

void fg_access_entry_put(fg_text *out, const fg_access_entry *e) {
  fg_text_printf(out, "%s - - [", e->address);
  put_time(out, e->time);
  fg_text_append_string(out, "] \"");
  put_quoted(out, e->method);
  fg_text_append(out, " ", 1);
  put_quoted(out, e->path);
  fg_text_append(out, " ", 1);
  put_quoted(out, e->version);
  fg_text_printf(out, "\" %d %" PRIu64 " %" PRIu64 "\n", e->status, e->bytes, e->milliseconds);
}

// ---- the file --------------------------------------------------------------------------------------------

struct fg_access_log {
  int fd;
  atomic_uint_fast64_t lost;
  atomic_int reason;
};

fg_status fg_access_log_open(fg_access_log **out, const char *path, fg_error *err) {
  fg_access_log *log = calloc(1, sizeof *log);
  if (!log) return fg_fail(err, FG_NO_SPACE, "out of memory for the access log");
  const bool standard = strcmp(path, "-") == 0;
  log->fd = standard ? fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0)
                     : open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0666);
  if (log->fd < 0) {
    const int reason = errno;
    free(log);
    return fg_fail(err, FG_IO, "--access-log %.200s: cannot open it: %s", path, strerror(reason));
  }
  *out = log;
  return FG_OK;
}

void fg_access_log_close(fg_access_log *log) {
  if (!log) return;
  close(log->fd);
  free(log);
}

static void lose(fg_access_log *log, int reason) {
  atomic_store(&log->reason, reason);
  atomic_fetch_add(&log->lost, 1);
}

void fg_access_log_put(fg_access_log *log, const fg_access_entry *entry) {
  fg_text line = {0};
  fg_access_entry_put(&line, entry);
  if (fg_text_failed(&line)) {
    lose(log, ENOMEM);
  } else {
    ssize_t written;
    do written = write(log->fd, line.data, line.length);
    while (written < 0 && errno == EINTR);
    // A part of a line is what a full disk takes.
    if (written != (ssize_t)line.length) lose(log, written < 0 ? errno : ENOSPC);
  }
  fg_text_free(&line);
}

uint64_t fg_access_log_lost(const fg_access_log *log, int *reason) {
  *reason = atomic_load(&log->reason);
  return atomic_load(&log->lost);
}
