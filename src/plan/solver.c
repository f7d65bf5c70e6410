#include "plan/solver.h"

#include "base/shared_library.h"
#include "base/system.h"

fg_status fg_solver_open(fg_solver *out, fg_error *err) {
  static const fg_shared_function functions[] = {{"Clp_newModel", offsetof(fg_solver, new_model)},
                                                 {"Clp_deleteModel", offsetof(fg_solver, delete_model)},
                                                 {"Clp_setLogLevel", offsetof(fg_solver, set_log_level)},
                                                 {"Clp_loadProblem", offsetof(fg_solver, load_problem)},
                                                 {"Clp_primal", offsetof(fg_solver, primal)},
                                                 {"Clp_status", offsetof(fg_solver, status)},
                                                 {"Clp_primalColumnSolution", offsetof(fg_solver, solution)}};
  static const fg_shared_library library = {.file = FG_SHARED_LIBRARY("libClp", "1"),
                                            .name = "libClp (COIN-OR CLP, by which memory is planned)",
                                            .advice = "on Debian: apt install coinor-libclp1",
                                            .wanted = "1.17 or newer",
                                            .functions = functions,
                                            .count = sizeof functions / sizeof *functions};
  *out = (fg_solver){0};
  return fg_shared_library_open(&out->library, &library, out, err);
}

void fg_solver_close(fg_solver *solver) {
  fg_shared_library_close(solver->library);
  *solver = (fg_solver){0};
}
