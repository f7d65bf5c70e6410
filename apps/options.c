// The table of options, and what reads it: the parser and the help text.
#include "options.h"

#include <stdlib.h>
#include <string.h>

#include "engine/speculation.h"
#include "model/weight_type.h"
#include "option_values.h"

enum {
  RUNNING = FG_CMD_BATCH | FG_CMD_GENERATE | FG_CMD_BENCH | FG_CMD_EVAL | FG_CMD_SERVE | FG_CMD_WRANGLE,
  PLANNED = RUNNING | FG_CMD_PLAN,
  PACKING = PLANNED | FG_CMD_PACK,
  JOBS = FG_CMD_BATCH | FG_CMD_WRANGLE,
  BENCHED = FG_CMD_BENCH | FG_CMD_PLAN,
  KEEPING = FG_CMD_BATCH | FG_CMD_GENERATE | FG_CMD_SERVE | FG_CMD_PLAN, // of prefixes, or looking at them
  SIZED = PACKING | FG_CMD_INSPECT,                                      // those that look at weights
  STORES = SIZED | FG_CMD_STORE,
  ALL = STORES | FG_CMD_TOKENIZE | FG_CMD_PULL | FG_CMD_PROFILE | FG_CMD_REPORT | FG_CMD_DEVICES,
};

#define FIELD(name) offsetof(fg_options, name)
#define DTYPES      "auto|f32|bf16|f16"

// In the order of --help: each command's own first, then what commands that run a model share.
static const fg_option_row rows[] = {
    // batch
    {"input", 'i', FG_KIND_TEXT, "IN.jsonl", 0, 0, FIELD(input), FG_CMD_BATCH | FG_CMD_PLAN,
     "requests, one OpenAI Batch line each; - is standard input"},
    {"input", 'i', FG_KIND_TEXT, "TABLE.csv", 0, 0, FIELD(input), FG_CMD_WRANGLE,
     "the table that --template asks about; - is standard input"},
    {"output", 'o', FG_KIND_TEXT, "OUT.csv", 0, 0, FIELD(output), FG_CMD_WRANGLE,
     "the table with the answers beside it"},
    {"output", 'o', FG_KIND_TEXT, "OUT.jsonl", 0, 0, FIELD(output), FG_CMD_BATCH,
     "results, in the order of the input; - is standard output"},
    {"output", 'o', FG_KIND_TEXT, "PAGE.html", 0, 0, FIELD(output), FG_CMD_REPORT,
     "the page; - is standard output"},
    {"resume", 0, FG_KIND_FLAG, NULL, 0, 0, FIELD(resume), JOBS,
     "go on with OUT, fail if it belongs to another job; without it OUT is continued when it belongs to this "
     "job "
     "and refused otherwise"},
    {"overwrite", 0, FG_KIND_FLAG, NULL, 0, 0, FIELD(overwrite), JOBS, "start again, whatever OUT holds"},
    {"retry-errors", 0, FG_KIND_FLAG, NULL, 0, 0, FIELD(retry_errors), JOBS,
     "run rows again that ended with an error"},
    {"shard", 0, FG_KIND_SHARD, "I/N", 0, 0, FIELD(shard), FG_CMD_BATCH | FG_CMD_PLAN,
     "only every Nth row, starting with row I (0 to N-1), for several machines"},
    {"deterministic-ids", 0, FG_KIND_FLAG, NULL, 0, 0, FIELD(deterministic_ids), FG_CMD_BATCH,
     "ids and timestamps are a function of the row, so that equal jobs give equal bytes"},
    {"fail-on-row-error", 0, FG_KIND_FLAG, NULL, 0, 0, FIELD(fail_on_row_error), JOBS,
     "exit with 3 when a row ended with an error"},
    // generate
    {"prompt", 'p', FG_KIND_PROMPT, "TEXT", 0, 0, FIELD(prompts), FG_CMD_GENERATE,
     "a prompt; may be repeated"},
    {"file", 'f', FG_KIND_FILE, "FILE", 0, 0, FIELD(prompts), FG_CMD_GENERATE,
     "a file that holds one prompt (a last newline is dropped); may be repeated; - is standard input"},
    {"max-tokens", 0, FG_KIND_U32, "N", 1, 0, FIELD(max_tokens), FG_CMD_GENERATE | FG_CMD_WRANGLE,
     "tokens to generate (256; wrangle: by the task or the answers)"},
    {"temperature", 0, FG_KIND_F64, "T", 0, 100, FIELD(temperature), FG_CMD_GENERATE | FG_CMD_WRANGLE,
     "of sampling; 0, the default, takes the likeliest token"},
    {"top-p", 0, FG_KIND_F64, "P", 0, 1, FIELD(top_p), FG_CMD_GENERATE,
     "sample from this share of probability (1)"},
    {"top-k", 0, FG_KIND_U32, "K", 0, 2147483647, FIELD(top_k), FG_CMD_GENERATE,
     "sample from the K likeliest tokens; 0, the default, from all"},
    {"chat", 0, FG_KIND_FLAG, NULL, 0, 0, FIELD(chat), FG_CMD_GENERATE | FG_CMD_WRANGLE,
     "each prompt is a user's message in the model's chat template"},
    // bench
    {"prompt-len", 0, FG_KIND_U32, "N", 1, 0, FIELD(prompt_len), BENCHED, "tokens of each prompt (512)"},
    {"gen-len", 0, FG_KIND_U32, "N", 1, 0, FIELD(gen_len), BENCHED,
     "tokens to generate for each prompt (32)"},
    {"num-prompts", 0, FG_KIND_U32, "N", 1, 0, FIELD(num_prompts), BENCHED,
     "prompts of random tokens (the block, --gpu-batch-size times --num-gpu-batches; 32 without one)"},
    {"input-len-range", 0, FG_KIND_RANGE, "A:B", 0, 0, FIELD(input_len_range), BENCHED,
     "prompts of random lengths from A to B in place of --prompt-len"},
    {"simulate", 0, FG_KIND_TEXT, "MACHINE", 0, 0, FIELD(simulate), BENCHED,
     "run on a machine that is not there, by a clock that is computed: t4, a10, rtx4090, h100, m2, or a file "
     "of "
     "figures (docs/simulator.md)"},
    {"without", 0, FG_KIND_TEXT, "WORDS", 0, 0, FIELD(without), FG_CMD_BENCH,
     "with --simulate: leave out what the engine does otherwise than a block schedule; continuous, mixed, "
     "ragged, with commas between"},
    {"schedule", 0, FG_KIND_CHOICE, "engine|flexgen", 0, 0, FIELD(schedule), FG_CMD_BENCH,
     "with --simulate: whose steps run; flexgen takes its policy from --percent, --gpu-batch-size and the "
     "like"},
    // plan
    {"save-policy", 0, FG_KIND_TEXT, "FILE.json", 0, 0, FIELD(save_policy), FG_CMD_PLAN,
     "write the policy to a file, to be edited and given to --policy"},
    // eval
    {"text", 0, FG_KIND_TEXT, "FILE", 0, 0, FIELD(text), FG_CMD_EVAL,
     "the text to score; - is standard input"},
    {"window", 0, FG_KIND_U32, "N", 2, 0, FIELD(window), FG_CMD_EVAL,
     "tokens of a window (the context length); each window's first token is not scored"},
    {"special", 0, FG_KIND_FLAG, NULL, 0, 0, FIELD(special), FG_CMD_EVAL,
     "add the tokenizer's special tokens to the text once, as a prompt has them"},
    // pack, store
    {"store", 0, FG_KIND_TEXT, "DIR", 0, 0, FIELD(store), FG_CMD_PACK,
     "where the store goes (the offload dir)"},
    {"calibrate", 0, FG_KIND_TEXT, "FILE", 0, 0, FIELD(calibrate), FG_CMD_PACK,
     "int4: run the model over this text first and round by what its matrices are multiplied by; - is "
     "standard "
     "input"},
    {"cap", 0, FG_KIND_CAP, "SIZE", 0, 0, FIELD(cap), FG_CMD_STORE,
     "clear: remove the oldest stores that are not in use until the rest is within SIZE"},
    // tokenize
    {"jsonl", 0, FG_KIND_FLAG, NULL, 0, 0, FIELD(jsonl), FG_CMD_TOKENIZE,
     "read one JSON string a line in place of one text"},
    {"no-special", 0, FG_KIND_FLAG, NULL, 0, 0, FIELD(no_special), FG_CMD_TOKENIZE, "add no special tokens"},
    {"decode", 0, FG_KIND_FLAG, NULL, 0, 0, FIELD(decode), FG_CMD_TOKENIZE,
     "ids to text: read one JSON array a line, print one JSON string a line"},
    {"skip-special", 0, FG_KIND_FLAG, NULL, 0, 0, FIELD(skip_special), FG_CMD_TOKENIZE,
     "leave special tokens out of decoded text"},
    // pull
    {"include", 0, FG_KIND_WORDS, "PATTERN", 0, 0, FIELD(include), FG_CMD_PULL,
     "download the files that match, as in a shell, in place of those that a run needs; may be repeated; the "
     "same as a PATTERN behind REPO"},
    {"exclude", 0, FG_KIND_WORDS, "PATTERN", 0, 0, FIELD(exclude), FG_CMD_PULL,
     "leave out files that match; may be repeated"},
    {"dry-run", 0, FG_KIND_FLAG, NULL, 0, 0, FIELD(dry_run), FG_CMD_PULL,
     "list the files and their sizes, download nothing"},
    // wrangle
    {"template", 0, FG_KIND_TEXT, "TEXT", 0, 0, FIELD(template), FG_CMD_WRANGLE,
     "what is asked about each row of -i; {NAME} is the cell of that column, {{ and }} are braces"},
    {"answers", 0, FG_KIND_TEXT, "A,B,...", 0, 0, FIELD(answers), FG_CMD_WRANGLE,
     "the answers that there are; the answer column gets one of them, or nothing"},
    {"guided", 0, FG_KIND_FLAG, NULL, 0, 0, FIELD(guided), FG_CMD_WRANGLE,
     "let the model write nothing but one of --answers"},
    {"out-column", 0, FG_KIND_TEXT, "NAME", 0, 0, FIELD(out_column), FG_CMD_WRANGLE,
     "of the answers (answer; with --data-dir prediction)"},
    {"text-column", 0, FG_KIND_TEXT, "NAME", 0, 0, FIELD(text_column), FG_CMD_WRANGLE,
     "one more column: what the model wrote"},
    {"error-column", 0, FG_KIND_TEXT, "NAME", 0, 0, FIELD(error_column), FG_CMD_WRANGLE,
     "one more column: why a row has no answer"},
    {"label-column", 0, FG_KIND_TEXT, "NAME", 0, 0, FIELD(label_column), FG_CMD_WRANGLE,
     "holds the true answers, of -i for metrics and of --examples"},
    {"delimiter", 0, FG_KIND_TEXT, "C", 0, 0, FIELD(delimiter), FG_CMD_WRANGLE,
     "between the cells of -i and --examples: one character, or tab (,)"},
    {"data-dir", 0, FG_KIND_TEXT, "DIR", 0, 0, FIELD(data_dir), FG_CMD_WRANGLE,
     "a data set of 'Can Foundation Models Wrangle Your Data?'"},
    {"dataset", 0, FG_KIND_TEXT, "NAME", 0, 0, FIELD(dataset), FG_CMD_WRANGLE, "which one (the name of DIR)"},
    {"split", 0, FG_KIND_CHOICE, "test|validation|train", 0, 0, FIELD(split), FG_CMD_WRANGLE,
     "the rows that are asked (test)"},
    {"num-run", 0, FG_KIND_U32, "N", 1, 0, FIELD(num_run), FG_CMD_WRANGLE, "only the first N of them"},
    {"k", 0, FG_KIND_U32, "N", 0, 1000000, FIELD(k), FG_CMD_WRANGLE,
     "examples in front of each row (--data-dir: 1; --examples: 10, or all if there are fewer)"},
    {"sample-method", 0, FG_KIND_CHOICE, "random|manual", 0, 0, FIELD(sample_method), FG_CMD_WRANGLE,
     "examples drawn from the train set, or written by hand in --examples"},
    {"examples", 0, FG_KIND_TEXT, "FILE", 0, 0, FIELD(examples), FG_CMD_WRANGLE,
     "with --template a table of solved rows to draw from; with --sample-method manual a JSON file"},
    {"example-seed", 0, FG_KIND_U32, "N", 0, 0, FIELD(example_seed), FG_CMD_WRANGLE,
     "of the draw; the same rows as numpy.random.seed and pandas draw (1234)"},
    {"class-balanced", 0, FG_KIND_FLAG, NULL, 0, 0, FIELD(class_balanced), FG_CMD_WRANGLE,
     "draw from equally many rows of each class; not for imputation"},
    {"add-task-instruction", 0, FG_KIND_FLAG, NULL, 0, 0, FIELD(add_task_instruction), FG_CMD_WRANGLE,
     "put the data set's instruction in front"},
    {"instruction", 0, FG_KIND_TEXT, "TEXT", 0, 0, FIELD(instruction), FG_CMD_WRANGLE,
     "put this in front of all, examples included"},
    {"sep-tok", 0, FG_KIND_STRING, "TEXT", 0, 0, FIELD(sep_tok), FG_CMD_WRANGLE,
     "with --data-dir: between the columns of a row (.)"},
    {"nan-tok", 0, FG_KIND_STRING, "TEXT", 0, 0, FIELD(nan_tok), FG_CMD_WRANGLE,
     "with --data-dir: in place of a missing value (nan)"},
    {"stop-token", 0, FG_KIND_STRING, "TEXT", 0, 0, FIELD(stop_token), FG_CMD_WRANGLE,
     "ends an answer (a newline); empty: nothing does"},
    {"metrics", 0, FG_KIND_TEXT, "FILE.json", 0, 0, FIELD(metrics), FG_CMD_WRANGLE,
     "write accuracy, F1 and the run's figures"},
    {"dry-run", 0, FG_KIND_FLAG, NULL, 0, 0, FIELD(dry_run), FG_CMD_WRANGLE,
     "write the requests to -o, one OpenAI Batch line each, and run nothing; needs no MODEL; -o - prints "
     "them"},
    // profile
    {"force", 0, FG_KIND_FLAG, NULL, 0, 0, FIELD(force), FG_CMD_PROFILE, "measure again, whatever is kept"},
    {"quick", 0, FG_KIND_FLAG, NULL, 0, 0, FIELD(quick), FG_CMD_PROFILE,
     "measure fewer points, in about a quarter of the time"},
    // serve
    {"host", 0, FG_KIND_TEXT, "ADDRESS", 0, 0, FIELD(host), FG_CMD_SERVE,
     "address or name to listen on (127.0.0.1: this machine only; 0.0.0.0: everyone)"},
    {"port", 0, FG_KIND_U32, "N", 0, 65535, FIELD(port), FG_CMD_SERVE,
     "port to listen on (8000); 0 takes one that is free and says which"},
    {"api-key", 0, FG_KIND_WORDS, "KEY", 0, 0, FIELD(api_keys), FG_CMD_SERVE,
     "clients must send this key; may be repeated ($FLEXGEN_API_KEY, which other users do not see)"},
    {"served-model-name", 0, FG_KIND_WORDS, "NAME", 0, 0, FIELD(served_model_names), FG_CMD_SERVE,
     "what clients call the model (the model's own name); may be repeated, the first is shown"},
    {"max-queue", 0, FG_KIND_U32, "N", 1, 0, FIELD(max_queue), FG_CMD_SERVE,
     "requests that may wait for the engine; more are answered with 429 (1024)"},
    {"max-connections", 0, FG_KIND_U32, "N", 1, 65536, FIELD(max_connections), FG_CMD_SERVE,
     "connections that are open at once; more wait to be accepted (1024, fewer where memory is small)"},
    {"max-body-size", 0, FG_KIND_SIZE, "SIZE", 1, 0, FIELD(max_body_size), FG_CMD_SERVE,
     "bytes of a request; larger ones are answered with 413 (16M)"},
    {"data-dir", 0, FG_KIND_TEXT, "DIR", 0, 0, FIELD(data_dir), FG_CMD_SERVE,
     "where files and batches of clients are kept ($XDG_STATE_HOME/flexgen/server or "
     "~/.local/state/flexgen/server)"},
    {"max-file-size", 0, FG_KIND_SIZE, "SIZE", 1, 0, FIELD(max_file_size), FG_CMD_SERVE,
     "bytes of a file that is uploaded (200M)"},
    {"max-storage", 0, FG_KIND_SIZE, "SIZE", 1, 0, FIELD(max_storage), FG_CMD_SERVE,
     "bytes of all files that are kept; no more is uploaded then (20G)"},
    {"batch-expiry", 0, FG_KIND_U32, "SECONDS", 1, 0, FIELD(batch_expiry), FG_CMD_SERVE,
     "after which a batch that is not done ends with what it has (86400, the 24 hours that clients ask for)"},
    {"access-log", 0, FG_KIND_TEXT, "FILE", 0, 0, FIELD(access_log), FG_CMD_SERVE,
     "append a line for each request to this file, in the Common Log Format and with milliseconds; - is "
     "standard output"},
    {"timeout-header", 0, FG_KIND_U32, "SECONDS", 1, 3600, FIELD(header_timeout), FG_CMD_SERVE,
     "in which the header of a request has to come (30)"},
    {"timeout-keep-alive", 0, FG_KIND_U32, "SECONDS", 1, 3600, FIELD(keep_alive_timeout), FG_CMD_SERVE,
     "after which a connection that is quiet is closed (60)"},
    // the machine
    {"host-memory", 0, FG_KIND_SIZE, "SIZE", 1, 0, FIELD(host_memory), PACKING,
     "a promise: memory charged to this process stays within it, packing included (85 % of what the machine "
     "or "
     "its cgroup leaves free)"},
    {"device", 0, FG_KIND_DEVICE, "cpu|opencl|fake", 0, 0, FIELD(device), SIZED,
     "what computes: opencl or opencl:N as flexgen devices lists them; fake is a test device with memory of "
     "its "
     "own"},
    {"device-memory", 0, FG_KIND_SIZE, "SIZE", 1, 0, FIELD(device_memory), PLANNED,
     "of a device that has its own (opencl: nine tenths of it); the CPU's is host memory"},
    {"offload-dir", 0, FG_KIND_TEXT, "DIR", 0, 0, FIELD(offload_dir), STORES | FG_CMD_PROFILE,
     "where packed weights are kept ($XDG_CACHE_HOME/flexgen or ~/.cache/flexgen)"},
    {"threads", 0, FG_KIND_U32, "N", 1, 4096, FIELD(threads), PACKING | FG_CMD_PROFILE,
     "compute threads (the cores this process may use)"},
    {"io", 0, FG_KIND_CHOICE, "auto|uring|threads", 0, 0, FIELD(io), PACKING | FG_CMD_PROFILE,
     "how the disk is read"},
    // numbers
    {"synthetic", 0, FG_KIND_FLAG, NULL, 0, 0, FIELD(synthetic), SIZED,
     "MODEL is the name of a shape (opt-6.7b, tinyllama-1.1b, ...) to be filled with random weights"},
    {"alias-layers", 0, FG_KIND_U32, "N", 1, 0, FIELD(alias_layers), SIZED,
     "with --synthetic: write N layers of each shape and let the others share their bytes on the disk (as "
     "many "
     "as fit, where less than 1.2 times the store is free; else all are written)"},
    {"adapter", 0, FG_KIND_TEXT, "DIR", 0, 0, FIELD(adapter), SIZED,
     "a LoRA adapter as PEFT saves it, merged into MODEL's weights when they are packed"},
    {"dtype", 0, FG_KIND_CHOICE, "auto|f32|bf16|int8", 0, 0, FIELD(dtype), PLANNED,
     "arithmetic of the dense products; f32 is the reference, int8 multiplies quantized weights in their own "
     "bits; auto: int8 for quantized weights, else bf16"},
    {"weight-dtype", 0, FG_KIND_CHOICE, DTYPES "|int8|int4", 0, 0, FIELD(weight_dtype), SIZED,
     "how matrices are held; auto keeps the checkpoint's; int8 and int4 are codes with a scale for each "
     "group"},
    {"weight-group", 0, FG_KIND_CHOICE, "auto|32|64|128|channel", 0, 0, FIELD(weight_group), SIZED,
     "values of an int8 or int4 matrix that share a scale; channel is a whole row; auto: int8 128, int4 64"},
    {"weight-symmetric", 0, FG_KIND_CHOICE, "auto|true|false", 0, 0, FIELD(weight_symmetric), SIZED,
     "whether int8 or int4 groups go without a minimum of their own; auto: int8 true, int4 false"},
    {"weight-head", 0, FG_KIND_CHOICE, "auto|same|f32|bf16|f16|int8|int4", 0, 0, FIELD(weight_head), SIZED,
     "how the head is held; same: as the layers; auto: int8 with int4, else the same"},
    {"weight-embedding", 0, FG_KIND_CHOICE, "auto|same|f32|bf16|f16|int8|int4", 0, 0, FIELD(weight_embedding),
     SIZED,
     "how tables of embeddings are held; auto: int8 with int4, as in the checkpoint with int8, else the "
     "same"},
    {"compress-weight", 0, FG_KIND_FLAG, NULL, 0, 0, FIELD(compress_weight), SIZED,
     "FlexGen's: --weight-dtype int4"},
    {"cache-dtype", 0, FG_KIND_CHOICE, DTYPES "|int8|int4|flexgen", 0, 0, FIELD(cache_dtype), PLANNED,
     "how keys and values are held; auto: f32 with --dtype f32, else bf16; int8 and int4 are codes with a "
     "scale and a minimum for each 64 values of a head, int4 of rows that are turned first; flexgen is int4 "
     "without the turn"},
    {"compress-cache", 0, FG_KIND_FLAG, NULL, 0, 0, FIELD(compress_cache), PLANNED,
     "FlexGen's: --cache-dtype flexgen"},
    {"attn-sparsity", 0, FG_KIND_SHARE, "F", 0, 1, FIELD(attn_sparsity), PLANNED,
     "FlexGen's: generated tokens read this share of the values, those of the largest weights in each head; "
     "1, "
     "the default, reads all"},
    {"cpu-cache-compute", 0, FG_KIND_FLAG, NULL, 0, 0, FIELD(cpu_cache_compute), PLANNED,
     "FlexGen's: on a device with memory of its own the CPU attends to what of the cache is not there; only "
     "queries and results cross"},
    {"deterministic", 0, FG_KIND_FLAG, NULL, 0, 0, FIELD(deterministic), RUNNING,
     "a row's result depends on the row alone in every type; in f32 it always does"},
    {"prefix-sharing", 0, FG_KIND_BOOL, "BOOL", 0, 0, FIELD(prefix_sharing), PLANNED,
     "whether what prompts have in common at their beginning is computed once (true)"},
    {"enable-prefix-caching", 0, FG_KIND_BOOL, "BOOL", 0, 0, FIELD(prefix_sharing), PLANNED,
     "vLLM's: --prefix-sharing"},
    {"prefix-cache", 0, FG_KIND_TEXT, "DIR", 0, 0, FIELD(prefix_cache), KEEPING,
     "keep what prompts begin with in this folder for jobs to come, and use what others have kept; results "
     "are "
     "the same"},
    {"prefix-cache-size", 0, FG_KIND_SIZE, "SIZE", 1, 0, FIELD(prefix_cache_size), KEEPING,
     "bytes of that folder's files at most; what was used longest ago goes first (10G)"},
    {"prefix-cache-keep", 0, FG_KIND_CHOICE, "shared|prompts", 0, 0, FIELD(prefix_cache_keep), KEEPING,
     "what at least two rows begin with, or all of every prompt (batch, serve: shared, generate: prompts)"},
    {"speculation", 0, FG_KIND_BOOL, "BOOL", 0, 0, FIELD(speculation), PLANNED,
     "whether rows whose step waits for the disk or for memory try tokens ahead that their own text suggests "
     "(true; of bench, whose prompts are random, false)"},
    {"draft-model", 0, FG_KIND_TEXT, "MODEL", 0, 0, FIELD(draft_model), PLANNED,
     "a small model of the same vocabulary, which is asked for tokens ahead where the text suggests none"},
    {"draft-memory", 0, FG_KIND_SIZE, "SIZE", 1, 0, FIELD(draft_memory), PLANNED,
     "of --host-memory, what the draft model may take; default: a quarter"},
    {"num-speculative-tokens", 0, FG_KIND_U32, "N", 1, FG_DRAFT_LONGEST, FIELD(speculative_tokens), PLANNED,
     "tokens ahead that a row tries, whatever they cost; default: as many as pay"},
    {"seed", 0, FG_KIND_U64, "N", 0, 0, FIELD(seed), PLANNED,
     "seed of sampling for rows that bring none (0)"},
    // the step
    {"percent", 0, FG_KIND_PERCENT, "W_DEV W_HOST C_DEV C_HOST A_DEV A_HOST", 0, 0, FIELD(percent), PLANNED,
     "FlexGen's placement of weights, cache and activations on device and host, the rest on disk; on the CPU "
     "device and host add up"},
    {"policy", 0, FG_KIND_TEXT, "FILE.json", 0, 0, FIELD(policy), PLANNED,
     "a policy as plan --save-policy writes it: what it names is fixed, the rest is planned"},
    {"gpu-batch-size", 0, FG_KIND_U32, "N", 1, 0, FIELD(gpu_batch_size), PLANNED,
     "sequences of a micro-batch"},
    {"num-gpu-batches", 0, FG_KIND_U32, "N", 1, 0, FIELD(num_gpu_batches), PLANNED,
     "micro-batches of a block; the block, the product of both, is the default of --max-num-seqs"},
    {"max-num-seqs", 0, FG_KIND_U32, "N", 1, 0, FIELD(max_num_seqs), PLANNED, "sequences that run at once"},
    {"max-num-batched-tokens", 0, FG_KIND_U32, "N", 1, 0, FIELD(max_num_batched_tokens), PLANNED,
     "tokens of a step"},
    {"max-model-len", 0, FG_KIND_U32, "N", 1, 0, FIELD(max_model_len), PLANNED,
     "tokens of the longest sequence, prompt and answer (the model's context)"},
    {"overlap", 0, FG_KIND_BOOL, "BOOL", 0, 0, FIELD(overlap), RUNNING,
     "FlexGen's; reads and compute always overlap here, so this changes nothing"},
    {"sep-layer", 0, FG_KIND_BOOL, "BOOL", 0, 0, FIELD(sep_layer), RUNNING,
     "FlexGen's; weights move in panels smaller than a layer, so this changes nothing"},
    {"pin-weight", 0, FG_KIND_BOOL, "BOOL", 0, 0, FIELD(pin_weight), RUNNING,
     "FlexGen's; without a GPU there is nothing to pin memory for, so this changes nothing"},
    // what is told
    {"trace", 0, FG_KIND_TEXT, "FILE.json", 0, 0, FIELD(trace), RUNNING,
     "write a timeline of the run in Trace Event Format (Perfetto opens it)"},
    {"stats", 0, FG_KIND_TEXT, "FILE.json", 0, 0, FIELD(stats), RUNNING,
     "write policy, times, tokens, bytes and memory of the run, also after an interruption"},
    {"json", 0, FG_KIND_FLAG, NULL, 0, 0, FIELD(json), ALL & ~(FG_CMD_TOKENIZE | FG_CMD_REPORT),
     "print figures as JSON"},
    {"quiet", 0, FG_KIND_FLAG, NULL, 0, 0, FIELD(quiet), ALL, "only warnings and errors on standard error"},
    {"verbose", 'v', FG_KIND_COUNT, NULL, 0, 0, FIELD(verbose), ALL, "say more"},
    {"no-progress", 0, FG_KIND_FLAG, NULL, 0, 0, FIELD(no_progress), ALL, "no progress on standard error"},
    {"color", 0, FG_KIND_CHOICE, "auto|always|never", 0, 0, FIELD(color), ALL,
     "colours on standard error; auto: on a terminal unless NO_COLOR is set"},
    {"help", 'h', FG_KIND_FLAG, NULL, 0, 0, FIELD(help), ALL, "show this and exit"},
};

enum { ROW_COUNT = sizeof rows / sizeof *rows };

// ---- parsing ---------------------------------------------------------------------------------------------

static const fg_option_row *find_long(const char *name, size_t length, uint32_t command) {
  for (size_t i = 0; i < ROW_COUNT; i++)
    if ((rows[i].commands & command) && strlen(rows[i].name) == length &&
        memcmp(rows[i].name, name, length) == 0)
      return &rows[i];
  return NULL;
}

static const fg_option_row *find_letter(char letter, uint32_t command) {
  for (size_t i = 0; i < ROW_COUNT; i++)
    if ((rows[i].commands & command) && letter && rows[i].letter == letter) return &rows[i];
  return NULL;
}

static fg_status unknown_long(const char *name, size_t length, uint32_t command, fg_error *err) {
  const char *names[ROW_COUNT + 1];
  size_t count = 0;
  for (size_t i = 0; i < ROW_COUNT; i++)
    if (rows[i].commands & command) names[count++] = rows[i].name;
  names[count] = NULL;
  char word[64];
  snprintf(word, sizeof word, "%.*s", (int)(length < 63 ? length : 63), name);
  const char *meant = fg_suggest(word, names);
  if (meant) return fg_fail(err, FG_INVALID, "there is no option --%s; did you mean --%s?", word, meant);
  return fg_fail(err, FG_INVALID, "there is no option --%s", word);
}

// The arguments not yet read.
typedef struct cursor {
  char **argv;
  int argc, at;
} cursor;

// Sets a row's field from the text stuck to the option (`attached`, may be NULL) or from the next arguments.
static fg_status take(fg_options *options, const fg_option_row *row, char *attached, cursor *c,
                      fg_error *err) {
  const fg_option_reader *reader = &fg_option_readers[row->kind];
  void *field = (char *)options + row->offset;
  bool ignored;
  if (row->kind == FG_KIND_BOOL) {
    char *word = attached;
    if (!word && c->at < c->argc && fg_option_is_bool(c->argv[c->at], &ignored)) word = c->argv[c->at++];
    return reader->set(row, field, &word, err);
  }
  if (attached && reader->values != 1)
    return fg_fail(err, FG_INVALID,
                   reader->values ? "--%s takes its %u values as separate arguments" : "--%s takes no value",
                   row->name, reader->values);
  if (attached) return reader->set(row, field, &attached, err);
  if ((uint32_t)(c->argc - c->at) < reader->values)
    return reader->values == 1
               ? fg_fail(err, FG_INVALID, "--%s needs a value: --%s %s", row->name, row->name, row->argument)
               : fg_fail(err, FG_INVALID, "--%s needs six numbers: --%s %s", row->name, row->name,
                         row->argument);
  char **values = c->argv + c->at;
  c->at += (int)reader->values;
  return reader->set(row, field, values, err);
}

// "--no-NAME" of an option that is true or false.
static bool take_negated(fg_options *options, uint32_t command, const char *word) {
  if (strncmp(word, "no-", 3) != 0) return false;
  const fg_option_row *row = find_long(word + 3, strlen(word + 3), command);
  if (!row || row->kind != FG_KIND_BOOL) return false;
  *(bool *)((char *)options + row->offset) = false;
  return true;
}

static fg_status take_long(fg_options *options, uint32_t command, char *word, cursor *c, fg_error *err) {
  char *equals = strchr(word, '=');
  size_t length = equals ? (size_t)(equals - word) : strlen(word);
  const fg_option_row *row = find_long(word, length, command);
  if (!row && take_negated(options, command, word)) return FG_OK;
  if (!row) return unknown_long(word, length, command, err);
  return take(options, row, equals ? equals + 1 : NULL, c, err);
}

// "-vv", "-o FILE", "-oFILE".
static fg_status take_letters(fg_options *options, uint32_t command, char *letters, cursor *c,
                              fg_error *err) {
  for (; *letters; letters++) {
    const fg_option_row *row = find_letter(*letters, command);
    if (!row) return fg_fail(err, FG_INVALID, "there is no option -%c", *letters);
    bool valued = fg_option_readers[row->kind].values > 0;
    fg_status status = take(options, row, valued && letters[1] ? letters + 1 : NULL, c, err);
    if (status != FG_OK || valued) return status;
  }
  return FG_OK;
}

fg_weight_words fg_weight_words_of(const fg_options *o) {
  return (fg_weight_words){.dtype = o->weight_dtype,
                           .group = o->weight_group,
                           .symmetric = o->weight_symmetric,
                           .head = o->weight_head,
                           .table = o->weight_embedding};
}

// Whether the words about weights go together; resolves --compress-weight.
static fg_status check_weights(fg_options *o, fg_error *err) {
  if (o->compress_weight) {
    if (strcmp(o->weight_dtype, "auto") != 0 && strcmp(o->weight_dtype, "int4") != 0)
      return fg_fail(err, FG_INVALID, "--compress-weight means int4, --weight-dtype says %s",
                     o->weight_dtype);
    o->weight_dtype = "int4";
  }
  fg_weight_wish ignored;
  const fg_weight_words words = fg_weight_words_of(o);
  if (o->calibrate && strcmp(o->weight_dtype, "int4") != 0)
    return fg_fail(err, FG_INVALID, "--calibrate goes with --weight-dtype int4");
  return fg_weight_wish_read(&ignored, &words, err);
}

static fg_status check_speculation(const fg_options *o, fg_error *err) {
  if (o->speculation || (!o->draft_model && !o->speculative_tokens)) return FG_OK;
  return fg_fail(err, FG_INVALID, "%s goes with --speculation true",
                 o->draft_model ? "--draft-model" : "--num-speculative-tokens");
}

static fg_status check_prefix_cache(const fg_options *o, fg_error *err) {
  if (o->prefix_cache && !o->prefix_sharing)
    return fg_fail(err, FG_INVALID, "--prefix-cache goes with --prefix-sharing true");
  if (o->prefix_cache || (!o->prefix_cache_size && !o->prefix_cache_keep)) return FG_OK;
  return fg_fail(err, FG_INVALID, "%s goes with --prefix-cache DIR",
                 o->prefix_cache_size ? "--prefix-cache-size" : "--prefix-cache-keep");
}

// Resolves --compress-cache.
static fg_status check_cache(fg_options *o, fg_error *err) {
  if (!o->compress_cache) return FG_OK;
  if (strcmp(o->cache_dtype, "auto") != 0 && strcmp(o->cache_dtype, "flexgen") != 0)
    return fg_fail(err, FG_INVALID, "--compress-cache means FlexGen's 4 bits, --cache-dtype says %s",
                   o->cache_dtype);
  o->cache_dtype = "flexgen";
  return FG_OK;
}

fg_status fg_options_parse(fg_options *options, uint32_t command, int argc, char **argv, fg_error *err) {
  *options = (fg_options){
      .device = "cpu",
      .io = "auto",
      .dtype = "auto",
      .weight_dtype = "auto",
      .weight_group = "auto",
      .weight_symmetric = "auto",
      .weight_head = "auto",
      .weight_embedding = "auto",
      .cache_dtype = "auto",
      .color = "auto",
      .overlap = true,
      .prefix_sharing = true,
      .speculation = command != FG_CMD_BENCH,
      .sep_layer = true,
      .pin_weight = true,
      .max_tokens = command == FG_CMD_WRANGLE ? 0 : 256,
      .split = "test",
      .k = FG_NO_K,
      .example_seed = 1234,
      .sample_method = "random",
      .delimiter = ",",
      .sep_tok = ".",
      .nan_tok = "nan",
      .stop_token = "\n",
      .top_p = 1,
      .prompt_len = 512,
      .gen_len = 32,
      .attn_sparsity = 1,
      .host = "127.0.0.1",
      .port = 8000,
      .max_queue = 1024,
      .max_file_size = 200ull << 20,
      .max_storage = 20ull << 30,
      .max_connections = 1024,
      .max_body_size = 16 << 20,
      .header_timeout = 30,
      .keep_alive_timeout = 60,
  };
  options->arguments = calloc((size_t)argc + 1, sizeof *options->arguments);
  if (!options->arguments) return fg_fail(err, FG_NO_SPACE, "no memory for the command line");
  cursor c = {argv, argc, 0};
  bool ended = false;
  while (c.at < argc) {
    char *word = argv[c.at++];
    fg_status status = FG_OK;
    if (ended || word[0] != '-' || !word[1])
      options->arguments[options->argument_count++] = word;
    else if (strcmp(word, "--") == 0)
      ended = true;
    else if (word[1] == '-')
      status = take_long(options, command, word + 2, &c, err);
    else
      status = take_letters(options, command, word + 1, &c, err);
    if (options->help) return FG_OK;
    if (status != FG_OK) return status;
  }
  fg_status status = check_weights(options, err);
  if (status == FG_OK) status = check_speculation(options, err);
  if (status == FG_OK) status = check_prefix_cache(options, err);
  return status ? status : check_cache(options, err);
}

void fg_options_free(fg_options *options) {
  free(options->arguments);
  free(options->prompts.items);
  free(options->include.items);
  free(options->exclude.items);
  free(options->api_keys.items);
  free(options->served_model_names.items);
  options->api_keys.items = options->served_model_names.items = NULL;
  options->include.items = options->exclude.items = NULL;
  options->arguments = NULL;
  options->prompts.items = NULL;
}

// ---- help ------------------------------------------------------------------------------------------------

enum { HELP_COLUMN = 28, HELP_WIDTH = 80 };

static void print_wrapped(FILE *out, const char *text, int column) {
  while (*text) {
    size_t take = strcspn(text, " ");
    if (column > HELP_COLUMN && column + 1 + (int)take > HELP_WIDTH) {
      fprintf(out, "\n%*s", HELP_COLUMN, "");
      column = HELP_COLUMN;
    }
    column += fprintf(out, "%s%.*s", column > HELP_COLUMN ? " " : "", (int)take, text);
    text += take;
    text += *text == ' ';
  }
  fputc('\n', out);
}

static void print_row(FILE *out, const fg_option_row *row) {
  int column = row->letter ? fprintf(out, "  -%c, --%s", row->letter, row->name)
                           : fprintf(out, "      --%s", row->name);
  if (row->argument) column += fprintf(out, " %s", row->argument);
  if (column >= HELP_COLUMN) {
    fputc('\n', out);
    column = 0;
  }
  fprintf(out, "%*s", HELP_COLUMN - column, "");
  print_wrapped(out, row->help, HELP_COLUMN);
}

// What one command or two take stands first: of batch its --input, which plan has as well.
static bool is_own(const fg_option_row *row) {
  return __builtin_popcount(row->commands) <= 2;
}

static void print_group(FILE *out, const char *title, uint32_t command, bool own) {
  for (size_t i = 0; i < ROW_COUNT; i++) {
    if (!(rows[i].commands & command) || is_own(&rows[i]) != own) continue;
    if (title) fprintf(out, "\n%s\n", title);
    title = NULL;
    print_row(out, &rows[i]);
  }
}

void fg_options_help(FILE *out, uint32_t command) {
  print_group(out, "Options of this command:", command, true);
  print_group(out, "Options that it shares with others:", command, false);
  fputs("\nSizes: K, M, G and KiB, MiB, GiB are powers of 1024; KB, MB, GB are powers of 1000.\n", out);
}

void fg_options_table(FILE *out, uint32_t command) {
  for (size_t i = 0; i < ROW_COUNT; i++) {
    const fg_option_row *row = &rows[i];
    if (!(row->commands & command)) continue;
    const char letter[] = {row->letter, 0};
    fprintf(out, "option\t%s\t%s\t%s\t%s\t%s\n", row->name, letter, row->argument ? row->argument : "",
            is_own(row) ? "own" : "shared", row->help);
  }
}

// ---- suggestions -----------------------------------------------------------------------------------------

// Edit distance (Levenshtein) of short words; long ones are far from everything.
static unsigned distance(const char *a, const char *b) {
  enum { LONGEST = 40 };
  size_t m = strlen(a), n = strlen(b);
  if (m > LONGEST || n > LONGEST) return LONGEST;
  unsigned row[LONGEST + 1];
  for (size_t j = 0; j <= n; j++) row[j] = (unsigned)j;
  for (size_t i = 1; i <= m; i++) {
    unsigned diagonal = row[0];
    row[0] = (unsigned)i;
    for (size_t j = 1; j <= n; j++) {
      unsigned best = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      if (row[j] + 1 < best) best = row[j] + 1;
      if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
      row[j] = best;
    }
  }
  return row[n];
}

const char *fg_suggest(const char *word, const char *const *names) {
  const char *best = NULL;
  unsigned limit = strlen(word) < 6 ? 2 : 3, least = limit + 1;
  for (; *names; names++) {
    unsigned d = distance(word, *names);
    if (d < least) {
      least = d;
      best = *names;
    }
  }
  return best;
}
