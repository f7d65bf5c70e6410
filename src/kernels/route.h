// route.h: which experts a token takes, and with what weights: a pure function of its logits.
//
// Experts are ranked by a score of their logit (plus a bias that counts for the choice alone), the best of
// them are taken, ties by the lower number. Where experts come in groups, only those of the best groups are
// eligible.
#ifndef FG_KERNELS_ROUTE_H
#define FG_KERNELS_ROUTE_H

#include <stdbool.h>
#include <stdint.h>

enum { FG_MAX_EXPERTS = 1024 };

typedef enum fg_route_kind {
  FG_ROUTE_SOFTMAX, // scores are the softmax over all experts, weights the scores of the chosen
  FG_ROUTE_CHOSEN,  // scores are the logits, weights the softmax over the chosen
  FG_ROUTE_SIGMOID, // scores are each logit's own sigmoid, weights the scores of the chosen
  FG_ROUTE_COUNT
} fg_route_kind;

typedef struct fg_route_form {
  fg_route_kind kind;
  uint32_t experts, used;
  uint32_t groups, top_groups; // of equal numbers of experts; 0 or 1 = no groups
  uint32_t group_best;         // a group's score is the sum of its best so many
  bool normalise;              // weights sum to 1 before they are scaled
  float scale;
} fg_route_form;

// Whether the numbers make sense: used <= experts <= FG_MAX_EXPERTS, groups divide them and hold enough.
bool fg_route_form_ok(const fg_route_form *form);

// logits: [experts]; bias: [experts] or NULL; chosen, weights: [used], best first
void fg_route(const fg_route_form *form, const float *logits, const float *bias, int32_t *chosen,
              float *weights);

#endif
