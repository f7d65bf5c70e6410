// flexgen inspect: what a folder, a file, a store or a shape holds, and whether it can be run. Reads
// configuration and headers; no weights are read and nothing is written.
#include <inttypes.h>
#include <stdlib.h>
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
  fg_model *model; // NULL: `reasons` say why
  fg_error unsupported;
  fg_reasons reasons;
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
  uint32_t aliased_layers; // of a store; and what it takes on the disk
  uint64_t stored_bytes;
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
    f->aliased_layers = fg_store_aliased_layers(store);
    f->stored_bytes = fg_store_own_bytes(store);
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
  fg_model_options options = {.io = f->io, .host = f->budget, .reasons = &f->reasons};
  fg_model_input(&options, o);
  if (fg_model_inspect(&f->model, &options, &f->unsupported) == FG_OK) {
    f->assets = &f->model->assets;
    f->packed_bytes = fg_model_weight_bytes(f->model, &options);
    fg_model_type_bytes(f->model, &options, f->packed_of);
  } else {
    // What stopped it before all else: where nothing is, nothing is wrong.
    const fg_status why = f->unsupported.status;
    const bool nothing = why == FG_NOT_FOUND || o->synthetic;
    if (f->reasons.count == 0 && (nothing || fg_reasons_keep(&f->reasons, why, &f->unsupported) != FG_OK))
      return fg_fail(err, why, "%s", f->unsupported.message);
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

static const char *const roles[] = {"bos_token", "eos_token", "pad_token", "unk_token"};
enum { ROLES = sizeof roles / sizeof *roles };

// The text of the token in this role, and its id; NULL: there is none.
static const char *token_in_role(const findings *f, int role, int32_t *id) {
  const char *text = f->tokenizer ? fg_tokenizer_special_text(f->tokenizer, roles[role]) : NULL;
  *id = text ? fg_tokenizer_id(f->tokenizer, text) : -1;
  return text;
}

// "and 3 more" reasons than are kept; false: all are.
static bool more_reasons(const findings *f, char text[32]) {
  const uint32_t kept = fg_reasons_kept(&f->reasons);
  snprintf(text, 32, "and %" PRIu32 " more", f->reasons.count - kept);
  return f->reasons.count > kept;
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

static json_t *reasons_json(const findings *f) {
  char more[32];
  json_t *list = json_array();
  for (uint32_t i = 0; i < fg_reasons_kept(&f->reasons); i++)
    json_array_append_new(list, json_string(f->reasons.items[i].message));
  if (more_reasons(f, more)) json_array_append_new(list, json_string(more));
  return list;
}

static json_t *special_tokens_json(const findings *f) {
  json_t *out = json_object();
  for (int i = 0; i < ROLES; i++) {
    int32_t id;
    const char *text = token_in_role(f, i, &id);
    if (text) json_object_set_new(out, roles[i], json_pack("{s:s,s:i}", "text", text, "id", (int)id));
  }
  return out;
}

static json_t *ends_json(const fg_model *m) {
  json_t *ids = json_array();
  for (uint32_t i = 0; i < m->eos_count; i++) json_array_append_new(ids, json_integer(m->eos[i]));
  return ids;
}

static json_t *findings_json(const findings *f) {
  const fg_model *m = f->model;
  json_t *out =
      json_pack("{s:s,s:s,s:b,s:o,s:o,s:o,s:I}", "model", f->options->arguments[0], "kind", f->kind,
                "supported", m != NULL, "reason", text_or_null(!m, f->unsupported.message), "reasons",
                reasons_json(f), "weights", f->weights_known ? types_json(f->bytes_of) : json_null(),
                "aliased_layers", (json_int_t)f->aliased_layers);
  if (m)
    json_object_update_new(
        out, json_pack("{s:s,s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:o,s:s?,s:I,s:o}", "name", m->name, "architecture",
                       m->architecture, "parameters", (json_int_t)m->parameters, "layers",
                       (json_int_t)m->graph->layers, "hidden", (json_int_t)m->graph->hidden, "vocab",
                       (json_int_t)m->graph->vocab, "context", (json_int_t)m->max_positions, "packed_bytes",
                       (json_int_t)f->packed_bytes, "packed_weights", types_json(f->packed_of), "fingerprint",
                       m->fingerprint, "kv_bytes_per_token", (json_int_t)kv_bytes_per_token(m->graph),
                       "eos_ids", ends_json(m)));
  json_object_update_new(
      out,
      json_pack("{s:o,s:o,s:o,s:o,s:b,s:o}", "tokenizer_size",
                f->tokenizer ? json_integer(fg_tokenizer_size(f->tokenizer)) : json_null(), "added_tokens",
                f->tokenizer ? json_integer(fg_tokenizer_added_count(f->tokenizer)) : json_null(),
                "special_tokens", special_tokens_json(f), "tokenizer_reason",
                text_or_null(f->assets && !f->tokenizer, f->no_tokenizer.message), "chat_template",
                f->has_chat, "chat_template_reason",
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
  printf("%-15s", "ends of text");
  for (uint32_t i = 0; i < m->eos_count; i++) printf(" %" PRId32, m->eos[i]);
  putchar('\n');
  line("packed", fg_size_format(f->packed_bytes, size));
  print_types("packed weights", f->packed_of);
  char int8[16], int4[16];
  printf("%-15s about %s in bf16, %s in int8, %s in int4\n", "weights",
         fg_size_format(2 * m->parameters, size), fg_size_format(m->parameters + m->parameters / 64, int8),
         fg_size_format(m->parameters / 2 + m->parameters / 16, int4));
  printf("%-15s %s a token in bf16\n", "KV cache", fg_size_format(kv_bytes_per_token(m->graph), size));
}

static void print_reasons(const findings *f) {
  char more[32];
  line("supported", "no");
  for (uint32_t i = 0; i < fg_reasons_kept(&f->reasons); i++)
    line(i ? "" : "reasons", f->reasons.items[i].message);
  if (more_reasons(f, more)) line("", more);
}

static void print_tokenizer(const findings *f) {
  if (!f->tokenizer) {
    printf("%-15s no%s%s\n", "tokenizer", f->assets ? ": " : "", f->assets ? f->no_tokenizer.message : "");
    return;
  }
  printf("%-15s %u ids, %u of them added tokens\n", "tokenizer", fg_tokenizer_size(f->tokenizer),
         fg_tokenizer_added_count(f->tokenizer));
  printf("%-15s", "special tokens");
  for (int i = 0; i < ROLES; i++) {
    int32_t id;
    const char *text = token_in_role(f, i, &id);
    if (!text) continue;
    json_t *string = json_string(text);
    char *quoted =
        string ? json_dumps(string, JSON_ENCODE_ANY) : NULL; // a terminal takes some texts as orders
    printf(" %.3s %" PRId32 " %s", roles[i], id, quoted ? quoted : "");
    free(quoted);
    json_decref(string);
  }
  putchar('\n');
}

static void print_findings(const findings *f) {
  line("model", f->options->arguments[0]);
  line("kind", f->kind);
  if (f->model) {
    line("supported", "yes");
    print_model(f);
  } else {
    print_reasons(f);
  }
  if (f->weights_known) print_types("weights", f->bytes_of);
  char size[16];
  if (f->aliased_layers)
    printf("%-15s %" PRIu32 " layers share the bytes of others: %s on the disk\n", "aliased",
           f->aliased_layers, fg_size_format(f->stored_bytes, size));
  print_tokenizer(f);
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
