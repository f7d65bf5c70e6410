// product.h: tile products of float32 by oneDNN.
//
// A product is [rows, k] times a tile [k, 64] for one of few numbers of rows (a shape), run by one thread on
// its own; whoever calls splits a matrix into tiles. oneDNN compiles a kernel for each shape the first
// time it is asked for; shapes are kept here, so that a step compiles nothing. Only its blocked kernels for
// packed weights ("brg") are taken: of these the tests show that a row's sums are the same bits
// whatever the number of rows. Scratch that oneDNN wants is given by us, its own cache is off, and
// each call runs on the calling thread alone.
//
// Threads: one owner; fg_product_run from any thread of the team, each with its own number.
#ifndef FG_KERNELS_PRODUCT_H
#define FG_KERNELS_PRODUCT_H

#include <stdbool.h>
#include <stdint.h>

#include "flexgen/error.h"

typedef struct fg_product fg_product;
typedef struct fg_product_shape fg_product_shape;

enum { FG_PRODUCT_SHAPES = 48 }; // kept; beyond that the one least recently asked for goes

// FG_UNSUPPORTED when oneDNN has no such kernel on this CPU, or this was built without it.
fg_status fg_product_create(fg_product **out, uint32_t threads, fg_error *err);
void fg_product_destroy(fg_product *product);
// Finds or makes a shape. It stands at least until FG_PRODUCT_SHAPES others have been asked for.
fg_status fg_product_prepare(fg_product *product, uint32_t rows, uint32_t k, fg_product_shape **out,
                             fg_error *err);
// out[rows, 64] = x[rows, k] tile[k, 64]. k is the shape's, a multiple of 32; x is dense.
void fg_product_run(fg_product_shape *shape, uint32_t thread, const float *x, const void *tile, float *out);

// The library's version, build and instruction set, for who keeps results beyond the process: others may have
// other bits.
const char *fg_product_library(char out[static 64]);

#endif
