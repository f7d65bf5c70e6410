// A store as it would be packed: weights and panels without a file, for planning.
#include <stdio.h>
#include <stdlib.h>

#include "base/checked.h"
#include "model/pack.h"

static fg_status add_panels(fg_store *store, fg_weight *w, const fg_layout *layout, uint32_t each,
                            fg_error *err) {
  w->panel = store->panel_count;
  w->panels = w->n / each + (w->n % each != 0);
  fg_panel *grown = realloc(store->panels, ((size_t)store->panel_count + w->panels) * sizeof *grown);
  if (!grown) return fg_fail(err, FG_NO_SPACE, "no memory for a list of %u panels", w->panels);
  store->panels = grown;
  if (layout) snprintf(w->layout, sizeof w->layout, "%s", layout->name);
  for (uint32_t row = 0; row < w->n; row += each) {
    fg_panel *panel = &store->panels[store->panel_count++];
    *panel = (fg_panel){.row = row, .rows = w->n - row < each ? w->n - row : each};
    if (layout)
      panel->bytes = layout->bytes(w->dtype, panel->rows, w->k);
    else if (!fg_dtype_bytes(w->dtype, w->k, &panel->bytes) ||
             __builtin_mul_overflow(panel->bytes, panel->rows, &panel->bytes))
      return fg_fail(err, FG_INVALID, "weight %s is too large", w->name);
  }
  return FG_OK;
}

fg_status fg_model_expected_store(fg_store **out, const fg_model *model, const fg_model_options *options,
                                  fg_error *err) {
  *out = NULL;
  const fg_layout_family *family = options->family ? options->family : fg_layout_family_plain();
  const uint64_t panel = fg_pack_panel_bytes(model->graph, options->panel_bytes);
  fg_store *store = calloc(1, sizeof *store);
  if (store) store->weights = calloc((size_t)model->weight_count + 1, sizeof *store->weights);
  fg_status status = FG_OK;
  if (!store || !store->weights)
    status = fg_fail(err, FG_NO_SPACE, "no memory for a list of %u weights", model->weight_count);
  for (uint32_t i = 0; status == FG_OK && i < model->weight_count; i++) {
    fg_weight *w = &store->weights[store->weight_count++];
    *w = model->weights[i];
    const fg_layout *layout = w->kind == FG_WEIGHT_MATRIX ? family->choose(w->dtype, w->n, w->k) : NULL;
    status = add_panels(store, w, layout, layout ? fg_pack_panel_rows(layout, w, panel) : w->n, err);
  }
  if (status != FG_OK) {
    fg_store_close(store);
    return status;
  }
  *out = store;
  return FG_OK;
}
