// options.h: what a user typed, as one struct filled from one table.
//
// Every option of every command is a row in options.c: its name, what it takes, its range, the field it sets,
// the commands that take it and its line of help. Parsing, --help, man pages, completions and the check
// against the manual all read that table. Names are exact (`--name value` or `--name=value`; `--no-name` of
// what is true or false); `--` ends options. Nothing here touches a file or the machine.
#ifndef FG_APPS_OPTIONS_H
#define FG_APPS_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "flexgen/error.h"
#include "model/weight_type.h"

// Commands as bits, for the table's column of who takes an option.
typedef enum fg_command_bit {
  FG_CMD_BATCH = 1 << 0,
  FG_CMD_GENERATE = 1 << 1,
  FG_CMD_BENCH = 1 << 2,
  FG_CMD_EVAL = 1 << 3,
  FG_CMD_PACK = 1 << 4,
  FG_CMD_INSPECT = 1 << 5,
  FG_CMD_STORE = 1 << 6,
  FG_CMD_TOKENIZE = 1 << 7,
  FG_CMD_PULL = 1 << 8,
  FG_CMD_PROFILE = 1 << 9,
  FG_CMD_PLAN = 1 << 10,
  FG_CMD_SERVE = 1 << 11,
  FG_CMD_WRANGLE = 1 << 12,
  FG_CMD_REPORT = 1 << 13,
  FG_CMD_DEVICES = 1 << 14,
} fg_command_bit;

// A prompt on the command line: the text itself or the file that holds it.
typedef struct fg_prompt_source {
  const char *text;
  bool is_file;
} fg_prompt_source;

typedef struct fg_prompt_list {
  fg_prompt_source *items;
  uint32_t count;
} fg_prompt_list;

// Words of an option that may be repeated.
typedef struct fg_word_list {
  char **items;
  uint32_t count;
} fg_word_list;

typedef struct fg_length_range {
  uint32_t low, high; // 0, 0 = not given
} fg_length_range;

typedef struct fg_shard {
  uint32_t index, count; // count 0 = not given
} fg_shard;

typedef struct fg_size_limit {
  uint64_t bytes;
  bool set;
} fg_size_limit;

typedef struct fg_percent {
  bool set;
  int values[6];
} fg_percent;

enum { FG_NO_K = UINT32_MAX };

typedef struct fg_options {
  // the machine and its memory
  uint64_t host_memory, device_memory; // 0 = not given
  const char *device, *offload_dir;
  const char *adapter;
  uint32_t threads;
  const char *io;
  // numbers and placement
  const char *dtype, *weight_dtype, *weight_group, *weight_symmetric, *cache_dtype;
  const char *weight_head, *weight_embedding;
  bool compress_weight, compress_cache;
  double attn_sparsity;
  bool cpu_cache_compute;
  bool synthetic, deterministic, prefix_sharing, speculation;
  const char *prefix_cache, *prefix_cache_keep; // NULL = not given
  uint64_t prefix_cache_size;                   // 0 = not given
  uint32_t speculative_tokens;
  const char *draft_model;
  uint64_t draft_memory; // 0 = not given
  const char *policy, *save_policy;
  uint32_t alias_layers;
  fg_percent percent;
  uint32_t gpu_batch_size, num_gpu_batches;
  uint32_t max_num_seqs, max_num_batched_tokens, max_model_len;
  bool overlap, sep_layer, pin_weight;
  uint64_t seed;
  // what is written beside the results
  const char *trace, *stats;
  bool quiet, no_progress, json;
  uint32_t verbose;
  const char *color;
  // batch
  const char *input, *output;
  bool resume, overwrite, retry_errors, deterministic_ids, fail_on_row_error;
  fg_shard shard;
  // generate
  fg_prompt_list prompts;
  uint32_t max_tokens, top_k;
  double temperature, top_p;
  bool chat, guided;
  // bench
  uint32_t prompt_len, gen_len, num_prompts;
  fg_length_range input_len_range;
  const char *simulate, *without, *schedule; // NULL = not given
  // eval
  const char *text;
  uint32_t window;
  bool special;
  // pack, store
  const char *store, *calibrate;
  fg_size_limit cap;
  // tokenize
  bool jsonl, no_special, decode, skip_special;
  // pull
  fg_word_list include, exclude;
  bool dry_run;
  // profile
  bool force, quick;
  // serve
  const char *host;
  uint32_t port;
  fg_word_list api_keys, served_model_names;
  uint32_t max_connections, max_queue;
  uint64_t max_file_size, max_storage;
  uint64_t max_body_size;
  uint32_t header_timeout, keep_alive_timeout; // seconds
  const char *data_dir;                        // wrangle too
  const char *access_log;
  uint32_t batch_expiry;
  // wrangle
  const char *dataset, *split;
  const char *template, *answers, *label_column, *instruction, *delimiter;
  const char *out_column, *text_column, *error_column, *metrics;
  uint32_t k, example_seed, num_run; // k FG_NO_K, num_run 0 = not given
  const char *sample_method, *examples;
  bool class_balanced, add_task_instruction;
  const char *sep_tok, *nan_tok, *stop_token;

  bool help;
  char **arguments; // what is no option, in order; points into argv
  uint32_t argument_count;
} fg_options;

// Fills *options from argv[0 .. argc) (the command's name not among them), defaults included. FG_INVALID:
// one line that says what is wrong with which option. With --help the rest is not checked. The result owns
// memory in any case: fg_options_free.
fg_status fg_options_parse(fg_options *options, uint32_t command, int argc, char **argv, fg_error *err);
void fg_options_free(fg_options *options);

// The words about weights, for who makes a wish of them.
fg_weight_words fg_weight_words_of(const fg_options *options);

// The options that `command` takes, wrapped for a terminal: first its own and those of one more,
// then those that many share.
void fg_options_help(FILE *out, uint32_t command);

// The same rows for programs (scripts/command_table.py): "option", name, letter, argument, whether it is the
// command's own, help; a line each, tabs between.
void fg_options_table(FILE *out, uint32_t command);

// The entry of `names` (ends with NULL) that a mistyped `word` most likely meant, or NULL.
const char *fg_suggest(const char *word, const char *const *names);

#endif
