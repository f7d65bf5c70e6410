// chat.h: a list of messages to one prompt, by the model's own template (Jinja, as the Hub's
// templates use it). A template outside the subset is refused with its line. docs: see
// chat_template.jinja, tokenizer_config.json's chat_template, or GGUF's tokenizer.chat_template.
#ifndef FG_TEXT_CHAT_H
#define FG_TEXT_CHAT_H

#include <jansson.h>

#include "base/text_buffer.h"
#include "flexgen/error.h"
#include "format/assets.h"
#include "text/tokenizer.h"

typedef struct fg_chat fg_chat;

// FG_NOT_FOUND when the model has no template. The tokenizer gives the special tokens' texts and must
// outlive the result.
fg_status fg_chat_load(fg_chat **out, const fg_assets *assets, const fg_tokenizer *tokenizer, fg_error *err);
void fg_chat_destroy(fg_chat *chat);
const char *fg_chat_source(const fg_chat *chat); // the template's text, of a list the default's

// `variables` is a JSON object: messages (array), and optionally tools, documents,
// add_generation_prompt and whatever else the template reads. Appends the prompt, to be tokenized
// without adding special tokens. A template's raise_exception is FG_INVALID with its message.
fg_status fg_chat_render(const fg_chat *chat, const json_t *variables, fg_text *prompt, fg_error *err);

#endif
