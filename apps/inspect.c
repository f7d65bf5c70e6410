// flexgen inspect: what a folder, a file, a store or a shape holds, and whether it can be run. Reads
// configuration and headers; no weights are read and nothing is written.
#include <string.h>
#include <sys/stat.h>

#include "base/size.h"
#include "format/checkpoint.h"
#include "model_input.h"
#include "run.h"
#include "text/chat.h"
#include "text/tokenizer.h"

// What has been found out; a part that could not be read has its reason in place of its facts.
typedef struct findings {
  const fg_options *options;
  fg_budget *budget;
  fg_io *io;
  const char *kind;
  fg_model *model; // NULL: `unsupported` says why
  fg_error unsupported;
  fg_assets own_assets; // when there is no model
  const fg_assets *assets;
  fg_tokenizer *tokenizer;
  fg_error no_tokenizer;
  bool has_chat;
  fg_error no_chat;
  uint64_t packed_bytes;
  uint64_t packed_of[FG_DTYPE_COUNT]; // by type, as they are or would be packed
  uint64_t bytes_of[FG_DTYPE_COUNT];  // weights by type, as they stand in the file
  bool weights_known;
} findings;

static const char *kind_of(const char *path, bool synthetic) {
  struct stat st;
  if (synthetic) return "shape";
  if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) return "folder";
  return fg_store_is(path) ? "store" : "file";
}

static void count_store(findings *f, const fg_store *store) {
  for (uint32_t i = 0; i < store->weight_count; i++) {
    const fg_weight *w = &store->weights[i];
    for (uint32_t p = 0; p < w->panels; p++) f->bytes_of[w->dtype] += store->panels[w->panel + p].bytes;
  }
}

static void count_checkpoint(findings *f, const fg_checkpoint *checkpoint) {
  for (size_t i = 0; i < checkpoint->count; i++) {
    const fg_checkpoint_tensor *t = &checkpoint->tensors[i];
    uint64_t bytes;
    if (fg_dtype_bytes(t->dtype, t->rows * t->columns, &bytes)) f->bytes_of[t->dtype] += bytes;
  }
}

static void find_weights(findings *f) {
  const char *path = f->options->arguments[0];
  if (strcmp(f->kind, "store") == 0) {
    fg_store *store;
    f->weights_known = fg_store_open(&store, path, NULL) == FG_OK;
    if (!f->weights_known) return;
    count_store(f, store);
    fg_store_close(store);
  } else if (strcmp(f->kind, "shape") != 0) {
    fg_checkpoint *checkpoint;
    f->weights_known = fg_checkpoint_open(&checkpoint, path, f->io, NULL) == FG_OK;
    if (!f->weights_known) return;
    count_checkpoint(f, checkpoint);
    fg_checkpoint_destroy(checkpoint);
  }
}

static void find_text_parts(findings *f) {
  if (fg_tokenizer_load(&f->tokenizer, f->assets, &f->no_tokenizer) != FG_OK) return;
  fg_chat *chat;
  f->has_chat = fg_chat_load(&chat, f->assets, f->tokenizer, &f->no_chat) == FG_OK;
  if (f->has_chat) fg_chat_destroy(chat);
}

// Fails only when there is nothing to talk about.
static fg_status look(findings *f, fg_error *err) {
  const fg_options *o = f->options;
  fg_status status = fg_budget_create(&f->budget, "host memory", "--host-memory", 0, err);
  if (status == FG_OK) status = fg_io_for(&f->io, o, f->budget, err);
  if (status != FG_OK) return status;
  f->kind = kind_of(o->arguments[0], o->synthetic);
  fg_model_options options = {.io = f->io, .host = f->budget};
  fg_model_input(&options, o);
  if (fg_model_inspect(&f->model, &options, &f->unsupported) == FG_OK) {
    f->assets = &f->model->assets;
    f->packed_bytes = fg_model_weight_bytes(f->model, &options);
    fg_model_type_bytes(f->model, &options, f->packed_of);
  } else {
    if (f->unsupported.status == FG_NOT_FOUND || o->synthetic)
      return fg_fail(err, f->unsupported.status, "%s", f->unsupported.message);
    if (fg_model_assets(&f->own_assets, o->arguments[0], NULL) == FG_OK) f->assets = &f->own_assets;
  }
  find_weights(f);
  if (f->assets) find_text_parts(f);
  return FG_OK;
}

static void forget(findings *f) {
  fg_tokenizer_destroy(f->tokenizer);
  fg_assets_free(&f->own_assets);
  fg_model_close(f->model);
  fg_io_destroy(f->io);
  fg_budget_destroy(f->budget);
}

// Keys and values of all layers in 16 bits.
static uint64_t kv_bytes_per_token(const fg_graph *g) {
  return 2ull * g->layers * g->kv.kv_heads * (g->kv.k_dim + (g->kv.v_in_k ? 0 : g->kv.v_dim));
}

// ---- for machines ----------------------------------------------------------------------------------------

static json_t *types_json(const uint64_t bytes[FG_DTYPE_COUNT]) {
  json_t *types = json_object();
  for (int t = 0; t < FG_DTYPE_COUNT; t++)
    if (bytes[t])
      json_object_set_new(types, fg_dtype_get((fg_dtype)t)->name, json_integer((json_int_t)bytes[t]));
  return types;
}

// A text or null.
static json_t *text_or_null(bool there, const char *text) {
  return there ? json_string(text) : json_null();
}

static json_t *findings_json(const findings *f) {
  const fg_model *m = f->model;
  json_t *out = json_pack("{s:s,s:s,s:b,s:o,s:o}", "model", f->options->arguments[0], "kind", f->kind,
                          "supported", m != NULL, "reason", text_or_null(!m, f->unsupported.message),
                          "weights", f->weights_known ? types_json(f->bytes_of) : json_null());
  if (m)
    json_object_update_new(
        out, json_pack("{s:s,s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:o,s:s?,s:I}", "name", m->name, "architecture",
                       m->architecture, "parameters", (json_int_t)m->parameters, "layers",
                       (json_int_t)m->graph->layers, "hidden", (json_int_t)m->graph->hidden, "vocab",
                       (json_int_t)m->graph->vocab, "context", (json_int_t)m->max_positions, "packed_bytes",
                       (json_int_t)f->packed_bytes, "packed_weights", types_json(f->packed_of), "fingerprint",
                       m->fingerprint, "kv_bytes_per_token", (json_int_t)kv_bytes_per_token(m->graph)));
  json_object_update_new(
      out, json_pack("{s:o,s:o,s:b,s:o}", "tokenizer_size",
                     f->tokenizer ? json_integer(fg_tokenizer_size(f->tokenizer)) : json_null(),
                     "tokenizer_reason", text_or_null(f->assets && !f->tokenizer, f->no_tokenizer.message),
                     "chat_template", f->has_chat, "chat_template_reason",
                     text_or_null(f->tokenizer && !f->has_chat, f->no_chat.message)));
  return out;
}

// ---- for people ------------------------------------------------------------------------------------------

static void line(const char *label, const char *text) {
  printf("%-15s %s\n", label, text);
}

static void print_types(const char *label, const uint64_t bytes[FG_DTYPE_COUNT]) {
  printf("%-15s", label);
  for (int t = 0; t < FG_DTYPE_COUNT; t++) {
    char size[16];
    if (bytes[t]) printf(" %s %s", fg_dtype_get((fg_dtype)t)->name, fg_size_format(bytes[t], size));
  }
  putchar('\n');
}

static void print_model(const findings *f) {
  const fg_model *m = f->model;
  char size[16];
  line("name", m->name);
  line("architecture", m->architecture);
  printf("%-15s %llu (%.3g billion)\n", "parameters", (unsigned long long)m->parameters,
         (double)m->parameters * 1e-9);
  printf("%-15s %u of hidden size %u, vocabulary %u\n", "layers", m->graph->layers, m->graph->hidden,
         m->graph->vocab);
  if (m->max_positions)
    printf("%-15s %u tokens\n", "context", m->max_positions);
  else
    line("context", "no limit of its own");
  line("packed", fg_size_format(f->packed_bytes, size));
  print_types("packed weights", f->packed_of);
  char int8[16], int4[16];
  printf("%-15s about %s in bf16, %s in int8, %s in int4\n", "weights",
         fg_size_format(2 * m->parameters, size), fg_size_format(m->parameters + m->parameters / 64, int8),
         fg_size_format(m->parameters / 2 + m->parameters / 16, int4));
  printf("%-15s %s a token in bf16\n", "KV cache", fg_size_format(kv_bytes_per_token(m->graph), size));
}

static void print_findings(const findings *f) {
  line("model", f->options->arguments[0]);
  line("kind", f->kind);
  if (f->model) {
    line("supported", "yes");
    print_model(f);
  } else {
    printf("%-15s no: %s\n", "supported", f->unsupported.message);
  }
  if (f->weights_known) print_types("weights", f->bytes_of);
  if (f->tokenizer)
    printf("%-15s %u ids\n", "tokenizer", fg_tokenizer_size(f->tokenizer));
  else
    printf("%-15s no%s%s\n", "tokenizer", f->assets ? ": " : "", f->assets ? f->no_tokenizer.message : "");
  if (f->has_chat)
    line("chat template", "yes");
  else if (f->tokenizer)
    printf("%-15s no: %s\n", "chat template", f->no_chat.message);
}

int fg_command_inspect(const fg_options *options, fg_console *console) {
  findings f = {.options = options};
  fg_error err = {FG_OK, ""};
  fg_status status = look(&f, &err);
  if (status == FG_OK && options->json)
    status = fg_print_json(findings_json(&f), &err);
  else if (status == FG_OK)
    print_findings(&f);
  forget(&f);
  if (status == FG_OK) return FG_EXIT_DONE;
  fg_console_error(console, err.message);
  return FG_EXIT_FAILED;
}
