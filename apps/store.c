// flexgen store: what the offload dir holds, whether it is whole, and taking it away.
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/budget.h"
#include "base/size.h"
#include "format/store.h"
#include "model_input.h"
#include "run.h"

typedef struct store_list {
  fg_store_entry *entries;
  size_t count;
  char **named; // from the command line; none = all
  uint32_t named_count;
} store_list;

static const char *file_name(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

// A store is named by its path, its file name or its model's name.
static bool is_meant(const store_list *list, const fg_store_entry *entry) {
  for (uint32_t i = 0; i < list->named_count; i++) {
    const char *name = list->named[i];
    if (strcmp(name, entry->path) == 0 || strcmp(name, file_name(entry->path)) == 0 ||
        (entry->origin && strcmp(name, entry->origin) == 0))
      return true;
  }
  return list->named_count == 0;
}

static fg_status check_named(const store_list *list, fg_error *err) {
  for (uint32_t i = 0; i < list->named_count; i++) {
    const store_list one = {.named = list->named + i, .named_count = 1};
    bool found = false;
    for (size_t j = 0; j < list->count && !found; j++) found = is_meant(&one, &list->entries[j]);
    if (!found) return fg_fail(err, FG_NOT_FOUND, "no store is called '%.200s'", list->named[i]);
  }
  return FG_OK;
}

static const char *state_of(const fg_store_entry *e) {
  if (e->in_use) return "in use";
  if (e->temporary) return "left over";
  return e->origin ? "" : "broken";
}

// ---- list ------------------------------------------------------------------------------------------------

static json_t *entry_json(const fg_store_entry *e) {
  return json_pack("{s:s,s:s?,s:s?,s:I,s:I,s:I,s:I,s:b,s:b,s:b}", "path", e->path, "origin", e->origin,
                   "target", e->target, "bytes", (json_int_t)e->bytes, "apparent_bytes",
                   (json_int_t)e->apparent, "aliased_layers", (json_int_t)e->aliased_layers, "modified",
                   (json_int_t)e->modified, "in_use", e->in_use, "temporary", e->temporary, "broken",
                   !e->temporary && !e->origin);
}

static fg_status list_json(const store_list *list, fg_error *err) {
  json_t *array = json_array();
  for (size_t i = 0; i < list->count; i++)
    if (is_meant(list, &list->entries[i])) json_array_append_new(array, entry_json(&list->entries[i]));
  return fg_print_json(array, err);
}

static fg_status run_list(const store_list *list, const fg_options *o, fg_console *console, fg_error *err) {
  (void)console;
  if (o->json) return list_json(list, err);
  for (size_t i = 0; i < list->count; i++) {
    const fg_store_entry *e = &list->entries[i];
    if (!is_meant(list, e)) continue;
    char size[16], date[32] = "";
    time_t modified = (time_t)e->modified;
    struct tm local;
    if (localtime_r(&modified, &local)) strftime(date, sizeof date, "%Y-%m-%d %H:%M", &local);
    printf("%10s  %s  %-9s  %-12s  %s\n", fg_size_format(e->bytes, size), date, state_of(e),
           e->target ? e->target : "-", file_name(e->path));
    if (e->aliased_layers)
      printf("%10s  apparent size, %u layers are aliased\n", fg_size_format(e->apparent, size),
             e->aliased_layers);
  }
  return FG_OK;
}

// ---- verify ----------------------------------------------------------------------------------------------

static fg_status verify_one(const char *path, fg_io *io, fg_budget *budget, fg_error *err) {
  fg_store *store;
  void *buffer = NULL;
  fg_status status = fg_store_open(&store, path, err);
  if (status != FG_OK) return status;
  uint64_t bytes = fg_store_largest_panel(store);
  status = fg_budget_alloc(budget, bytes, "a panel", &buffer, err);
  if (status == FG_OK) status = fg_store_verify(store, io, buffer, bytes, err);
  fg_budget_free(budget, buffer);
  fg_store_close(store);
  return status;
}

static fg_status run_verify(const store_list *list, const fg_options *o, fg_console *console, fg_error *err) {
  fg_budget *budget = NULL;
  fg_io *io = NULL;
  fg_status status = fg_budget_create(&budget, "host memory", "--host-memory", 0, err);
  if (status == FG_OK) status = fg_io_for(&io, o, budget, err);
  size_t bad = 0;
  for (size_t i = 0; status == FG_OK && i < list->count; i++) {
    const fg_store_entry *e = &list->entries[i];
    if (e->temporary || !is_meant(list, e)) continue;
    fg_error why;
    if (verify_one(e->path, io, budget, &why) == FG_OK) {
      printf("%s: whole\n", file_name(e->path));
    } else {
      fg_console_error(console, why.message);
      bad++;
    }
    fflush(stdout);
  }
  fg_io_destroy(io);
  fg_budget_destroy(budget);
  if (status == FG_OK && bad)
    status = fg_fail(err, FG_CORRUPT, "%zu damaged; flexgen store clear removes them", bad);
  return status;
}

// ---- clear -----------------------------------------------------------------------------------------------

static int older_first(const void *a, const void *b) {
  const fg_store_entry *x = a, *y = b;
  if (x->temporary != y->temporary) return x->temporary ? -1 : 1; // leftovers go first whatever their age
  return (x->modified > y->modified) - (x->modified < y->modified);
}

static fg_status run_clear(const store_list *list, const fg_options *o, fg_console *console, fg_error *err) {
  uint64_t left = 0, removed = 0, kept = 0;
  for (size_t i = 0; i < list->count; i++) left += list->entries[i].bytes;
  if (list->count) qsort(list->entries, list->count, sizeof *list->entries, older_first);
  fg_status status = FG_OK;
  for (size_t i = 0; i < list->count; i++) {
    const fg_store_entry *e = &list->entries[i];
    if (!is_meant(list, e) || (o->cap.set && left <= o->cap.bytes && !e->temporary)) continue;
    fg_error why;
    fg_status one = fg_store_remove(e->path, &why);
    if (one == FG_OK) {
      fg_console_say(console, 1, "removed %s", e->path);
      left -= e->bytes;
      removed += e->bytes;
    } else if (one == FG_BUSY && !list->named_count) {
      fg_console_say(console, 1, "kept %s", why.message);
      kept++;
    } else if (one != FG_NOT_FOUND && status == FG_OK) {
      status = fg_fail(err, one, "%s", why.message);
    }
  }
  char a[16], b[16];
  fg_console_say(console, 1, "%s removed, %s left", fg_size_format(removed, a), fg_size_format(left, b));
  if (status == FG_OK && o->cap.set && left > o->cap.bytes)
    return fg_fail(err, FG_BUSY, "%s are left, more than --cap; %llu stores are in use", b,
                   (unsigned long long)kept);
  return status;
}

// ---- the command -----------------------------------------------------------------------------------------

static const struct {
  const char *name;
  fg_status (*run)(const store_list *list, const fg_options *o, fg_console *console, fg_error *err);
} actions[] = {{"list", run_list}, {"verify", run_verify}, {"clear", run_clear}};

static fg_status act(size_t action, const fg_options *o, fg_console *console, fg_error *err) {
  char dir[PATH_MAX];
  store_list list = {.named = o->arguments + 1, .named_count = o->argument_count - 1};
  fg_status status = fg_offload_dir(dir, sizeof dir, o, console, err);
  if (status == FG_OK) status = fg_store_list(dir, &list.entries, &list.count, err);
  if (status == FG_OK) status = check_named(&list, err);
  if (status == FG_OK) status = actions[action].run(&list, o, console, err);
  fg_store_list_free(list.entries, list.count);
  return status;
}

int fg_command_store(const fg_options *options, fg_console *console) {
  size_t action = 0, count = sizeof actions / sizeof *actions;
  while (action < count &&
         (options->argument_count == 0 || strcmp(options->arguments[0], actions[action].name) != 0))
    action++;
  if (action == count) {
    fg_console_error(console, "one of list, verify, clear is wanted");
    return FG_EXIT_USAGE;
  }
  fg_error err = {FG_OK, ""};
  if (act(action, options, console, &err) == FG_OK) return FG_EXIT_DONE;
  fg_console_error(console, err.message);
  return FG_EXIT_FAILED;
}
