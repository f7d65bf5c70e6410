#include "plan/placement.h"

#include <stddef.h>

// Columns: the shares, then the seconds of a step. Rows: a lane takes no longer than the step, a tier holds
// what is there, the shares of weights and of the cache are 1 each.
enum { COLUMNS = FG_SHARE_COUNT + 1, SECONDS = FG_SHARE_COUNT };
enum { LANES = 0, TIERS = LANES + FG_LANE_COUNT, SUMS = TIERS + FG_TIER_COUNT, ROWS = SUMS + 2 };

static double coefficient(const fg_step_cost *cost, int row, int column) {
  if (row < TIERS) return column == SECONDS ? -1 : cost->seconds[row - LANES][column];
  if (column == SECONDS) return 0;
  // of the room: the solver's tolerances are absolute
  if (row < SUMS) return cost->bytes[row - TIERS][column] / (cost->room[row - TIERS] + 1);
  return (column < FG_CACHE_DEVICE) == (row == SUMS);
}

static void load(const fg_solver *solver, Clp_Simplex *lp, const fg_step_cost *cost) {
  CoinBigIndex start[COLUMNS + 1];
  int index[COLUMNS * ROWS];
  double value[COLUMNS * ROWS], lower[COLUMNS] = {0}, upper[COLUMNS], objective[COLUMNS] = {0};
  double row_lower[ROWS], row_upper[ROWS];
  int count = 0;
  for (int column = 0; column < COLUMNS; column++) {
    start[column] = count;
    upper[column] = column == SECONDS ? 1e30 : 1;
    for (int row = 0; row < ROWS; row++) {
      index[count] = row;
      value[count++] = coefficient(cost, row, column);
    }
  }
  start[COLUMNS] = count;
  objective[SECONDS] = 1;
  for (int row = 0; row < ROWS; row++) {
    row_lower[row] = row < SUMS ? -1e30 : 1;
    row_upper[row] =
        row < TIERS  ? -cost->fixed[row - LANES]
        : row < SUMS ? (cost->room[row - TIERS] - cost->taken[row - TIERS]) / (cost->room[row - TIERS] + 1)
                     : 1;
  }
  solver->load_problem(lp, COLUMNS, ROWS, start, index, value, lower, upper, objective, row_lower, row_upper);
}

fg_status fg_placement_find(const fg_solver *solver, const fg_step_cost *cost, fg_placement *out,
                            fg_error *err) {
  Clp_Simplex *lp = solver->new_model();
  if (!lp) return fg_fail(err, FG_NO_SPACE, "no memory for the linear program of the placement");
  solver->set_log_level(lp, 0);
  load(solver, lp, cost);
  solver->primal(lp, 0);
  const int status = solver->status(lp);
  const double *solution = solver->solution(lp);
  for (int i = 0; i < FG_SHARE_COUNT && status == 0; i++) out->shares[i] = solution[i];
  solver->delete_model(lp);
  if (status)
    return fg_fail(err, FG_NO_SPACE, "weights and KV cache of a step do not fit into memory and disk");
  out->seconds = 0;
  for (int lane = 0; lane < FG_LANE_COUNT; lane++) {
    const double seconds = fg_step_cost_lane(cost, (fg_lane)lane, out->shares);
    if (seconds <= out->seconds) continue;
    out->seconds = seconds;
    out->bound = (fg_lane)lane;
  }
  return FG_OK;
}

fg_status fg_placement_search(const fg_solver *solver, const fg_hardware *hw, const fg_plan_shape *shape,
                              uint32_t most, fg_step_wish *wish, fg_placement *out, fg_error *err) {
  fg_status status = FG_NO_SPACE;
  double best = 0;
  fg_step_wish tried = *wish;
  // An eighth more each time: the rate is flat near its best.
  for (uint32_t n = 1; n <= most; n += n / 8 + 1) {
    fg_placement placement;
    tried.sequences = n;
    const fg_step_cost cost = fg_step_cost_of(hw, shape, &tried);
    fg_error none;
    if (fg_placement_find(solver, &cost, &placement, best > 0 ? &none : err) != FG_OK)
      break; // more will not fit either
    status = FG_OK;
    if (n / placement.seconds <= best) continue;
    best = n / placement.seconds;
    *wish = tried;
    *out = placement;
  }
  return status;
}
