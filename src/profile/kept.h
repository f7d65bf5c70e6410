#include "plan/profile.h"
struct fg_engine;
static inline bool fg_engine_find_profile(struct fg_engine *e, fg_profile *p){(void)e;(void)p;return false;}
