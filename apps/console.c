// Standard error for people.
#include "console.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"

enum { LINE_MAX_BYTES = 1024 };

static const uint64_t redraw_ns = 200ull * 1000 * 1000;     // in place: five times a second
static const uint64_t plain_ns = 5ull * 1000 * 1000 * 1000; // in a log: a line every five seconds

static bool env_set(const char *name) {
  const char *value = getenv(name);
  return value && value[0];
}

static bool want_color(const char *choice, bool terminal) {
  if (choice && strcmp(choice, "always") == 0) return true;
  if (choice && strcmp(choice, "never") == 0) return false;
  return terminal && !env_set("NO_COLOR");
}

void fg_console_init(fg_console *console, const char *command, const fg_options *options) {
  memset(console, 0, sizeof *console);
  snprintf(console->prefix, sizeof console->prefix, command ? "flexgen %s" : "flexgen%s",
           command ? command : "");
  const char *term = getenv("TERM");
  bool dumb = !term || !term[0] || strcmp(term, "dumb") == 0;
  bool terminal = isatty(STDERR_FILENO) && !dumb;
  console->in_place = terminal;
  console->color = want_color(options ? options->color : NULL, terminal);
  console->level = 1;
  if (!options) return;
  console->progress = !options->quiet && !options->no_progress;
  console->level = options->quiet ? 0 : options->verbose ? 2 : 1;
  console->last_ns = fg_now_ns(); // the first line of a log comes after the interval, not at once
}

void fg_console_clear(fg_console *console) {
  if (!console->line_open) return;
  fputs("\r\033[K", stderr);
  console->line_open = false;
}

// One fprintf a line: standard error has no buffer of its own, so this is one write.
static void put_line(fg_console *console, const char *color, const char *label, const char *text) {
  fg_console_clear(console);
  bool paint = console->color && color[0];
  fprintf(stderr, "%s%s:%s%s %s\n", paint ? color : "", console->prefix, label, paint ? "\033[0m" : "", text);
}

void fg_console_error(fg_console *console, const char *message) {
  put_line(console, "\033[31m", "", message);
}

void fg_console_log(void *user, int level, const char *line) {
  fg_console *console = user;
  if (level > console->level) return;
  if (level == 0)
    put_line(console, "\033[33m", " warning:", line);
  else
    put_line(console, "", "", line);
}

void fg_console_say(fg_console *console, int level, const char *format, ...) {
  if (level > console->level) return;
  char line[LINE_MAX_BYTES];
  va_list args;
  va_start(args, format);
  vsnprintf(line, sizeof line, format, args);
  va_end(args);
  fg_console_log(console, level, line);
}

bool fg_console_progress_due(fg_console *console) {
  return console->progress && fg_now_ns() - console->last_ns >= (console->in_place ? redraw_ns : plain_ns);
}

void fg_console_progress(fg_console *console, const char *format, ...) {
  if (!console->progress) return;
  console->last_ns = fg_now_ns();
  char line[LINE_MAX_BYTES];
  va_list args;
  va_start(args, format);
  vsnprintf(line, sizeof line, format, args);
  va_end(args);
  if (!console->in_place) {
    put_line(console, "", "", line);
    return;
  }
  struct winsize size;
  size_t width = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col - 1u : 79;
  if (width < sizeof line) line[width] = 0; // a wrapped line cannot be redrawn in place
  fprintf(stderr, "\r%s\033[K", line);
  fflush(stderr);
  console->line_open = true;
}

const char *fg_format_duration(double seconds, char buffer[static 32]) {
  if (!(seconds >= 0) || seconds > 1e9) {
    snprintf(buffer, 32, "--");
    return buffer;
  }
  unsigned long s = (unsigned long)(seconds + 0.5);
  if (s >= 3600)
    snprintf(buffer, 32, "%lu:%02lu:%02lu", s / 3600, s / 60 % 60, s % 60);
  else
    snprintf(buffer, 32, "%lu:%02lu", s / 60, s % 60);
  return buffer;
}
