#include "report/page.h"

#include <stdlib.h>
#include <string.h>

#include "report/embedded.h"

// Where page.html wants the other parts.
static const char STYLE[] = "/*STYLE*/", SCRIPT[] = "/*SCRIPT*/", DATA[] = "/*DATA*/", LIVE[] = "/*LIVE*/";

typedef struct part {
  const char *mark;
  const char *text;
  size_t length;
} part;

// The file with each mark replaced by its part; marks come in the order of the parts.
static void put_together(fg_text *out, const part *parts, size_t count) {
  const char *from = (const char *)fg_embedded_page_html, *end = from + fg_embedded_page_html_length;
  for (size_t i = 0; i < count; i++) {
    const char *mark = strstr(from, parts[i].mark);
    if (!mark) continue;
    fg_text_append(out, from, (size_t)(mark - from));
    fg_text_append(out, parts[i].text, parts[i].length);
    from = mark + strlen(parts[i].mark);
  }
  fg_text_append(out, from, (size_t)(end - from));
}

// JSON in which no HTML begins or ends: '<' stands in strings only, where it may be written as its number.
static void put_json(fg_text *out, const char *json) {
  while (*json) {
    const size_t plain = strcspn(json, "<");
    fg_text_append(out, json, plain);
    json += plain;
    if (!*json) break;
    fg_text_append_string(out, "\\u003c");
    json++;
  }
}

static fg_status put_page(fg_text *out, const json_t *data, const char *live, fg_error *err) {
  fg_text text = {0}, url = {0};
  char *json = json_dumps(data, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_ENCODE_ANY | JSON_REAL_PRECISION(9));
  json_t *name = json_string(live);
  char *quoted = name ? json_dumps(name, JSON_ENSURE_ASCII | JSON_ENCODE_ANY) : NULL;
  if (json) put_json(&text, json);
  if (quoted) put_json(&url, quoted);
  const bool whole = json && quoted && !fg_text_failed(&text) && !fg_text_failed(&url);
  const part parts[] = {
      {STYLE, (const char *)fg_embedded_page_css, fg_embedded_page_css_length},
      {DATA, text.data, text.length},
      {LIVE, url.data, url.length},
      {SCRIPT, (const char *)fg_embedded_page_js, fg_embedded_page_js_length},
  };
  if (whole) put_together(out, parts, sizeof parts / sizeof *parts);
  free(json);
  free(quoted);
  json_decref(name);
  fg_text_free(&text);
  fg_text_free(&url);
  return whole && !fg_text_failed(out) ? FG_OK : fg_fail(err, FG_NO_SPACE, "no memory for the page");
}

fg_status fg_report_page(fg_text *out, const json_t *stats, fg_error *err) {
  static const char *const wanted[] = {"model", "phases", "tokens", "tiers"};
  for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
    if (!json_is_object(json_object_get(stats, wanted[i])))
      return fg_fail(err, FG_INVALID, "this is no file of --stats: it has no object \"%s\"", wanted[i]);
  return put_page(out, stats, "", err);
}

fg_status fg_report_live_page(fg_text *out, const char *url, fg_error *err) {
  json_t *none = json_null();
  return put_page(out, none, url, err);
}
