// page.h: one page about a run, whole in itself.
//
// The page is three files of this folder, put into the binary: what is shown (page.html), how it looks
// (page.css) and the code that draws it from the object of --stats (page.js). The object is put into the page
// as text that no string in it can end; the code takes it as data only, so that a page about a hostile object
// is as harmless as any. A live page has none and asks for it again and again.
#ifndef FG_REPORT_PAGE_H
#define FG_REPORT_PAGE_H

#include <jansson.h>

#include "base/text_buffer.h"
#include "flexgen/error.h"

// Appends the page about `stats`, an object of --stats. FG_INVALID: it is none.
fg_status fg_report_page(fg_text *out, const json_t *stats, fg_error *err);
// Appends the page that fetches such an object from `url`, relative to its own.
fg_status fg_report_live_page(fg_text *out, const char *url, fg_error *err);

#endif
