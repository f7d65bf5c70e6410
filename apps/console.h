// console.h: everything that a person sees on standard error.
//
// Results belong to standard output; messages, warnings and progress come here. On a terminal the progress
// line is redrawn in place and taken away before any other line; elsewhere it is a plain line every few
// seconds. --quiet leaves warnings and errors.
#ifndef FG_APPS_CONSOLE_H
#define FG_APPS_CONSOLE_H

#include <stdbool.h>
#include <stdint.h>

#include "options.h"

typedef struct fg_console {
  char prefix[32]; // "flexgen batch"
  int level;       // lines above it are dropped: 0 warnings, 1 information, 2 debug
  bool color;
  bool in_place;    // redraw the progress line
  bool progress;    // show progress at all
  bool line_open;   // a progress line stands on the terminal
  uint64_t last_ns; // when progress was shown last
} fg_console;

// `options` may be NULL (before they are parsed).
void fg_console_init(fg_console *console, const char *command, const fg_options *options);

void fg_console_error(fg_console *console, const char *message);
void fg_console_say(fg_console *console, int level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
// The same as a callback of the engine; `user` is the console.
void fg_console_log(void *user, int level, const char *line);

// Whether enough time went by to show progress again; the caller then makes the line.
bool fg_console_progress_due(fg_console *console);
void fg_console_progress(fg_console *console, const char *format, ...) __attribute__((format(printf, 2, 3)));
// Takes the progress line away.
void fg_console_clear(fg_console *console);

// "1:02:03", "2:03", "--" for a negative time; returns buffer.
const char *fg_format_duration(double seconds, char buffer[static 32]);

#endif
