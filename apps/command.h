// command.h: the subcommands, one file each; main.c has the table.
#ifndef FG_APPS_COMMAND_H
#define FG_APPS_COMMAND_H

#include "console.h"
#include "options.h"

// What a command returns is the exit status of the process (docs/command-line.md).
enum { FG_EXIT_DONE = 0, FG_EXIT_FAILED = 1, FG_EXIT_USAGE = 2, FG_EXIT_ROWS = 3 };

typedef int fg_command_run(const fg_options *options, fg_console *console);

fg_command_run fg_command_batch, fg_command_generate, fg_command_bench, fg_command_eval, fg_command_pack,
    fg_command_inspect, fg_command_store, fg_command_tokenize, fg_command_pull, fg_command_profile,
    fg_command_plan, fg_command_serve, fg_command_wrangle, fg_command_report, fg_command_devices;
// Takes its arguments as they are.
int fg_command_helm(int argc, char **argv);

#endif
