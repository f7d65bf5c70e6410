#include "kernels/product.h"

#if defined(FG_HAVE_ONEDNN)

#include <oneapi/dnnl/dnnl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/n64.h"

// The two calls of the OpenMP run time that libdnnl is linked with (libgomp); <omp.h> would be the
// compiler's own run time, which may be another one.
extern void omp_set_num_threads(int count);
extern int omp_get_max_threads(void);

// Objects of one thread: oneDNN keeps the addresses of operands in them.
typedef struct operands {
  dnnl_memory_t x, tile, out, scratch;
} operands;

struct fg_product_shape {
  fg_product *product;
  uint32_t rows, k;
  uint64_t used; // when it was last asked for; 0 = free
  dnnl_primitive_t primitive;
  operands *of_thread; // [threads]
};

struct fg_product {
  uint32_t threads;
  uint64_t asked;
  dnnl_engine_t engine;
  dnnl_stream_t *streams; // [threads]
  fg_product_shape shapes[FG_PRODUCT_SHAPES];
};

static void shape_clear(fg_product_shape *s) {
  for (uint32_t i = 0; s->of_thread && i < s->product->threads; i++) {
    operands *o = &s->of_thread[i];
    if (o->x) dnnl_memory_destroy(o->x);
    if (o->tile) dnnl_memory_destroy(o->tile);
    if (o->out) dnnl_memory_destroy(o->out);
    if (o->scratch) dnnl_memory_destroy(o->scratch);
  }
  free(s->of_thread);
  if (s->primitive) dnnl_primitive_destroy(s->primitive);
  *s = (fg_product_shape){.product = s->product};
}

static dnnl_status_t create_operands(fg_product_shape *s, const_dnnl_primitive_desc_t desc) {
  fg_product *p = s->product;
  static const struct {
    dnnl_query_t what;
    size_t field;
    void *handle;
  } fields[] = {
      {dnnl_query_src_md, offsetof(operands, x), DNNL_MEMORY_NONE},
      {dnnl_query_weights_md, offsetof(operands, tile), DNNL_MEMORY_NONE},
      {dnnl_query_dst_md, offsetof(operands, out), DNNL_MEMORY_NONE},
      {dnnl_query_scratchpad_md, offsetof(operands, scratch), DNNL_MEMORY_ALLOCATE},
  };
  s->of_thread = calloc(p->threads, sizeof *s->of_thread);
  if (!s->of_thread) return dnnl_out_of_memory;
  for (uint32_t t = 0; t < p->threads; t++)
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
      const dnnl_memory_desc_t *md = dnnl_primitive_desc_query_md(desc, fields[i].what, 0);
      dnnl_memory_t *slot = (dnnl_memory_t *)((char *)&s->of_thread[t] + fields[i].field);
      dnnl_status_t status = dnnl_memory_create(slot, md, p->engine, fields[i].handle);
      if (status) return status;
    }
  return dnnl_success;
}

static dnnl_status_t describe(const fg_product *p, uint32_t rows, uint32_t k, dnnl_primitive_desc_t *out) {
  dnnl_memory_desc_t x, tile, y;
  const dnnl_dims_t x_dims = {rows, k}, tile_dims = {k, FG_TILE_ROWS}, y_dims = {rows, FG_TILE_ROWS};
  dnnl_matmul_desc_t matmul;
  dnnl_primitive_attr_t attr;
  dnnl_status_t status = dnnl_memory_desc_init_by_tag(&x, 2, x_dims, dnnl_f32, dnnl_ab);
  if (!status) status = dnnl_memory_desc_init_by_tag(&tile, 2, tile_dims, dnnl_f32, dnnl_BA16a64b);
  if (!status) status = dnnl_memory_desc_init_by_tag(&y, 2, y_dims, dnnl_f32, dnnl_ab);
  if (!status) status = dnnl_matmul_desc_init(&matmul, &x, &tile, NULL, &y);
  if (!status) status = dnnl_primitive_attr_create(&attr);
  if (status) return status;
  status = dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user);
  if (!status) status = dnnl_primitive_desc_create(out, &matmul, attr, p->engine, NULL);
  dnnl_primitive_attr_destroy(attr);
  return status;
}

static bool is_blocked_kernel(const_dnnl_primitive_desc_t desc) {
  const char *name = NULL;
  return dnnl_primitive_desc_query(desc, dnnl_query_impl_info_str, 0, &name) == dnnl_success && name &&
         strncmp(name, "brg:", 4) == 0;
}

static dnnl_status_t shape_create(fg_product_shape *s, uint32_t rows, uint32_t k) {
  dnnl_primitive_desc_t desc;
  dnnl_status_t status = describe(s->product, rows, k, &desc);
  if (status) return status;
  if (!is_blocked_kernel(desc)) status = dnnl_unimplemented;
  if (!status) status = dnnl_primitive_create(&s->primitive, desc);
  if (!status) status = create_operands(s, desc);
  dnnl_primitive_desc_destroy(desc);
  s->rows = rows;
  s->k = k;
  if (status) shape_clear(s);
  return status;
}

static fg_status refused(fg_error *err, dnnl_status_t status, uint32_t rows, uint32_t k) {
  return fg_fail(err, status == dnnl_out_of_memory ? FG_NO_SPACE : FG_UNSUPPORTED,
                 "oneDNN made no kernel for a product of %u rows and k = %u (its status %d)", rows, k,
                 (int)status);
}

fg_status fg_product_prepare(fg_product *product, uint32_t rows, uint32_t k, fg_product_shape **out,
                             fg_error *err) {
  fg_product_shape *oldest = &product->shapes[0];
  for (uint32_t i = 0; i < FG_PRODUCT_SHAPES; i++) {
    fg_product_shape *s = &product->shapes[i];
    if (s->used && s->rows == rows && s->k == k) {
      s->used = ++product->asked;
      *out = s;
      return FG_OK;
    }
    if (s->used < oldest->used) oldest = s;
  }
  int team = omp_get_max_threads();
  omp_set_num_threads(1); // a kernel is made for the number of threads that is set now
  shape_clear(oldest);
  dnnl_status_t status = shape_create(oldest, rows, k);
  omp_set_num_threads(team);
  if (status) return refused(err, status, rows, k);
  oldest->used = ++product->asked;
  *out = oldest;
  return FG_OK;
}

void fg_product_run(fg_product_shape *shape, uint32_t thread, const float *x, const void *tile, float *out) {
  const operands *o = &shape->of_thread[thread];
  dnnl_memory_set_data_handle(o->x, (void *)(uintptr_t)x);
  dnnl_memory_set_data_handle(o->tile, (void *)(uintptr_t)tile);
  dnnl_memory_set_data_handle(o->out, out);
  const dnnl_exec_arg_t args[] = {{DNNL_ARG_SRC, o->x},
                                  {DNNL_ARG_WEIGHTS, o->tile},
                                  {DNNL_ARG_DST, o->out},
                                  {DNNL_ARG_SCRATCHPAD, o->scratch}};
  int team = omp_get_max_threads();
  omp_set_num_threads(1); // of this thread only: oneDNN must not start a team of its own
  dnnl_primitive_execute(shape->primitive, shape->product->streams[thread], 4, args);
  omp_set_num_threads(team);
}

static dnnl_status_t create_streams(fg_product *p) {
  p->streams = calloc(p->threads, sizeof(dnnl_stream_t));
  if (!p->streams) return dnnl_out_of_memory;
  for (uint32_t i = 0; i < p->threads; i++) {
    dnnl_status_t status = dnnl_stream_create(&p->streams[i], p->engine, dnnl_stream_default_flags);
    if (status) return status;
  }
  return dnnl_success;
}

fg_status fg_product_create(fg_product **out, uint32_t threads, fg_error *err) {
  fg_product *p = calloc(1, sizeof *p);
  if (!p) return fg_fail(err, FG_NO_SPACE, "no memory for the table of products");
  p->threads = threads;
  for (uint32_t i = 0; i < FG_PRODUCT_SHAPES; i++) p->shapes[i].product = p;
  dnnl_set_primitive_cache_capacity(0); // shapes are kept here, and counted
  dnnl_status_t status = dnnl_engine_create(&p->engine, dnnl_cpu, 0);
  if (!status) status = create_streams(p);
  // One shape tells whether it has such a kernel for this CPU at all.
  fg_product_shape *probe;
  fg_status result = status ? refused(err, status, 1, FG_TILE_K) : FG_OK;
  if (!result) result = fg_product_prepare(p, 1, FG_TILE_K, &probe, err);
  if (result) {
    fg_product_destroy(p);
    return result;
  }
  *out = p;
  return FG_OK;
}

void fg_product_destroy(fg_product *product) {
  if (!product) return;
  for (uint32_t i = 0; i < FG_PRODUCT_SHAPES; i++) shape_clear(&product->shapes[i]);
  for (uint32_t i = 0; product->streams && i < product->threads; i++)
    if (product->streams[i]) dnnl_stream_destroy(product->streams[i]);
  free(product->streams);
  if (product->engine) dnnl_engine_destroy(product->engine);
  free(product);
}

const char *fg_product_library(char out[static 64]) {
  const dnnl_version_t *v = dnnl_version();
  snprintf(out, 64, "oneDNN %d.%d.%d %.12s isa %x", v->major, v->minor, v->patch, v->hash,
           (unsigned)dnnl_get_effective_cpu_isa());
  return out;
}

#else // built without oneDNN

#include <stdio.h>

fg_status fg_product_create(fg_product **out, uint32_t threads, fg_error *err) {
  (void)threads;
  *out = NULL;
  return fg_fail(err, FG_UNSUPPORTED, "built without oneDNN");
}

void fg_product_destroy(fg_product *product) {
  (void)product;
}

fg_status fg_product_prepare(fg_product *product, uint32_t rows, uint32_t k, fg_product_shape **out,
                             fg_error *err) {
  (void)product, (void)rows, (void)k;
  *out = NULL;
  return fg_fail(err, FG_UNSUPPORTED, "built without oneDNN");
}

void fg_product_run(fg_product_shape *shape, uint32_t thread, const float *x, const void *tile, float *out) {
  (void)shape, (void)thread, (void)x, (void)tile, (void)out; // there is no shape
}

const char *fg_product_library(char out[static 64]) {
  snprintf(out, 64, "own products");
  return out;
}

#endif
