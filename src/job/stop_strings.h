// stop_strings.h: where a growing text meets one of a request's stop strings. The match that ends first
// wins; of those that end at the same byte, the one that stands first in the request's list.
#ifndef FG_JOB_STOP_STRINGS_H
#define FG_JOB_STOP_STRINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct fg_stop_string {
  char *bytes;
  size_t length; // not 0
} fg_stop_string;

typedef struct fg_stop_match {
  uint32_t index;    // in the list
  size_t begin, end; // in the text
} fg_stop_match;

// Looks for matches that end in text[searched + 1 .. length]: what was not there at the last search.
bool fg_stop_find(const fg_stop_string *stops, uint32_t count, const char *text, size_t length,
                  size_t searched, fg_stop_match *match);

// Bytes at the end of a text that may be the beginning of a stop string.
size_t fg_stop_begun(const fg_stop_string *stops, uint32_t count, const char *text, size_t length);

#endif
