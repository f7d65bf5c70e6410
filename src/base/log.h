// log.h: what the engine tells a person while it works; one line each, on the sink that the
// application sets. The library is silent until one is set.
#ifndef FG_BASE_LOG_H
#define FG_BASE_LOG_H

typedef enum fg_log_level { FG_LOG_WARN, FG_LOG_INFO, FG_LOG_DEBUG } fg_log_level;

typedef struct fg_log {
  fg_log_level level; // lines above it are dropped
  void (*write)(void *user, fg_log_level level, const char *line);
  void *user;
} fg_log;

// `log` may be NULL: then nothing happens.
void fg_log_line(const fg_log *log, fg_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
