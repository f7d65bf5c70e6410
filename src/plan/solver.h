// solver.h: COIN-OR CLP, loaded while placements are sought.
//
// The library and what it stands on (BLAS, LAPACK) are larger than the rest of the process together, and are
// wanted for milliseconds: so it is opened and closed again and not linked.
#ifndef FG_PLAN_SOLVER_H
#define FG_PLAN_SOLVER_H

#include <coin/Clp_C_Interface.h>

#include "flexgen/error.h"

typedef struct fg_solver {
  void *library;
  Clp_Simplex *(*new_model)(void);
  void (*delete_model)(Clp_Simplex *model);
  void (*set_log_level)(Clp_Simplex *model, int level);
  void (*load_problem)(Clp_Simplex *model, int columns, int rows, const CoinBigIndex *start, const int *index,
                       const double *value, const double *lower, const double *upper, const double *objective,
                       const double *row_lower, const double *row_upper);
  int (*primal)(Clp_Simplex *model, int if_values_pass);
  int (*status)(Clp_Simplex *model); // 0 = optimal
  double *(*solution)(Clp_Simplex *model);
} fg_solver;

// FG_NOT_FOUND where the library is not installed.
fg_status fg_solver_open(fg_solver *out, fg_error *err);
void fg_solver_close(fg_solver *solver);

#endif
