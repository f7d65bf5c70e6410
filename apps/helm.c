// flexgen helm: HELM's benchmarks (docs/helm.md). HELM is Python, and so is what brings it together with the
// engine, a module of the package in python/: this process becomes it, and it finds this command again as the
// engine.
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/system.h"
#include "command.h"

static const char bootstrap[] =
    "import sys\n"
    "try:\n"
    "    from flexgen.helm.__main__ import main\n"
    "except ModuleNotFoundError as error:\n"
    "    if (error.name or '').split('.')[0] != 'flexgen': raise\n"
    "    sys.exit('flexgen helm: the Python package is not installed for ' + sys.executable + '; "
    "pip install flexgen-engine[helm], or name the Python that has it in FLEXGEN_PYTHON')\n"
    "main()\n";

static void name_ourselves(void) {
  char path[PATH_MAX];
  // Without it the package looks for the command itself.
  if (fg_program_path(path, sizeof path)) setenv("FLEXGEN_COMMAND", path, 0);
}

int fg_command_helm(int argc, char **argv) {
  const char *python = getenv("FLEXGEN_PYTHON");
  if (!python || !python[0]) python = "python3";
  const char **words = calloc((size_t)argc + 4, sizeof *words);
  if (!words) {
    fputs("flexgen helm: no memory for the command line\n", stderr);
    return FG_EXIT_FAILED;
  }
  words[0] = python;
  words[1] = "-c";
  words[2] = bootstrap;
  for (int i = 0; i < argc; i++) words[3 + i] = argv[i];
  name_ourselves();
  execvp(python, (char *const *)words);
  fprintf(stderr, "flexgen helm: cannot run %s: %s; it is written in Python\n", python, strerror(errno));
  free(words);
  return FG_EXIT_FAILED;
}
