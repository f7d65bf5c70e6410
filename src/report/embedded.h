// embedded.h: the files of the page, in the binary (cmake/embed.cmake).
#ifndef FG_REPORT_EMBEDDED_H
#define FG_REPORT_EMBEDDED_H

#include <stddef.h>

extern const unsigned char fg_embedded_page_html[], fg_embedded_page_css[], fg_embedded_page_js[];
extern const size_t fg_embedded_page_html_length, fg_embedded_page_css_length, fg_embedded_page_js_length;

#endif
