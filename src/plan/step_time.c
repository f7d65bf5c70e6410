#include "plan/step_time.h"

#include <math.h>

static void add_products(const fg_profile *profile, const fg_plan_model *model,
                         const fg_plan_products *products, double *points) {
  for (int p = 0; p < FG_PROFILE_ROW_POINTS; p++) {
    points[p] = 0;
    for (uint32_t i = 0; i < products->count; i++) {
      const fg_plan_matrices *m = &products->kinds[i];
      points[p] +=
          fg_profile_product_seconds(profile, m->dtype, model->compute, m->k, m->values, fg_profile_rows[p]);
    }
    points[p] *= fg_profile_in_step(profile, model->compute, fg_profile_rows[p]);
    // Twice the rows are at most twice the work: more is what others did to the machine meanwhile.
    if (p > 0) points[p] = fmin(points[p], points[p - 1] * fg_profile_rows[p] / fg_profile_rows[p - 1]);
  }
}

fg_step_rates fg_step_rates_of(const fg_profile *profile, const fg_plan_model *model) {
  fg_step_rates r = {.model = model,
                     .disk_read = profile->disk_read,
                     .disk_write = profile->disk_write,
                     .read_slowdown = profile->read_slowdown,
                     .memory_copy = profile->memory_copy,
                     .link = profile->link};
  add_products(profile, model, &model->body, r.body);
  add_products(profile, model, &model->head, r.head);
  add_products(profile, model, &model->experts, r.experts);
  for (uint32_t i = 0; i < model->attention_count; i++) {
    const fg_plan_attention *a = &model->attention[i];
    r.key[i] = a->layers * fg_profile_decode_seconds(profile, &model->kv, a->heads, 1);
    r.pair[i] = a->layers * fg_profile_prefill_seconds(profile, &model->kv, a->heads, 1);
  }
  const double stored = model->layers * (double)model->kv.kv_heads *
                        (model->kv.k_dim + (model->kv.v_in_k ? 0 : model->kv.v_dim));
  const double input = profile->input_value[model->compute];
  r.token =
      model->row_values * profile->row_value + model->input_values * input + stored * profile->store_value;
  r.selected = model->head_row_values * profile->row_value + model->head_input_values * input +
               model->vocab * profile->logit;
  r.step = model->operations * profile->launch;
  r.batch = 2 * model->layers * profile->launch; // keys and values are stored, and attended to
  return r;
}

double fg_plan_experts_touched(const fg_plan_model *model, double tokens) {
  if (!model->expert_count) return 0;
  const double share = (double)model->experts_used / model->expert_count;
  return share >= 1 ? model->expert_count : model->expert_count * (1 - pow(1 - share, tokens));
}

double fg_step_scale_at(const fg_step_scale *s, double tokens) {
  if (!s->count) return 1;
  if (tokens <= s->tokens[0]) return s->times[0];
  uint32_t i = 1;
  while (i < s->count && tokens > s->tokens[i]) i++;
  if (i == s->count) return s->times[i - 1];
  const double share = log(tokens / s->tokens[i - 1]) / log(s->tokens[i] / s->tokens[i - 1]);
  return s->times[i - 1] + share * (s->times[i] - s->times[i - 1]);
}

// Each expert that is used is used by about as many tokens.
static double expert_seconds(const fg_step_rates *r, double tokens) {
  const double touched = fg_plan_experts_touched(r->model, tokens);
  if (touched <= 0) return 0;
  const double rows = tokens * r->model->experts_used / touched;
  return touched / r->model->expert_count * fg_profile_at_rows(r->experts, rows);
}

// Seconds of a step in two parts: with the matrices, which need weights; and of all else.
typedef struct halves {
  double products, others;
} halves;

static halves compute_halves(const fg_step_rates *r, const fg_step_work *work) {
  halves h = {.products = fg_profile_at_rows(r->body, work->tokens) +
                          fg_profile_at_rows(r->head, work->selected) + expert_seconds(r, work->tokens),
              .others = r->step + work->batches * r->batch + work->tokens * r->token +
                        work->selected * r->selected};
  for (uint32_t i = 0; i < r->model->attention_count; i++)
    h.others += work->keys[i] * r->key[i] + work->pairs[i] * r->pair[i];
  const double times = fg_step_scale_at(&r->scale, work->tokens);
  h.products *= times;
  h.others *= times;
  return h;
}

// A rate of 0 is none that anything waits for.
static double moving(double bytes, double rate) {
  return bytes > 0 && rate > 0 ? bytes / rate : 0;
}

// Weights and pages that come from the disk, or over the link: seconds in which both halves of a step wait
// for what had no room ahead.
typedef struct bringing {
  halves seconds;
  double rate;
} bringing;

static halves waits_for(const fg_step_rates *r, const fg_step_work *work, const bringing *b) {
  const double ahead = r->model->layers;
  return (halves){.products = b->seconds.products - moving(ahead * work->weights_ahead, b->rate),
                  .others = b->seconds.others - moving(ahead * work->pages_ahead, b->rate)};
}

// What goes over the link for pages while matrices are multiplied comes in a burst, when a layer has attended
// and its frames are free; weights queue up behind it. Seconds of the bursts of all layers, and how much
// longer products take because of them: from when the weights in the ring are used up.
typedef struct burst {
  double seconds, stall;
} burst;

static burst burst_of(const fg_step_rates *r, const fg_step_work *work, double products) {
  const double layers = r->model->layers, weights = (work->link_bytes - work->link_cache_bytes) / layers;
  const double pages = moving(fmin(work->pages_ahead, work->link_cache_bytes / layers), r->link);
  const double on_ring = weights > 0 ? fmin(1, work->weights_ahead / weights) * products / layers : pages;
  return (burst){.seconds = layers * pages, .stall = layers * fmax(0, pages - on_ring)};
}

fg_step_seconds fg_step_time(const fg_step_rates *r, const fg_step_work *work) {
  halves compute = compute_halves(r, work);
  const halves disk = {.products = moving(work->read_bytes - work->cache_bytes, r->disk_read),
                       .others = moving(work->cache_bytes, r->disk_read) +
                                 moving(work->written_bytes, r->disk_write)};
  fg_step_seconds s = {.disk = disk.products + disk.others};
  // Computing is slower for as long as the disk is read beside it.
  const double computing = compute.products + compute.others;
  s.compute = computing + r->read_slowdown * fmin(s.disk, computing / (1 - r->read_slowdown));
  const double slower = computing > 0 ? s.compute / computing : 1;
  // Each half waits for those of its bytes that the other half had no room for.
  const bringing from_disk = {disk, r->disk_read};
  const bringing by_link = {
      .seconds = {.products = moving(work->link_bytes - work->link_cache_bytes, r->link),
                  .others = moving(work->link_cache_bytes, r->link)},
      .rate = r->link};
  const halves d = waits_for(r, work, &from_disk), l = waits_for(r, work, &by_link);
  const burst ahead = burst_of(r, work, slower * compute.products);
  const double products =
      fmax(slower * compute.products + ahead.stall, fmax(d.products, l.products + ahead.seconds));
  const double others = fmax(slower * compute.others, fmax(d.others, l.others));
  s.link = fmax(by_link.seconds.products + by_link.seconds.others, moving(work->link_out_bytes, r->link));
  s.seconds = fmax(fmax(products + others, s.disk), s.link);
  return s;
}

// Of positions 0 ... n - 1.
static double keys_before(double window, double n) {
  if (window <= 0 || n <= window) return n * (n + 1) / 2;
  return window * (window + 1) / 2 + (n - window) * window;
}

double fg_plan_visible_keys(uint32_t window, double position, double count) {
  return keys_before(window, position + count) - keys_before(window, position);
}
