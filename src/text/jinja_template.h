// jinja_template.h: what the parser leaves for the evaluator.
#ifndef FG_TEXT_JINJA_TEMPLATE_H
#define FG_TEXT_JINJA_TEMPLATE_H

#include "text/jinja.h"

struct fg_template {
  fg_arena arena; // holds the nodes and their strings
  fg_node *body;
};

#endif
