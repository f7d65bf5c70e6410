// flexgen: the command line. One row a command; each has a file of its own.
#if defined(__linux__)
#include <malloc.h>
#endif
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "interrupt.h"
#include "model_input.h"

typedef struct command_row {
  const char *name;
  fg_command_run *run;
  fg_command_bit bit;
  bool takes_model; // exactly one MODEL
  const char *arguments;
  const char *summary;
} command_row;

static const command_row commands[] = {
    {"batch", fg_command_batch, FG_CMD_BATCH, true, "MODEL -i IN.jsonl -o OUT.jsonl",
     "answer a file of OpenAI Batch requests"},
    {"wrangle", fg_command_wrangle, FG_CMD_WRANGLE, false,
     "MODEL -i TABLE.csv --template TEXT | --data-dir DIR",
     "ask about each row of a table; match, impute, find errors"},
    {"generate", fg_command_generate, FG_CMD_GENERATE, true, "MODEL -p TEXT | -f FILE",
     "continue one or a few prompts"},
    {"bench", fg_command_bench, FG_CMD_BENCH, true, "MODEL [--prompt-len N] [--gen-len N]",
     "measure throughput on prompts of random tokens"},
    {"serve", fg_command_serve, FG_CMD_SERVE, true, "MODEL [--host ADDRESS] [--port N]",
     "answer requests over HTTP, as OpenAI's clients send them"},
    {"plan", fg_command_plan, FG_CMD_PLAN, true, "MODEL [-i IN.jsonl | --num-prompts N ...]",
     "the memory and time that a job would take; runs nothing"},
    {"eval", fg_command_eval, FG_CMD_EVAL, true, "MODEL --text FILE", "perplexity of a text"},
    {"pack", fg_command_pack, FG_CMD_PACK, true, "MODEL [--store DIR]",
     "make a packed store ahead; prints its path"},
    {"inspect", fg_command_inspect, FG_CMD_INSPECT, true, "MODEL",
     "what a model or store holds, and whether it can be run"},
    {"store", fg_command_store, FG_CMD_STORE, false, "list|verify|clear [NAME...]",
     "look after packed stores"},
    {"tokenize", fg_command_tokenize, FG_CMD_TOKENIZE, true, "MODEL < TEXT", "text to token ids and back"},
    {"pull", fg_command_pull, FG_CMD_PULL, false, "ORG/NAME[@REVISION] [PATTERN...]",
     "download a model from the Hugging Face Hub"},
    {"profile", fg_command_profile, FG_CMD_PROFILE, false, "[--force]",
     "measure what this machine can do, once"},
    {"devices", fg_command_devices, FG_CMD_DEVICES, false, "",
     "what can compute here, and where it has been tried"},
    {"report", fg_command_report, FG_CMD_REPORT, false, "STATS.json -o PAGE.html",
     "a page about a run, from what --stats wrote"},
};

enum { COMMAND_COUNT = sizeof commands / sizeof *commands };

// Those that read their arguments themselves.
typedef struct foreign_row {
  const char *name;
  int (*run)(int argc, char **argv);
  const char *arguments, *summary;
} foreign_row;

static const foreign_row foreign[] = {
    {"helm", fg_command_helm, "config|run", "HELM's benchmarks; needs the Python package"},
};

enum { FOREIGN_COUNT = sizeof foreign / sizeof *foreign };

static void print_help(FILE *out) {
  fputs("Usage: flexgen COMMAND ... [options]\n\n"
        "Generates text with large language models, many prompts at once, on machines whose\n"
        "memory is smaller than the model.\n\nCommands:\n",
        out);
  for (size_t i = 0; i < COMMAND_COUNT; i++)
    fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].summary);
  for (size_t i = 0; i < FOREIGN_COUNT; i++)
    fprintf(out, "  %-10s %s\n", foreign[i].name, foreign[i].summary);
  fputs("\nMODEL is a Hugging Face folder, a .gguf file, a packed store, the ORG/NAME of a model that\n"
        "was pulled, or with --synthetic the name of a shape such as opt-6.7b. flexgen COMMAND --help lists "
        "the options of a command.\n",
        out);
}

static void print_command_help(const command_row *command) {
  printf("Usage: flexgen %s %s [options]\n\n%s\n", command->name, command->arguments, command->summary);
  fg_options_help(stdout, command->bit);
}

// What --help says of all commands, for scripts/command_table.py, which man pages and completions are made
// from: "command", name, arguments, summary, a line each, tabs between; its options follow it.
static void print_table(void) {
  for (size_t i = 0; i < COMMAND_COUNT; i++) {
    printf("command\t%s\t%s\t%s\n", commands[i].name, commands[i].arguments, commands[i].summary);
    fg_options_table(stdout, commands[i].bit);
  }
  for (size_t i = 0; i < FOREIGN_COUNT; i++)
    printf("command\t%s\t%s\t%s\n", foreign[i].name, foreign[i].arguments, foreign[i].summary);
}

// Small results go back to the system at once and threads share one heap: what malloc keeps for itself is
// memory that --host-memory cannot give to the model.
static void tame_malloc(void) {
#if defined(__linux__)
  mallopt(M_ARENA_MAX, 1);
  mallopt(M_MMAP_THRESHOLD, 256 << 10);
  mallopt(M_TRIM_THRESHOLD, 256 << 10);
#endif
}

static int unknown_command(const char *name) {
  const char *names[COMMAND_COUNT + FOREIGN_COUNT + 1] = {NULL};
  for (size_t i = 0; i < COMMAND_COUNT; i++) names[i] = commands[i].name;
  for (size_t i = 0; i < FOREIGN_COUNT; i++) names[COMMAND_COUNT + i] = foreign[i].name;
  const char *meant = fg_suggest(name, names);
  fprintf(stderr, "flexgen: there is no command '%.60s'", name);
  if (meant)
    fprintf(stderr, "; did you mean %s?\n", meant);
  else
    fputs("; flexgen --help lists them\n", stderr);
  return FG_EXIT_USAGE;
}

static bool has_model(const fg_options *options, fg_console *console) {
  if (options->argument_count == 1) return true;
  char line[160];
  if (options->argument_count == 0)
    snprintf(line, sizeof line, "MODEL is missing");
  else
    snprintf(line, sizeof line, "one MODEL is wanted, '%.80s' is one too many", options->arguments[1]);
  fg_console_error(console, line);
  return false;
}

// MODEL and --adapter may be names of pulled models; commands see paths only.
static int run_with_model(const command_row *command, fg_options *options, fg_console *console) {
  fg_pulled_paths pulled;
  fg_error err = {FG_OK, ""};
  fg_status status = FG_OK;
  if (command->takes_model) status = fg_model_find(&pulled, options, &err);
  if (status == FG_OK) return command->run(options, console);
  fg_console_error(console, err.message);
  return FG_EXIT_FAILED;
}

static int run_command(const command_row *command, int argc, char **argv) {
  fg_options options;
  fg_console console;
  fg_error err = {FG_OK, ""};
  int code = FG_EXIT_DONE;
  if (fg_options_parse(&options, command->bit, argc, argv, &err) != FG_OK) {
    fg_console_init(&console, command->name, NULL);
    fg_console_error(&console, err.message);
    code = FG_EXIT_USAGE;
  } else if (options.help) {
    print_command_help(command);
  } else {
    fg_console_init(&console, command->name, &options);
    bool ready = !command->takes_model || has_model(&options, &console);
    code = ready ? run_with_model(command, &options, &console) : FG_EXIT_USAGE;
  }
  fg_options_free(&options);
  return code;
}

static int dispatch(int argc, char **argv) {
  const char *name = argc > 1 ? argv[1] : "";
  if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
    print_help(stdout);
    return FG_EXIT_DONE;
  }
  if (strcmp(name, "--version") == 0) {
    puts("flexgen " FG_VERSION);
    return FG_EXIT_DONE;
  }
  if (strcmp(name, "--table") == 0) {
    print_table();
    return FG_EXIT_DONE;
  }
  if (argc < 2) {
    print_help(stderr);
    return FG_EXIT_USAGE;
  }
  for (size_t i = 0; i < COMMAND_COUNT; i++)
    if (strcmp(commands[i].name, name) == 0) return run_command(&commands[i], argc - 2, argv + 2);
  for (size_t i = 0; i < FOREIGN_COUNT; i++)
    if (strcmp(foreign[i].name, name) == 0) return foreign[i].run(argc - 2, argv + 2);
  return unknown_command(name);
}

int main(int argc, char **argv) {
  // No setlocale: numbers and JSON are the same everywhere, and text is UTF-8 whatever the terminal is.
  signal(SIGPIPE, SIG_DFL);
  tame_malloc();
  int code = dispatch(argc, argv);
  if (fflush(stdout) != 0 && code == FG_EXIT_DONE) {
    perror("flexgen: standard output");
    code = FG_EXIT_FAILED;
  }
  if (code != FG_EXIT_DONE) fg_interrupt_raise();
  return code;
}
