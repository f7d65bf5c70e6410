#include "engine/expert_rows.h"

#include <stdlib.h>
#include <string.h>

struct fg_expert_rows {
  fg_device *device;
  fg_budget *host;
  uint32_t max_rows, used; // the most of both
  fg_memory *memory;       // lists, then weights // [max_rows * used] each
  int32_t *list;           // their image
  float *weights;
  float *routes; // a copy, where the host cannot reach them
  uint32_t run_count;
  fg_expert_run runs[FG_MAX_EXPERTS];
};

uint64_t fg_expert_rows_device_bytes(uint32_t used) {
  return used * (sizeof(int32_t) + sizeof(float));
}

// The image and the copy.
uint64_t fg_expert_rows_host_bytes(uint32_t used) {
  return 2 * fg_expert_rows_device_bytes(used);
}

fg_status fg_expert_rows_create(fg_expert_rows **out, fg_device *device, fg_budget *host, uint32_t max_rows,
                                uint32_t used, fg_error *err) {
  *out = NULL;
  fg_expert_rows *r = calloc(1, sizeof *r);
  if (!r) return fg_fail(err, FG_NO_SPACE, "out of memory for routes");
  r->device = device;
  r->host = host;
  r->max_rows = max_rows;
  r->used = used;
  const uint64_t entries = (uint64_t)max_rows * used;
  fg_status status = device->ops->memory_create(device, max_rows * fg_expert_rows_device_bytes(used),
                                                "rows of experts", &r->memory, err);
  if (status == FG_OK)
    status = fg_budget_alloc(host, max_rows * fg_expert_rows_host_bytes(used), "rows of experts",
                             (void **)&r->list, err);
  if (status != FG_OK) {
    fg_expert_rows_destroy(r);
    return status;
  }
  r->weights = (float *)(void *)(r->list + entries);
  r->routes = r->weights + entries;
  *out = r;
  return FG_OK;
}

void fg_expert_rows_destroy(fg_expert_rows *r) {
  if (!r) return;
  if (r->memory) r->device->ops->memory_destroy(r->device, r->memory);
  fg_budget_free(r->host, r->list);
  free(r);
}

// What ROUTE left, where the host can read it. All that used the lists before has passed then, too.
static fg_status bring(fg_expert_rows *r, fg_view routes, uint32_t count, uint32_t used, const float **out,
                       fg_error *err) {
  fg_device *d = r->device;
  const char *reach = fg_device_host_pointer(d, routes.memory);
  fg_status status = FG_OK;
  *out = reach ? (const float *)(const void *)(reach + routes.offset) : r->routes;
  if (!reach)
    status = d->ops->download(d, FG_QUEUE_COMPUTE, routes.memory, routes.offset, r->routes,
                              (uint64_t)count * 2 * used * sizeof(float), err);
  return status == FG_OK ? d->ops->host_wait(d, d->ops->record(d, FG_QUEUE_COMPUTE), err) : status;
}

static fg_status count_rows(const int32_t *routes, uint32_t count, const fg_route_form *form,
                            uint32_t *rows_of, fg_error *err) {
  memset(rows_of, 0, form->experts * sizeof *rows_of);
  for (uint32_t row = 0; row < count; row++) {
    for (uint32_t i = 0; i < form->used; i++) {
      int32_t expert = routes[(uint64_t)row * 2 * form->used + i];
      if (expert < 0 || (uint32_t)expert >= form->experts)
        return fg_fail(err, FG_INTERNAL, "row %u was sent to expert %d of %u", row, (int)expert,
                       form->experts);
      rows_of[expert]++;
    }
  }
  return FG_OK;
}

static void list_runs(fg_expert_rows *r, const uint32_t *rows_of, uint32_t experts, uint32_t *at) {
  const uint64_t weights = (uint64_t)r->max_rows * r->used * sizeof(int32_t);
  uint32_t begin = 0;
  r->run_count = 0;
  for (uint32_t e = 0; e < experts; e++) {
    at[e] = begin;
    if (rows_of[e] == 0) continue;
    fg_expert_run *run = &r->runs[r->run_count++];
    *run = (fg_expert_run){.expert = e, .rows = rows_of[e]};
    run->list = (fg_view){r->memory, begin * sizeof(int32_t), 1};
    run->weights = (fg_view){r->memory, weights + begin * sizeof(float), 1};
    begin += rows_of[e];
  }
}

static fg_status upload(fg_expert_rows *r, uint32_t entries, fg_error *err) {
  fg_device *d = r->device;
  const uint64_t weights = (uint64_t)r->max_rows * r->used * sizeof(int32_t);
  fg_status status = d->ops->upload(d, FG_QUEUE_LOAD, r->memory, 0, r->list, entries * sizeof(int32_t), err);
  if (status == FG_OK)
    status = d->ops->upload(d, FG_QUEUE_LOAD, r->memory, weights, r->weights, entries * sizeof(float), err);
  if (status != FG_OK) return status;
  return d->ops->queue_wait(d, FG_QUEUE_COMPUTE, d->ops->record(d, FG_QUEUE_LOAD), err);
}

fg_status fg_expert_rows_sort(fg_expert_rows *r, fg_view routes, uint32_t count, const fg_route_form *form,
                              fg_error *err) {
  uint32_t rows_of[FG_MAX_EXPERTS], at[FG_MAX_EXPERTS];
  const float *values;
  if (form->used > r->used || count > r->max_rows || form->experts > FG_MAX_EXPERTS)
    return fg_fail(err, FG_INTERNAL, "%u experts of each of %u rows, made for %u of %u", form->used, count,
                   r->used, r->max_rows);
  fg_status status = bring(r, routes, count, form->used, &values, err);
  const int32_t *chosen = (const int32_t *)(const void *)values;
  if (status == FG_OK) status = count_rows(chosen, count, form, rows_of, err);
  if (status != FG_OK) return status;
  list_runs(r, rows_of, form->experts, at);
  for (uint32_t row = 0; row < count; row++) {
    for (uint32_t i = 0; i < form->used; i++) {
      uint64_t entry = (uint64_t)row * 2 * form->used + i;
      uint32_t to = at[chosen[entry]]++;
      r->list[to] = (int32_t)row;
      r->weights[to] = values[entry + form->used];
    }
  }
  return upload(r, count * form->used, err);
}

const fg_expert_run *fg_expert_rows_runs(const fg_expert_rows *r, uint32_t *count) {
  *count = r->run_count;
  return r->runs;
}
