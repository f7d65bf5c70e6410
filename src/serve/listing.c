#include "serve/listing.h"

#include <stdlib.h>
#include <string.h>

#include "serve/exchange.h"

static const char *id_at(const json_t *items, size_t index) {
  return json_string_value(json_object_get(json_array_get(items, index), "id"));
}

static bool read_limit(fg_exchange *x, uint32_t most, uint32_t *limit) {
  const char *text = fg_exchange_query(x, "limit");
  if (!text) return true;
  char *end;
  const unsigned long value = strtoul(text, &end, 10);
  if (*text < '0' || *text > '9' || *end || value < 1 || value > most) {
    fg_exchange_refuse(x, 400, NULL, "limit must be a number from 1 to %u", most);
    return false;
  }
  *limit = (uint32_t)value;
  return true;
}

static bool read_order(fg_exchange *x, bool *oldest_first) {
  const char *text = fg_exchange_query(x, "order");
  *oldest_first = text && strcmp(text, "asc") == 0;
  if (!text || *oldest_first || strcmp(text, "desc") == 0) return true;
  fg_exchange_refuse(x, 400, NULL, "order must be asc or desc");
  return false;
}

// Where the list goes on behind `after`, counted in the order that is asked for.
static bool find_start(fg_exchange *x, const json_t *items, bool oldest_first, size_t *start) {
  const char *after = fg_exchange_query(x, "after");
  const size_t count = json_array_size(items);
  *start = 0;
  if (!after) return true;
  for (size_t i = 0; i < count; i++)
    if (strcmp(id_at(items, oldest_first ? count - 1 - i : i), after) == 0) {
      *start = i + 1;
      return true;
    }
  fg_exchange_refuse(x, 400, NULL, "after: there is no \"%.60s\"", after);
  return false;
}

static json_t *part_of(const json_t *items, bool oldest_first, size_t start, size_t limit) {
  const size_t count = json_array_size(items), end = count - start < limit ? count : start + limit;
  json_t *data = json_array();
  for (size_t i = start; i < end; i++)
    json_array_append(data, json_array_get(items, oldest_first ? count - 1 - i : i));
  if (!data || end == start)
    return json_pack("{s:s,s:o,s:n,s:n,s:b}", "object", "list", "data", data, "first_id", "last_id",
                     "has_more", 0);
  return json_pack("{s:s,s:o,s:s,s:s,s:b}", "object", "list", "data", data, "first_id", id_at(data, 0),
                   "last_id", id_at(data, end - start - 1), "has_more", end < count);
}

void fg_listing_answer(fg_exchange *x, json_t *items, uint32_t limit, uint32_t most) {
  bool oldest_first;
  size_t start;
  if (!items)
    fg_exchange_answer_json(x, 500, NULL);
  else if (read_limit(x, most, &limit) && read_order(x, &oldest_first) &&
           find_start(x, items, oldest_first, &start))
    fg_exchange_answer_json(x, 200, part_of(items, oldest_first, start, limit));
  json_decref(items);
}
