#include "device/op.h"

static const char *const names[FG_OP_COUNT] = {
    [FG_OP_NORM] = "norm",         [FG_OP_MATMUL] = "matmul",        [FG_OP_ROPE] = "rope",
    [FG_OP_KV_STORE] = "kv store", [FG_OP_KV_COPY] = "kv copy",      [FG_OP_ATTENTION] = "attention",
    [FG_OP_ACT] = "activation",    [FG_OP_GLU] = "gated activation", [FG_OP_ADD] = "add",
    [FG_OP_MAP] = "map",           [FG_OP_SELECT] = "select",        [FG_OP_ROUTE] = "route",
    [FG_OP_SCATTER] = "scatter",
};

const char *fg_op_name(fg_op op) {
  return (unsigned)op < FG_OP_COUNT ? names[op] : "unknown operation";
}
