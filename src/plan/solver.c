#include "plan/solver.h"

#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

#include "base/system.h"

fg_status fg_solver_open(fg_solver *out, fg_error *err) {
  static const struct {
    const char *name;
    size_t offset;
  } functions[] = {{"Clp_newModel", offsetof(fg_solver, new_model)},
                   {"Clp_deleteModel", offsetof(fg_solver, delete_model)},
                   {"Clp_setLogLevel", offsetof(fg_solver, set_log_level)},
                   {"Clp_loadProblem", offsetof(fg_solver, load_problem)},
                   {"Clp_primal", offsetof(fg_solver, primal)},
                   {"Clp_status", offsetof(fg_solver, status)},
                   {"Clp_primalColumnSolution", offsetof(fg_solver, solution)}};
  *out = (fg_solver){.library = dlopen(FG_SHARED_LIBRARY("libClp", "1"), RTLD_NOW | RTLD_LOCAL)};
  if (!out->library)
    return fg_fail(err, FG_NOT_FOUND,
                   "libClp.so.1 (COIN-OR CLP, by which memory is planned) is not installed; "
                   "on Debian: apt install coinor-libclp1");
  for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
    void *address = dlsym(out->library, functions[i].name);
    if (!address) {
      fg_solver_close(out);
      return fg_fail(err, FG_UNSUPPORTED, "libClp has no %s", functions[i].name);
    }
    memcpy((char *)out + functions[i].offset, &address, sizeof address);
  }
  return FG_OK;
}

void fg_solver_close(fg_solver *solver) {
  if (solver->library) dlclose(solver->library);
  *solver = (fg_solver){0};
}
