// From a folder to a packed store and back: what is packed is what was there, it is packed once, and what
// cannot be used is refused with the tensor's name.
#include "../io_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/text_buffer.h"
#include "model/arch.h"
#include "model/model.h"
#include "tensor/groups.h"
#include "tensor/half.h"

// A Llama of 32 values a token, two layers, four heads over two, untied.
enum { HIDDEN = 32, LAYERS = 2, FFN = 40, VOCAB = 50, QUERY = 32, KV = 16, LARGEST = VOCAB * HIDDEN };

static const char config[] =
    "{\"model_type\":\"llama\",\"hidden_size\":32,\"num_hidden_layers\":2,\"num_attention_heads\":4,"
    "\"num_key_value_heads\":2,\"intermediate_size\":40,\"vocab_size\":50,\"eos_token_id\":[3,4]}";

typedef struct shape {
  const char *name;
  uint32_t rows, columns; // rows 0: a vector
} shape;

static const shape outer[] = {{"model.embed_tokens.weight", VOCAB, HIDDEN},
                              {"model.norm.weight", 0, HIDDEN},
                              {"lm_head.weight", VOCAB, HIDDEN}};
static const shape inner[] = {
    {"input_layernorm.weight", 0, HIDDEN},      {"self_attn.q_proj.weight", QUERY, HIDDEN},
    {"self_attn.k_proj.weight", KV, HIDDEN},    {"self_attn.v_proj.weight", KV, HIDDEN},
    {"self_attn.o_proj.weight", HIDDEN, QUERY}, {"post_attention_layernorm.weight", 0, HIDDEN},
    {"mlp.gate_proj.weight", FFN, HIDDEN},      {"mlp.up_proj.weight", FFN, HIDDEN},
    {"mlp.down_proj.weight", HIDDEN, FFN}};
enum { OUTER = sizeof outer / sizeof *outer, INNER = sizeof inner / sizeof *inner };

// How a test's checkpoint differs from the plain one.
typedef struct variant {
  const char *config;    // NULL = the one above
  const char *without;   // a tensor that is left out
  const char *misshapen; // a tensor with one row more
  const char *prefix;    // instead of "model."
  const char *junk;      // an extra tensor
  uint32_t salt;         // of the values
} variant;

typedef struct fixture {
  io_rig rig;
  char model[96], offload[96];
  fg_model_options options;
  fg_log log;
  char last_line[256], kept_line[256];
  uint32_t warnings;
  uint64_t progress, stop_after;
  fg_error err;
} fixture;

static float value(const char *name, uint64_t i, uint32_t salt) {
  uint64_t h = fg_hash_more(fg_hash(name, strlen(name)) + salt, &i, sizeof i);
  return (float)((int)(h % 2001) - 1000) * 0x1p-10f;
}

// ---- a folder with a safetensors file --------------------------------------------------------------------

typedef struct file_writer {
  fg_text header, data;
} file_writer;

static void add_tensor(file_writer *w, const variant *v, const char *name, const shape *s) {
  char full[128];
  snprintf(full, sizeof full, "%s", name);
  if (v->without && strcmp(v->without, name) == 0) return;
  if (v->prefix && strncmp(name, "model.", 6) == 0) snprintf(full, sizeof full, "%s%s", v->prefix, name + 6);
  uint32_t rows = s->rows + (v->misshapen && strcmp(v->misshapen, name) == 0);
  uint64_t count = (uint64_t)(rows ? rows : 1) * s->columns, begin = w->data.length;
  for (uint64_t i = 0; i < count; i++) {
    float f = value(name, i, v->salt);
    fg_text_append(&w->data, &f, sizeof f);
  }
  char dims[32];
  if (rows)
    snprintf(dims, sizeof dims, "%u,%u", rows, s->columns);
  else
    snprintf(dims, sizeof dims, "%u", s->columns);
  fg_text_printf(&w->header, "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[%s],\"data_offsets\":[%zu,%zu]}",
                 w->header.length ? "," : "{", full, dims, (size_t)begin, w->data.length);
}

static void write_file(const char *dir, const char *name, const void *a, size_t a_bytes, const void *b,
                       size_t b_bytes) {
  char path[192];
  snprintf(path, sizeof path, "%s/%s", dir, name);
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  assert_int_equal(fwrite(a, 1, a_bytes, file), a_bytes);
  if (b_bytes) assert_int_equal(fwrite(b, 1, b_bytes, file), b_bytes);
  assert_int_equal(fclose(file), 0);
}

static void write_model(const char *dir, const variant *v) {
  file_writer w = {0};
  mkdir(dir, 0700);
  for (int i = 0; i < OUTER; i++) add_tensor(&w, v, outer[i].name, &outer[i]);
  for (int layer = 0; layer < LAYERS; layer++) {
    for (int i = 0; i < INNER; i++) {
      char name[128];
      snprintf(name, sizeof name, "model.layers.%d.%s", layer, inner[i].name);
      add_tensor(&w, v, name, &inner[i]);
    }
  }
  if (v->junk) add_tensor(&w, v, v->junk, &(shape){NULL, 0, 4});
  fg_text_append_string(&w.header, "}");
  assert_false(fg_text_failed(&w.header) || fg_text_failed(&w.data));
  fg_text file = {0};
  uint64_t length = w.header.length;
  fg_text_append(&file, &length, 8);
  fg_text_append(&file, w.header.data, w.header.length);
  write_file(dir, "model.safetensors", file.data, file.length, w.data.data, w.data.length);
  const char *json = v->config ? v->config : config;
  write_file(dir, "config.json", json, strlen(json), NULL, 0);
  fg_text_free(&file);
  fg_text_free(&w.header);
  fg_text_free(&w.data);
}

// ---- fixture -------------------------------------------------------------------------------------------

static void remember_line(void *user, fg_log_level level, const char *line) {
  fixture *f = user;
  if (level == FG_LOG_WARN) f->warnings++;
  snprintf(f->last_line, sizeof f->last_line, "%s", line);
  if (strstr(line, "keep their own type")) snprintf(f->kept_line, sizeof f->kept_line, "%s", line);
}

static bool count_progress(void *user, uint64_t done, uint64_t total) {
  fixture *f = user;
  assert_true(done <= total);
  f->progress++;
  return !f->stop_after || f->progress < f->stop_after;
}

static int setup(void **state) {
  fixture *f = calloc(1, sizeof *f);
  io_rig_make(&f->rig);
  snprintf(f->model, sizeof f->model, "%s/tiny", f->rig.folder.path);
  snprintf(f->offload, sizeof f->offload, "%s/off/load", f->rig.folder.path);
  f->log = (fg_log){.level = FG_LOG_INFO, .write = remember_line, .user = f};
  f->options = (fg_model_options){.model = f->model,
                                  .offload_dir = f->offload,
                                  .family = fg_layout_family_plain(),
                                  .panel_bytes = 1024,
                                  .io = f->rig.io,
                                  .host = f->rig.budget,
                                  .log = &f->log,
                                  .progress = count_progress,
                                  .user = f};
  *state = f;
  return 0;
}

static int teardown(void **state) {
  fixture *f = *state;
  int failed = io_rig_remove(&f->rig);
  free(f);
  return failed;
}

static fg_model *open_model(fixture *f) {
  fg_model *model;
  if (fg_model_open(&model, &f->options, &f->err)) fail_msg("%s", f->err.message);
  return model;
}

static fg_status try_open(fixture *f) {
  fg_model *model = NULL;
  fg_status status = fg_model_open(&model, &f->options, &f->err);
  fg_model_close(model);
  return status;
}

static uint32_t files_in(const char *dir) {
  fg_store_entry *entries;
  size_t count;
  assert_int_equal(fg_store_list(dir, &entries, &count, NULL), FG_OK);
  fg_store_list_free(entries, count);
  return (uint32_t)count;
}

// A weight as the store has it; for the plain layout these are its rows. // out: [n, k]
static void read_weight(fixture *f, const fg_store *store, const char *name, void *out) {
  uint32_t index = fg_store_find(store, name);
  if (index == UINT32_MAX) fail_msg("no weight %s", name);
  const fg_weight *w = &store->weights[index];
  char *to = out;
  for (uint32_t i = 0; i < w->panels; i++) {
    const fg_panel *p = &store->panels[w->panel + i];
    assert_int_equal(fg_io_read_now(f->rig.io, store->file, p->offset, to, p->bytes, &f->err), FG_OK);
    to += p->bytes;
  }
}

static const float *assert_part(const float *values, const char *tensor, uint64_t count) {
  for (uint64_t i = 0; i < count; i++) {
    if (values[i] != value(tensor, i, 0)) fail_msg("%s differs at %llu", tensor, (unsigned long long)i);
  }
  return values + count;
}

static void assert_weights(fixture *f, const fg_store *s) {
  float v[LARGEST * 2];
  read_weight(f, s, "prologue.embed", v);
  assert_part(v, "model.embed_tokens.weight", VOCAB * HIDDEN);
  read_weight(f, s, "epilogue.head", v);
  assert_part(v, "lm_head.weight", VOCAB * HIDDEN);
  read_weight(f, s, "epilogue.norm", v);
  assert_part(v, "model.norm.weight", HIDDEN);
  read_weight(f, s, "layers.1.qkv", v);
  const float *next = assert_part(v, "model.layers.1.self_attn.q_proj.weight", QUERY * HIDDEN);
  next = assert_part(next, "model.layers.1.self_attn.k_proj.weight", KV * HIDDEN);
  assert_part(next, "model.layers.1.self_attn.v_proj.weight", KV * HIDDEN);
  read_weight(f, s, "layers.0.gate_up", v);
  next = assert_part(v, "model.layers.0.mlp.gate_proj.weight", FFN * HIDDEN);
  assert_part(next, "model.layers.0.mlp.up_proj.weight", FFN * HIDDEN);
  read_weight(f, s, "layers.1.down", v);
  assert_part(v, "model.layers.1.mlp.down_proj.weight", HIDDEN * FFN);
  read_weight(f, s, "layers.0.mlp_norm", v);
  assert_part(v, "model.layers.0.post_attention_layernorm.weight", HIDDEN);
}

// ---- packing -------------------------------------------------------------------------------------------

static void test_store_holds_the_checkpoints_rows(void **state) {
  fixture *f = *state;
  write_model(f->model, &(variant){0});
  fg_model *m = open_model(f);
  assert_weights(f, m->store);
  assert_true(m->store->weights[fg_store_find(m->store, "layers.1.qkv")].panels > 4);
  assert_int_equal(m->parameters,
                   2 * VOCAB * HIDDEN + HIDDEN +
                       LAYERS * (2 * HIDDEN + (QUERY + 2 * KV) * HIDDEN + HIDDEN * QUERY + 3 * FFN * HIDDEN));
  assert_string_equal(m->name, "tiny");
  assert_int_equal(m->eos_count, 2);
  assert_int_equal(m->eos[1], 4);
  assert_int_equal(m->bos, 1);
  assert_int_equal(fg_model_weight_bytes(m, &f->options), fg_store_bytes(m->store));
  char buffer[8192] __attribute__((aligned(4096)));
  assert_int_equal(fg_store_verify(m->store, f->rig.io, buffer, sizeof buffer, &f->err), FG_OK);
  fg_model_close(m);
}

static void test_weights_stand_in_the_order_of_use(void **state) {
  fixture *f = *state;
  static const char *const order[] = {"prologue.embed",    "layers.0.attn_norm", "layers.0.qkv",
                                      "layers.0.attn_out", "layers.0.mlp_norm",  "layers.0.gate_up",
                                      "layers.0.down",     "layers.1.attn_norm"};
  write_model(f->model, &(variant){0});
  fg_model *m = open_model(f);
  for (size_t i = 0; i < sizeof order / sizeof *order; i++)
    assert_string_equal(m->store->weights[i].name, order[i]);
  assert_string_equal(m->store->weights[m->store->weight_count - 1].name, "epilogue.head");
  fg_model_close(m);
}

static void read_wish(fixture *f, const char *dtype, const char *group, const char *symmetric) {
  const fg_weight_words words = {.dtype = dtype, .group = group, .symmetric = symmetric};
  assert_int_equal(fg_weight_wish_read(&f->options.weights, &words, &f->err), FG_OK);
}

static void test_weight_type_asked_for_is_rounded_to(void **state) {
  fixture *f = *state;
  uint16_t v[LARGEST * 2];
  write_model(f->model, &(variant){0});
  read_wish(f, "bf16", NULL, NULL);
  fg_model *m = open_model(f);
  read_weight(f, m->store, "layers.0.attn_out", v);
  for (uint64_t i = 0; i < HIDDEN * QUERY; i++) {
    assert_int_equal(v[i], fg_bf16_from_f32(value("model.layers.0.self_attn.o_proj.weight", i, 0)));
  }
  assert_int_equal(m->store->weights[fg_store_find(m->store, "layers.0.attn_norm")].dtype, FG_F32);
  fg_model_close(m);
}

static const fg_weight *find_weight(const fg_model *m, const char *name) {
  return &m->store->weights[fg_store_find(m->store, name)];
}

// means: NULL: all errors count the same; out: [HIDDEN, 20]
static void round_attn_out(uint8_t *out, const float *means) {
  const fg_group_form form = {4, QUERY, true};
  float row[QUERY];
  for (uint32_t r = 0; r < HIDDEN; r++, out += 20) {
    for (uint32_t i = 0; i < QUERY; i++)
      row[i] = value("model.layers.0.self_attn.o_proj.weight", r * QUERY + i, 0);
    if (means)
      fg_groups_from_f32_weighted(form, QUERY, means, row, out, QUERY);
    else
      fg_groups_from_f32(form, QUERY, row, out, QUERY);
  }
}

static void test_matrices_and_tables_become_codes(void **state) {
  fixture *f = *state;
  uint8_t v[HIDDEN * QUERY / 32 * 20], expected[sizeof v];
  write_model(f->model, &(variant){0});
  read_wish(f, "int4", NULL, NULL);
  fg_model *m = open_model(f);
  // 32 values a row: groups of 64 become groups of 32. 40 are no groups at all.
  assert_int_equal(find_weight(m, "layers.0.attn_out")->dtype, FG_Q4_1);
  assert_int_equal(find_weight(m, "epilogue.head")->dtype, FG_Q8_0); // 8 bits, whatever the others have
  assert_int_equal(find_weight(m, "prologue.embed")->dtype, FG_Q8_0);
  assert_int_equal(find_weight(m, "layers.0.down")->dtype, FG_F32);
  assert_non_null(strstr(f->kept_line, "2 of the matrices keep their own type"));
  read_weight(f, m->store, "layers.0.attn_out", v);
  round_attn_out(expected, NULL);
  assert_memory_equal(v, expected, sizeof v);
  fg_model_close(m);
}

static fg_calibration calibration_of(fixture *f, uint64_t key) {
  const fg_weight seen = {.name = "layers.0.attn_out", .kind = FG_WEIGHT_MATRIX, .n = HIDDEN, .k = QUERY};
  const float x[QUERY] = {4, 0.1f, 0.2f, [16] = 1};
  fg_calibration c;
  assert_int_equal(fg_calibration_create(&c, &seen, 1, key, &f->err), FG_OK);
  fg_calibration_add(&c.items[0], 0, x, 1, QUERY);
  assert_int_equal(fg_calibration_finish(&c, &f->err), FG_OK);
  return c;
}

static void test_calibration_rounds_what_has_four_bits(void **state) {
  fixture *f = *state;
  uint8_t attn_out[HIDDEN * 20], head[2][VOCAB * 34], expected[HIDDEN * 20];
  write_model(f->model, &(variant){0});
  read_wish(f, "int4", NULL, NULL);
  fg_calibration c = calibration_of(f, 5);
  for (int calibrated = 0; calibrated < 2; calibrated++) {
    f->options.calibration = calibrated ? &c : NULL;
    fg_model *m = open_model(f);
    read_weight(f, m->store, "layers.0.attn_out", attn_out);
    read_weight(f, m->store, "epilogue.head", head[calibrated]);
    fg_model_close(m);
    round_attn_out(expected, calibrated ? fg_calibration_find(&c, "layers.0.attn_out", 0)->means : NULL);
    assert_memory_equal(attn_out, expected, sizeof expected);
  }
  assert_memory_equal(head[0], head[1], sizeof head[0]); // 8 bits
  fg_calibration_free(&c);
}

static void test_each_calibration_has_a_store_of_its_own(void **state) {
  fixture *f = *state;
  write_model(f->model, &(variant){0});
  read_wish(f, "int4", NULL, NULL);
  fg_model_close(open_model(f));
  fg_calibration key = {.key = 5};
  f->options.calibration = &key;
  assert_int_equal(try_open(f), FG_NOT_FOUND); // a key alone makes none
  assert_int_equal(files_in(f->offload), 1);
  for (uint64_t i = 5; i < 7; i++) {
    fg_calibration c = calibration_of(f, i);
    f->options.calibration = &c;
    fg_model_close(open_model(f));
    assert_int_equal(files_in(f->offload), i - 3);
    fg_calibration_free(&c);
  }
  f->options.calibration = &key;
  fg_model_close(open_model(f)); // and finds the one that is there
  assert_int_equal(files_in(f->offload), 3);
}

static void test_each_wish_has_a_store_of_its_own(void **state) {
  fixture *f = *state;
  static const char *const wishes[][3] = {{"auto", NULL, NULL},      {"int8", NULL, NULL},
                                          {"int4", NULL, NULL},      {"int4", "32", "true"},
                                          {"int8", "channel", NULL}, {"int8", "32", NULL}};
  enum { WISHES = sizeof wishes / sizeof *wishes };
  write_model(f->model, &(variant){0});
  for (int i = 0; i < WISHES; i++) {
    read_wish(f, wishes[i][0], wishes[i][1], wishes[i][2]);
    fg_model_close(open_model(f));
    assert_int_equal(files_in(f->offload), i + 1);
  }
}

static char *whole_file(const char *path, size_t *bytes) {
  FILE *file = fopen(path, "rb");
  assert_non_null(file);
  fseek(file, 0, SEEK_END);
  *bytes = (size_t)ftell(file);
  rewind(file);
  char *data = malloc(*bytes);
  assert_int_equal(fread(data, 1, *bytes, file), *bytes);
  fclose(file);
  return data;
}

// Threads and memory decide how packing is cut, and nothing else.
static void test_store_is_the_same_whoever_packed_it(void **state) {
  fixture *f = *state;
  char *files[3];
  size_t bytes[3];
  fg_threads *threads;
  fg_budget *small;
  assert_int_equal(fg_threads_create(&threads, 3, &f->err), FG_OK);
  assert_int_equal(fg_budget_create(&small, "host memory", "--host-memory", 2 << 20, &f->err), FG_OK);
  write_model(f->model, &(variant){0});
  read_wish(f, "int8", NULL, NULL);
  for (int i = 0; i < 3; i++) {
    snprintf(f->offload, sizeof f->offload, "%s/off%d", f->rig.folder.path, i);
    f->options.threads = i == 1 ? threads : NULL;
    f->options.host = i == 2 ? small : f->rig.budget;
    fg_model *m = open_model(f);
    files[i] = whole_file(fg_file_path(m->store->file), &bytes[i]);
    fg_model_close(m);
    assert_int_equal(bytes[i], bytes[0]);
    assert_memory_equal(files[i], files[0], bytes[0]);
  }
  for (int i = 0; i < 3; i++) free(files[i]);
  assert_int_equal(fg_budget_used(small), 0);
  fg_budget_destroy(small);
  fg_threads_destroy(threads);
}

// Every read, and every write, may be the one that fails: a line about it, and nothing stays behind.
static void test_failing_disk_stops_packing_at_once(void **state) {
  fixture *f = *state;
  write_model(f->model, &(variant){0});
  for (uint32_t after = 0; after < 60; after += 3) {
    const fg_io_fault fault = {.after = after, .every = 1, .os_error = after % 2 ? EIO : ENOSPC};
    const fg_io_options options = {.budget = f->rig.budget, .fault = &fault};
    fg_io *io;
    assert_int_equal(fg_io_create(&io, &options, &f->err), FG_OK);
    f->options.io = io;
    fg_status status = try_open(f);
    assert_true(status == FG_IO || status == FG_DISK_FULL);
    assert_non_null(strchr(f->err.message, '/'));
    assert_int_equal(files_in(f->offload), 0);
    fg_io_destroy(io);
    assert_int_equal(fg_budget_used(f->rig.budget), 0);
  }
}

// Tables, panels and their buffers: 8 MiB would not do if a whole weight were held (the table has 74 MiB).
static void test_memory_does_not_grow_with_the_model(void **state) {
  fixture *f = *state;
  fg_budget *small;
  fg_io *io;
  assert_int_equal(fg_budget_create(&small, "host memory", "--host-memory", 8 << 20, &f->err), FG_OK);
  fg_io_options options = {.budget = small};
  assert_int_equal(fg_io_create(&io, &options, &f->err), FG_OK);
  f->options.model = "opt-125m";
  f->options.synthetic = true;
  f->options.io = io;
  f->options.host = small;
  f->options.panel_bytes = 1 << 20;
  f->stop_after = 150; // far into the layers
  assert_int_equal(try_open(f), FG_CANCELLED);
  assert_int_equal(files_in(f->offload), 0);
  fg_io_destroy(io);
  assert_int_equal(fg_budget_used(small), 0);
  fg_budget_destroy(small);
}

// ---- tensors that are not as they should be --------------------------------------------------------------

static void test_missing_tensor_is_named(void **state) {
  fixture *f = *state;
  write_model(f->model, &(variant){.without = "model.layers.1.mlp.up_proj.weight"});
  assert_int_equal(try_open(f), FG_NOT_FOUND);
  assert_non_null(strstr(f->err.message, "layers.1.mlp.up_proj.weight"));
  assert_non_null(strstr(f->err.message, "40 by 32"));
  assert_int_equal(files_in(f->offload), 0);
}

static void test_tensor_of_another_shape_is_named(void **state) {
  fixture *f = *state;
  write_model(f->model, &(variant){.misshapen = "model.layers.0.self_attn.k_proj.weight"});
  assert_int_equal(try_open(f), FG_INVALID);
  assert_non_null(strstr(f->err.message, "model.layers.0.self_attn.k_proj.weight"));
  assert_non_null(strstr(f->err.message, "[17, 32]"));
  assert_non_null(strstr(f->err.message, "[16, 32]"));
}

static void test_prefix_and_junk_do_not_matter(void **state) {
  fixture *f = *state;
  write_model(f->model, &(variant){.prefix = "", .junk = "model.layers.0.self_attn.rotary_emb.inv_freq"});
  fg_model *m = open_model(f);
  assert_weights(f, m->store);
  fg_model_close(m);
}

static void test_missing_head_or_embedding_ties(void **state) {
  fixture *f = *state;
  static const char *const left_out[] = {"lm_head.weight", "model.embed_tokens.weight"};
  static const char *const kept[] = {"model.embed_tokens.weight", "lm_head.weight"};
  for (int i = 0; i < 2; i++) {
    float v[LARGEST];
    write_model(f->model, &(variant){.without = left_out[i]});
    fg_model *m = open_model(f);
    read_weight(f, m->store, "prologue.embed", v);
    assert_part(v, kept[i], VOCAB * HIDDEN);
    read_weight(f, m->store, "epilogue.head", v);
    assert_part(v, kept[i], VOCAB * HIDDEN);
    uint64_t parameters = m->parameters;
    char path[256];
    snprintf(path, sizeof path, "%s", fg_file_path(m->store->file));
    fg_model_close(m);
    // The store knows it too, though its config.json does not say so.
    f->options.model = path;
    m = open_model(f);
    assert_int_equal(m->parameters, parameters);
    fg_model_close(m);
    f->options.model = f->model;
  }
}

// ---- once ----------------------------------------------------------------------------------------------

static void test_second_opening_does_not_pack(void **state) {
  fixture *f = *state;
  write_model(f->model, &(variant){0});
  fg_model_close(open_model(f));
  assert_true(f->progress > 0);
  f->progress = 0;
  fg_model_close(open_model(f));
  assert_int_equal(f->progress, 0);
  assert_int_equal(files_in(f->offload), 1);
}

static void test_changed_checkpoint_is_packed_again(void **state) {
  fixture *f = *state;
  char path[128];
  write_model(f->model, &(variant){0});
  fg_model_close(open_model(f));
  f->progress = 0;
  snprintf(path, sizeof path, "%s/model.safetensors", f->model);
  const struct timespec times[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
  assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
  fg_model_close(open_model(f));
  assert_true(f->progress > 0);
}

static void test_damaged_store_is_packed_again(void **state) {
  fixture *f = *state;
  char path[256];
  write_model(f->model, &(variant){0});
  fg_model *m = open_model(f);
  snprintf(path, sizeof path, "%s", fg_file_path(m->store->file));
  fg_model_close(m);
  int fd = open(path, O_WRONLY);
  assert_int_equal(pwrite(fd, "x", 1, 20), 1);
  close(fd);
  f->progress = 0;
  m = open_model(f);
  assert_weights(f, m->store);
  assert_true(f->progress > 0);
  assert_int_equal(f->warnings, 1);
  fg_model_close(m);
}

static void test_interrupted_packing_leaves_nothing(void **state) {
  fixture *f = *state;
  write_model(f->model, &(variant){0});
  uint64_t used = 0;
  for (f->stop_after = 1; f->stop_after < 12; f->stop_after += 5) {
    f->progress = 0;
    assert_int_equal(try_open(f), FG_CANCELLED);
    assert_int_equal(files_in(f->offload), 0);
    if (!used) used = fg_budget_used(f->rig.budget); // the queue's own buffers
    assert_int_equal(fg_budget_used(f->rig.budget), used);
  }
}

static bool wait_for_a_word(void *user, uint64_t done, uint64_t total) {
  int *pipes = user;
  char c = 1;
  if (done == total) return true;
  if (pipes[0] >= 0 && (write(pipes[0], &c, 1) != 1 || read(pipes[1], &c, 1) != 1)) return false;
  pipes[0] = -1;
  return true;
}

// In the other process: packs, and stops in the middle until told to go on.
static int pack_slowly(fixture *f, int tell, int listen) {
  int pipes[2] = {tell, listen};
  fg_io_options io = {.budget = f->rig.budget, .backend = FG_IO_THREADS};
  fg_model *model;
  if (fg_io_create(&f->options.io, &io, NULL)) return 9;
  f->options.log = NULL;
  f->options.progress = wait_for_a_word;
  f->options.user = pipes;
  fg_status status = fg_model_open(&model, &f->options, NULL);
  return status ? (int)status : 0;
}

static bool wake_other(void *user, uint64_t done, uint64_t total) {
  fixture *f = user;
  (void)total;
  if (f->stop_after) assert_int_equal(write((int)f->stop_after, "g", 1), 1);
  f->stop_after = 0;
  f->progress += done; // waiting is told as nothing done
  return true;
}

static void test_two_processes_pack_once(void **state) {
  fixture *f = *state;
  int up[2], down[2], status;
  char c;
  write_model(f->model, &(variant){0});
  assert_int_equal(pipe(up), 0);
  assert_int_equal(pipe(down), 0);
  pid_t child = fork();
  if (child == 0) _exit(pack_slowly(f, up[1], down[0]));
  assert_int_equal(read(up[0], &c, 1), 1); // it is in the middle now
  f->options.progress = wake_other;
  f->stop_after = (uint64_t)down[1];
  fg_model *m = open_model(f);
  assert_int_equal(f->progress, 0);
  assert_weights(f, m->store);
  fg_model_close(m);
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_int_equal(status, 0);
  for (int i = 0; i < 2; i++) {
    close(up[i]);
    close(down[i]);
  }
}

// ---- room ----------------------------------------------------------------------------------------------

static void test_cap_is_checked_before_packing(void **state) {
  fixture *f = *state;
  write_model(f->model, &(variant){0});
  f->options.store_cap = 50000;
  assert_int_equal(try_open(f), FG_DISK_FULL);
  assert_int_equal(f->progress, 0);
  assert_int_equal(files_in(f->offload), 0);
}

static void test_full_disk_is_refused_before_packing(void **state) {
  fixture *f = *state;
  char mounted[128];
  snprintf(mounted, sizeof mounted, "%s/small", f->rig.folder.path);
  assert_int_equal(mkdir(mounted, 0700), 0);
  if (mount("tmpfs", mounted, "tmpfs", 0, "size=64k") != 0) {
    print_message("cannot mount a small tmpfs: %s\n", strerror(errno));
    skip();
  }
  write_model(f->model, &(variant){0});
  f->options.offload_dir = mounted;
  fg_status status = try_open(f);
  uint32_t files = files_in(mounted);
  umount(mounted);
  assert_int_equal(status, FG_DISK_FULL);
  assert_int_equal(files, 0);
  assert_int_equal(f->progress, 0);
  assert_non_null(strstr(f->err.message, "--offload-dir"));
}

// ---- stores as models ------------------------------------------------------------------------------------

static const fg_layout *choose_plain(fg_dtype dtype, uint32_t n, uint32_t k) {
  return fg_layout_family_plain()->choose(dtype, n, k);
}

static void test_store_is_a_model(void **state) {
  fixture *f = *state;
  char path[256], print[32];
  write_model(f->model, &(variant){0});
  fg_model *m = open_model(f);
  snprintf(path, sizeof path, "%s", fg_file_path(m->store->file));
  snprintf(print, sizeof print, "%s", m->fingerprint);
  fg_model_close(m);
  f->options.model = path;
  f->progress = 0;
  m = open_model(f);
  assert_int_equal(f->progress, 0);
  assert_weights(f, m->store);
  assert_string_equal(m->fingerprint, print);
  assert_string_equal(m->architecture, "llama");
  assert_int_equal(m->eos_count, 2);
  assert_non_null(fg_assets_find(&m->assets, "config.json"));
  fg_model_close(m);

  const fg_layout_family foreign = {"other-9", choose_plain};
  f->options.family = &foreign;
  assert_int_equal(try_open(f), FG_UNSUPPORTED);
  assert_non_null(strstr(f->err.message, "plain-1"));
  assert_non_null(strstr(f->err.message, "other-9"));
}

static void test_fingerprint_is_of_weights_and_configuration(void **state) {
  fixture *f = *state;
  char other[128], first[32];
  static const char other_config[] =
      "{\"model_type\":\"llama\",\"hidden_size\":32,\"num_hidden_layers\":2,\"num_attention_heads\":4,"
      "\"num_key_value_heads\":2,\"intermediate_size\":40,\"vocab_size\":50,\"eos_token_id\":[3,4],\"rope_"
      "theta\":9}";
  write_model(f->model, &(variant){0});
  fg_model *m = open_model(f);
  snprintf(first, sizeof first, "%s", m->fingerprint);
  fg_model_close(m);

  const variant variants[] = {{0}, {.salt = 1}, {.config = other_config}};
  for (int i = 0; i < 3; i++) {
    snprintf(other, sizeof other, "%s/other%d", f->rig.folder.path, i);
    write_model(other, &variants[i]);
    f->options.model = other;
    m = open_model(f);
    assert_true((strcmp(m->fingerprint, first) == 0) == (i == 0)); // the place does not matter
    fg_model_close(m);
  }
  const fg_layout_family foreign = {"other-9", choose_plain};
  f->options.model = f->model;
  f->options.family = &foreign;
  f->options.panel_bytes = 3000;
  m = open_model(f);
  assert_string_equal(m->fingerprint, first); // nor do layout and panels
  fg_model_close(m);
}

// ---- looking only ----------------------------------------------------------------------------------------

static void test_inspecting_writes_nothing(void **state) {
  fixture *f = *state;
  fg_model *m;
  write_model(f->model, &(variant){0});
  assert_int_equal(fg_model_inspect(&m, &f->options, &f->err), FG_OK);
  assert_null(m->store);
  uint64_t bytes = fg_model_weight_bytes(m, &f->options);
  fg_model_close(m);
  assert_false(access(f->offload, F_OK) == 0);
  m = open_model(f);
  assert_int_equal(bytes, fg_store_bytes(m->store));
  fg_model_close(m);
}

static void test_configuration_alone_can_be_inspected(void **state) {
  fixture *f = *state;
  fg_model *m;
  mkdir(f->model, 0700);
  write_file(f->model, "config.json", config, strlen(config), NULL, 0);
  assert_int_equal(fg_model_inspect(&m, &f->options, &f->err), FG_OK);
  assert_true(m->parameters > 0);
  fg_model_close(m);
  assert_int_equal(try_open(f), FG_NOT_FOUND);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      T(test_store_holds_the_checkpoints_rows),
      T(test_weights_stand_in_the_order_of_use),
      T(test_weight_type_asked_for_is_rounded_to),
      T(test_matrices_and_tables_become_codes),
      T(test_each_wish_has_a_store_of_its_own),
      T(test_calibration_rounds_what_has_four_bits),
      T(test_each_calibration_has_a_store_of_its_own),
      T(test_store_is_the_same_whoever_packed_it),
      T(test_failing_disk_stops_packing_at_once),
      T(test_memory_does_not_grow_with_the_model),
      T(test_missing_tensor_is_named),
      T(test_tensor_of_another_shape_is_named),
      T(test_prefix_and_junk_do_not_matter),
      T(test_missing_head_or_embedding_ties),
      T(test_second_opening_does_not_pack),
      T(test_changed_checkpoint_is_packed_again),
      T(test_damaged_store_is_packed_again),
      T(test_interrupted_packing_leaves_nothing),
      T(test_two_processes_pack_once),
      T(test_cap_is_checked_before_packing),
      T(test_full_disk_is_refused_before_packing),
      T(test_store_is_a_model),
      T(test_fingerprint_is_of_weights_and_configuration),
      T(test_inspecting_writes_nothing),
      T(test_configuration_alone_can_be_inspected),
  };
  return cmocka_run_group_tests_name("model", tests, NULL, NULL);
}
