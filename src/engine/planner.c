#include "engine/planner.h"

#include <math.h>
#include <stddef.h>

// Steps of a job that are gone through for one of many policies, and for the one that was chosen.
enum { STEPS_TRIED = 160, STEPS_CHOSEN = 20000, MOST_TRIED = 1000 };

static const double LARGER_STEP = 0.01;
static const double ORDER_GAIN = 0.005;

static const uint32_t token_choices[] = {16, 32, 64, 128, 256, 512, 1024, 2048, 4096};
static const uint32_t seq_choices[] = {1,  2,  3,   4,   6,   8,   12,  16,  24,   32,   48,
                                       64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048};
enum {
  TOKEN_CHOICES = sizeof token_choices / sizeof *token_choices,
  SEQ_CHOICES = sizeof seq_choices / sizeof *seq_choices,
};

// ---- one policy --------------------------------------------------------------------------------------

fg_status fg_planner_predict(fg_plan *plan, const fg_planner_input *in, uint32_t most_steps, fg_error *err) {
  plan->traffic = fg_plan_traffic_of(in->model, &in->plan, &plan->policy);
  const fg_predict_options options = {.rates = in->rates,
                                      .policy = &plan->policy,
                                      .traffic = plan->traffic,
                                      .page_tokens = in->plan.page_tokens,
                                      .most_steps = most_steps,
                                      .drafts = in->drafts && most_steps >= STEPS_CHOSEN};
  fg_status status = fg_predict(&plan->predicted, &options, in->job, err);
  const fg_prediction *p = &plan->predicted;
  plan->bound = p->disk_seconds > p->compute_seconds ? FG_LANE_DISK : FG_LANE_DEVICE;
  if (p->link_seconds > fmax(p->disk_seconds, p->compute_seconds)) plan->bound = FG_LANE_IN;
  return status;
}

// ---- placement by a linear program ---------------------------------------------------------------------

typedef struct means {
  double prompt, generated;
  double own; // of prompt: not shared with the row before
} means;

static means means_of(const fg_plan_job *job) {
  means m = {0, 0, 0};
  for (uint32_t i = 0; i < job->count; i++) {
    m.prompt += job->rows[i].prompt;
    m.generated += job->rows[i].generated;
    m.own += job->rows[i].prompt - fmin(job->rows[i].shared, job->rows[i].prompt);
  }
  m.own /= job->count;
  m.prompt /= job->count;
  m.generated /= job->count;
  if (m.generated < 1) m.generated = 1; // a row that is only scored passes once
  return m;
}

// A step in the middle of the job: of `sequences` at once, each at another point of its way.
static fg_step_cost middle_step(const fg_planner_input *in, const fg_policy *p, means m) {
  const fg_plan_input *plan = &in->plan;
  const fg_step_rates *rates = in->rates;
  const double for_one = 1 + m.own / m.generated;
  const double tokens = fmin(p->max_tokens, p->max_seqs * for_one), decoded = tokens / for_one;
  const double context = m.prompt + m.generated / 2;
  const double page = (double)(plan->disk ? plan->padded_page_bytes : plan->page_bytes) / plan->page_tokens;
  const double weights = (double)plan->panel_bytes;
  fg_step_work work = {.tokens = tokens, .selected = decoded};
  for (uint32_t a = 0; a < in->model->attention_count; a++) {
    const uint32_t window = in->model->attention[a].window;
    work.keys[a] = decoded * (window && window < context ? window : context);
    work.pairs[a] = decoded / m.generated * fg_plan_visible_keys(window, m.prompt - m.own, m.own);
  }
  const double disk = rates->disk_read > 0 ? rates->disk_read : INFINITY;
  const double link = rates->link > 0 ? rates->link : rates->memory_copy > 0 ? rates->memory_copy : INFINITY;
  fg_step_cost cost = {.tokens = tokens};
  cost.fixed[FG_LANE_DEVICE] = fg_step_time(rates, &work).compute;
  double(*s)[FG_SHARE_COUNT] = cost.seconds;
  s[FG_LANE_DISK][FG_WEIGHTS_DISK] = weights / disk;
  s[FG_LANE_DISK][FG_CACHE_DISK] =
      decoded * context * page / disk + tokens * page / (rates->disk_write > 0 ? rates->disk_write : disk);
  if (!plan->one_memory) {
    s[FG_LANE_IN][FG_WEIGHTS_HOST] = s[FG_LANE_IN][FG_WEIGHTS_DISK] = weights / link;
    // By the device alone: what the CPU attends to is not chosen here.
    for (int share = FG_CACHE_HOST; share <= FG_CACHE_DISK; share++)
      s[FG_LANE_IN][share] = decoded * context * page / link;
  }
  // Pages are whole, and each sequence has one to grow.
  const double held =
      (p->max_seqs * (m.own + m.generated + 1.5 * plan->page_tokens) + m.prompt - m.own) * page;
  static const fg_tier tier_of[FG_SHARE_COUNT] = {FG_TIER_DEVICE, FG_TIER_HOST, FG_TIER_DISK, FG_TIER_DEVICE,
                                                  FG_TIER_HOST,   FG_TIER_HOST, FG_TIER_DISK};
  for (int share = 0; share < FG_SHARE_COUNT; share++)
    cost.bytes[tier_of[share]][share] = share < FG_CACHE_DEVICE ? weights : held;
  cost.bytes[FG_TIER_DISK][FG_WEIGHTS_DISK] = 0; // all of them are in the store anyway
  return cost;
}

// Room for weights and the cache: what the policy left to them.
static void set_room(fg_step_cost *cost, const fg_planner_input *in, const fg_policy *p) {
  const double cache =
      (double)in->plan.page_bytes * (p->device_pages + p->open_slots) + (double)p->stage_bytes;
  cost->room[FG_TIER_DEVICE] = (double)p->device_weight_bytes + cache;
  const uint64_t spare =
      in->plan.one_memory ? in->plan.host - p->host_needed : in->plan.device - p->device_needed;
  cost->room[FG_TIER_DEVICE] += (double)spare;
  cost->room[FG_TIER_HOST] = in->plan.one_memory
                                 ? 0
                                 : (double)(p->host_weight_bytes + in->plan.host - p->host_needed) +
                                       (double)in->plan.page_bytes * p->host_pages;
  cost->room[FG_TIER_DISK] = (double)in->plan.disk;
}

// Pages in fast memory and on disk by the linear program; false: it found none. What is elsewhere goes to
// host memory first, as far as it has room (plan/policy.h).
static bool place(const fg_planner_input *in, const fg_policy *p, means m, uint32_t *device, uint32_t *disk) {
  fg_step_cost cost = middle_step(in, p, m);
  set_room(&cost, in, p);
  fg_placement placement;
  if (fg_placement_find(in->solver, &cost, &placement, NULL) != FG_OK) return false;
  const double page = (double)(in->plan.disk ? in->plan.padded_page_bytes : in->plan.page_bytes);
  const double held = cost.bytes[FG_TIER_DEVICE][FG_CACHE_DEVICE] / page;
  *device = (uint32_t)(held * placement.shares[FG_CACHE_DEVICE]);
  // The solver's zero is not quite one.
  double elsewhere = placement.shares[FG_CACHE_DISK];
  if (!in->plan.one_memory)
    elsewhere += placement.shares[FG_CACHE_HOST] + placement.shares[FG_CACHE_HOST_CPU];
  *disk = (uint32_t)(held * elsewhere + 0.99);
  return true;
}

// ---- the search ----------------------------------------------------------------------------------------

// A step of twice the tokens must be worth a hundredth: it works on twice the memory, which comes from the
// system page by page and leaves the caches, and that is not in the rates.
static double cost_of(const fg_plan *plan) {
  return plan->predicted.seconds * (1 + LARGER_STEP * log2(plan->policy.max_tokens));
}

static bool is_better(const fg_plan *a, const fg_plan *b) {
  return !b->tried || cost_of(a) < cost_of(b);
}

// Not one that takes shorter rows than the best so far does: the first one takes the longest that can be.
static void try_policy(fg_plan *best, const fg_planner_input *in, fg_error *err) {
  fg_plan plan = {.tried = best->tried};
  if (fg_policy_make(&in->plan, &plan.policy, err) != FG_OK) return;
  if (best->tried && plan.policy.max_len < best->policy.max_len) return;
  if (fg_planner_predict(&plan, in, STEPS_TRIED, err) != FG_OK) return;
  const bool better = is_better(&plan, best);
  plan.tried = ++best->tried;
  if (better) *best = plan;
}

// Whether the user says nothing of the cache's tiers.
static bool free_pages(const fg_plan_input *fixed) {
  return !fixed->device_pages && !fixed->disk_pages && !fixed->percent;
}

static void try_shape(fg_plan *best, const fg_planner_input *in, means m, fg_error *err) {
  fg_planner_input mine = *in;
  fg_policy rule;
  try_policy(best, &mine, err);
  if (!free_pages(&in->plan) || fg_policy_make(&mine.plan, &rule, err) != FG_OK) return;
  uint32_t device, disk;
  if (!place(&mine, &rule, m, &device, &disk)) return;
  mine.plan.device_pages = device ? device : 1;
  mine.plan.disk_pages = disk;
  try_policy(best, &mine, err);
}

// A number of a policy that is moved, and the wish that holds it.
typedef struct knob {
  size_t wish, chosen; // in fg_plan_input, in fg_policy
  bool bytes;          // of 64 bits
  bool pages;          // free only where the user says nothing of the cache's tiers
} knob;

#define KNOB(wish, chosen) offsetof(fg_plan_input, wish), offsetof(fg_policy, chosen)

static const knob knobs[] = {
    {KNOB(max_tokens, max_tokens), false, false},
    {KNOB(max_seqs, max_seqs), false, false},
    {KNOB(device_pages, device_pages), false, true},
    {KNOB(wished_ring, ring_bytes), true, false},
    {KNOB(frames, frames), false, false},
    {KNOB(frame_pages, frame_pages), false, false},
};
enum { KNOBS = sizeof knobs / sizeof *knobs };

static uint64_t value_at(const void *object, size_t offset, bool bytes) {
  const char *at = (const char *)object + offset;
  return bytes ? *(const uint64_t *)(const void *)at : *(const uint32_t *)(const void *)at;
}

static bool is_free(const fg_plan_input *fixed, const knob *k) {
  return k->pages ? free_pages(fixed) : !value_at(fixed, k->wish, k->bytes);
}

static void wish(fg_plan_input *in, const knob *k, double value) {
  char *at = (char *)in + k->wish;
  const double most = k->bytes ? (double)INT64_MAX / 4 : (double)UINT32_MAX / 4;
  const double whole = value < 1 ? 1 : value > most ? most : value + 0.5;
  if (k->bytes)
    *(uint64_t *)(void *)at = (uint64_t)whole;
  else
    *(uint32_t *)(void *)at = (uint32_t)whole;
}

// The best so far with one of its numbers times a factor; false: that one is fixed, or not there.
static bool turn(fg_plan_input *out, const fg_plan_input *fixed, const fg_policy *best, const knob *turned,
                 double factor) {
  *out = *fixed;
  if (free_pages(fixed)) out->disk_pages = best->disk_pages;
  for (int i = 0; i < KNOBS; i++) {
    const knob *k = &knobs[i];
    const double chosen = (double)value_at(best, k->chosen, k->bytes);
    const bool movable = is_free(fixed, k) && chosen > 0;
    if (k == turned && !movable) return false;
    if (movable) wish(out, k, chosen * (k == turned ? factor : 1));
  }
  return true;
}

// From the best so far in steps of one number at a time, as long as that helps.
static void improve(fg_plan *best, const fg_planner_input *in, fg_error *err) {
  static const double factors[] = {0.7, 1.4, 0.85, 1.2, 0.95, 1.05};
  for (size_t i = 0; i < sizeof factors / sizeof *factors;) {
    const double before = cost_of(best);
    for (int k = 0; k < KNOBS; k++) {
      fg_planner_input mine = *in;
      if (turn(&mine.plan, &in->plan, &best->policy, &knobs[k], factors[i])) try_policy(best, &mine, err);
    }
    if (cost_of(best) >= before || best->tried > MOST_TRIED) i++;
  }
}

// The whole job by the chosen policy. Rows as they come are written as they end; so the longest come first
// only where that is worth something.
static fg_status choose_order(fg_plan *best, const fg_planner_input *in, fg_error *err) {
  fg_status status = fg_planner_predict(best, in, STEPS_CHOSEN, err);
  if (status != FG_OK || in->plan.order) return status;
  fg_plan longest = *best;
  longest.policy.order = FG_ORDER_LONGEST;
  longest.tried++;
  if (fg_planner_predict(&longest, in, STEPS_CHOSEN, err) != FG_OK) return FG_OK;
  if (longest.predicted.seconds < (1 - ORDER_GAIN) * best->predicted.seconds) *best = longest;
  return FG_OK;
}

static uint32_t most_seqs(const fg_planner_input *in) {
  const uint64_t requests = in->job->requests;
  return requests && requests < UINT32_MAX ? (uint32_t)requests : UINT32_MAX;
}

fg_status fg_planner_choose(fg_plan *out, const fg_planner_input *in, fg_error *err) {
  *out = (fg_plan){0};
  fg_policy rule;
  fg_status status = fg_policy_make(&in->plan, &rule, err); // what can never run is refused in its words
  if (status != FG_OK) return status;
  if (rule.micro_tokens) { // of layer passes the rule alone decides
    *out = (fg_plan){.policy = rule, .tried = 1};
    return fg_planner_predict(out, in, STEPS_CHOSEN, err);
  }
  const means m = means_of(in->job);
  fg_planner_input mine = *in;
  fg_error unused;
  try_shape(out, &mine, m, &unused);
  for (int t = 0; t < TOKEN_CHOICES; t++) {
    if (!in->plan.max_tokens) mine.plan.max_tokens = token_choices[t];
    for (int s = 0; s < SEQ_CHOICES; s++) {
      if (!in->plan.max_seqs) mine.plan.max_seqs = seq_choices[s];
      const bool more =
          mine.plan.max_seqs <= mine.plan.max_tokens && (s == 0 || seq_choices[s - 1] < most_seqs(in));
      if (more) try_shape(out, &mine, m, &unused);
      if (!more || in->plan.max_seqs) break;
    }
    if (in->plan.max_tokens) break;
  }
  if (out->tried) improve(out, in, &unused);
  if (!out->tried) return fg_fail(err, FG_NO_SPACE, "no policy was found by which the job could run");
  return choose_order(out, in, err);
}
