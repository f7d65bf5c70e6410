// flexgen tokenize: text to token ids and back, with nothing of a model but its tokenizer's files.
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "model_input.h"
#include "run.h"
#include "text/tokenizer.h"

typedef struct tokenizing {
  const fg_options *options;
  const fg_tokenizer *tokenizer;
  fg_ids ids;   // scratch
  fg_text text; // scratch
} tokenizing;

static void print_ids(const fg_ids *ids) {
  putchar('[');
  for (size_t i = 0; i < ids->count; i++) printf(i ? ", %d" : "%d", (int)ids->data[i]);
  puts("]");
}

static fg_status encode(tokenizing *t, const char *text, size_t length, fg_error *err) {
  t->ids.count = 0;
  fg_status status = fg_tokenizer_encode(t->tokenizer, text, length, !t->options->no_special, &t->ids, err);
  if (status == FG_OK) print_ids(&t->ids);
  return status;
}

static fg_status encode_line(tokenizing *t, const json_t *value, fg_error *err) {
  if (!json_is_string(value)) return fg_fail(err, FG_INVALID, "a JSON string is wanted");
  return encode(t, json_string_value(value), json_string_length(value), err);
}

static fg_status decode_line(tokenizing *t, const json_t *value, fg_error *err) {
  if (!json_is_array(value)) return fg_fail(err, FG_INVALID, "a JSON array of token ids is wanted");
  t->ids.count = 0;
  fg_text_clear(&t->text);
  size_t i;
  const json_t *item;
  fg_status status = FG_OK;
  json_array_foreach(value, i, item) {
    json_int_t id = json_integer_value(item);
    if (!json_is_integer(item) || id < 0 || id > INT32_MAX)
      return fg_fail(err, FG_INVALID, "element %zu is no token id", i);
    int32_t one = (int32_t)id;
    if ((status = fg_ids_append(&t->ids, &one, 1, err)) != FG_OK) return status;
  }
  status =
      fg_tokenizer_decode(t->tokenizer, t->ids.data, t->ids.count, t->options->skip_special, &t->text, err);
  if (status != FG_OK) return status;
  if (fg_text_failed(&t->text)) return fg_fail(err, FG_NO_SPACE, "no memory for the text");
  return fg_print_json(json_stringn(t->text.length ? t->text.data : "", t->text.length), err);
}

// One JSON value a line; blank lines are passed over. A line is answered when it is read: a program can ask
// one after the other.
static fg_status each_line(tokenizing *t, fg_status (*act)(tokenizing *, const json_t *, fg_error *),
                           fg_error *err) {
  char *line = NULL;
  size_t capacity = 0;
  ssize_t length;
  fg_status status = FG_OK;
  setvbuf(stdout, NULL, _IOLBF, 0);
  for (unsigned long number = 1; status == FG_OK && (length = getline(&line, &capacity, stdin)) > 0;
       number++) {
    if (strspn(line, " \t\r\n") == (size_t)length) continue;
    char where[40];
    snprintf(where, sizeof where, "standard input:%lu", number);
    json_t *value = fg_json_parse(line, (size_t)length, where, err);
    if (!value) {
      status = err->status;
      break;
    }
    if ((status = act(t, value, err)) != FG_OK) fg_fail_prefix(err, "%s", where);
    json_decref(value);
  }
  if (status == FG_OK && ferror(stdin)) status = fg_fail(err, FG_IO, "standard input: %s", strerror(errno));
  free(line);
  return status;
}

static fg_status whole_text(tokenizing *t, fg_error *err) {
  fg_status status = fg_read_text("-", &t->text, err);
  return status == FG_OK ? encode(t, t->text.length ? t->text.data : "", t->text.length, err) : status;
}

static fg_status tokenize(const fg_options *o, fg_error *err) {
  fg_assets assets = {0};
  fg_tokenizer *tokenizer = NULL;
  fg_status status = fg_model_assets(&assets, o->arguments[0], err);
  if (status == FG_OK) status = fg_tokenizer_load(&tokenizer, &assets, err);
  fg_assets_free(&assets);
  if (status != FG_OK) return status;
  tokenizing t = {.options = o, .tokenizer = tokenizer};
  if (o->decode)
    status = each_line(&t, decode_line, err);
  else
    status = o->jsonl ? each_line(&t, encode_line, err) : whole_text(&t, err);
  fg_ids_free(&t.ids);
  fg_text_free(&t.text);
  fg_tokenizer_destroy(tokenizer);
  return status;
}

int fg_command_tokenize(const fg_options *options, fg_console *console) {
  fg_error err = {FG_OK, ""};
  if (tokenize(options, &err) == FG_OK) return FG_EXIT_DONE;
  fg_console_error(console, err.message);
  return FG_EXIT_FAILED;
}
