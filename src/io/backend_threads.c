// Pieces run by a few threads with pread and pwrite: slower to start than io_uring, works anywhere.
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/backend.h"

enum { MOST_THREADS = 16, STACK_BYTES = 256 << 10 };

typedef struct pool {
  pthread_mutex_t mutex;
  pthread_cond_t work, finished;
  fg_io_piece *todo, **todo_tail; // first in, first out
  fg_io_piece *done, **done_tail;
  bool stop;
  uint32_t thread_count;
  pthread_t threads[MOST_THREADS];
} pool;

static fg_io_piece *pop(fg_io_piece **head, fg_io_piece ***tail) {
  fg_io_piece *piece = *head;
  if (!piece) return NULL;
  *head = piece->next;
  if (!*head) *tail = head;
  return piece;
}

static void push(fg_io_piece ***tail, fg_io_piece *piece) {
  piece->next = NULL;
  **tail = piece;
  *tail = &piece->next;
}

static void move_bytes(fg_io_piece *piece) {
  off_t offset = (off_t)piece->offset;
  ssize_t moved = piece->write ? pwrite(piece->fd, piece->address, piece->bytes, offset)
                               : pread(piece->fd, piece->address, piece->bytes, offset);
  piece->result = moved < 0 ? -errno : (int32_t)moved;
}

static void *thread_main(void *arg) {
  pool *p = arg;
  pthread_mutex_lock(&p->mutex);
  for (;;) {
    fg_io_piece *piece = pop(&p->todo, &p->todo_tail);
    if (piece) {
      pthread_mutex_unlock(&p->mutex);
      move_bytes(piece);
      pthread_mutex_lock(&p->mutex);
      push(&p->done_tail, piece);
      pthread_cond_signal(&p->finished);
    } else if (p->stop) {
      break;
    } else {
      pthread_cond_wait(&p->work, &p->mutex);
    }
  }
  pthread_mutex_unlock(&p->mutex);
  return NULL;
}

static int start_threads(pool *p, uint32_t count) {
  pthread_attr_t attributes;
  int error = pthread_attr_init(&attributes);
  if (error) return error;
  pthread_attr_setstacksize(&attributes, STACK_BYTES);
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before); // signals belong to the application's threads
  while (p->thread_count < count && !error) {
    error = pthread_create(&p->threads[p->thread_count], &attributes, thread_main, p);
    if (!error) p->thread_count++;
  }
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  pthread_attr_destroy(&attributes);
  return p->thread_count > 0 ? 0 : error; // fewer than wanted are enough
}

static void pool_destroy(void *state) {
  pool *p = state;
  pthread_mutex_lock(&p->mutex);
  p->stop = true;
  pthread_cond_broadcast(&p->work);
  pthread_mutex_unlock(&p->mutex);
  for (uint32_t i = 0; i < p->thread_count; i++) pthread_join(p->threads[i], NULL);
  pthread_cond_destroy(&p->finished);
  pthread_cond_destroy(&p->work);
  pthread_mutex_destroy(&p->mutex);
  free(p);
}

static fg_status pool_create(void **state, uint32_t depth, fg_error *err) {
  pool *p = calloc(1, sizeof *p);
  if (!p) return fg_fail(err, FG_NO_SPACE, "no memory for the I/O threads");
  p->todo_tail = &p->todo;
  p->done_tail = &p->done;
  pthread_mutex_init(&p->mutex, NULL);
  pthread_cond_init(&p->work, NULL);
  pthread_cond_init(&p->finished, NULL);
  int error = start_threads(p, depth < MOST_THREADS ? depth : MOST_THREADS);
  if (error) {
    pool_destroy(p);
    return fg_fail(err, FG_NO_SPACE, "cannot start an I/O thread: %s", strerror(error));
  }
  *state = p;
  return FG_OK;
}

static void pool_submit(void *state, fg_io_piece *piece) {
  pool *p = state;
  pthread_mutex_lock(&p->mutex);
  push(&p->todo_tail, piece);
  pthread_cond_signal(&p->work);
  pthread_mutex_unlock(&p->mutex);
}

static void pool_kick(void *state) {
  (void)state;
}

static fg_io_piece *pool_poll(void *state) {
  pool *p = state;
  pthread_mutex_lock(&p->mutex);
  fg_io_piece *piece = pop(&p->done, &p->done_tail);
  pthread_mutex_unlock(&p->mutex);
  return piece;
}

static fg_io_piece *pool_wait(void *state) {
  pool *p = state;
  fg_io_piece *piece;
  pthread_mutex_lock(&p->mutex);
  while (!(piece = pop(&p->done, &p->done_tail))) pthread_cond_wait(&p->finished, &p->mutex);
  pthread_mutex_unlock(&p->mutex);
  return piece;
}

static int pool_enroll(void *state, void *base, size_t bytes, uint64_t *registered) {
  (void)state, (void)base, (void)bytes; // pread knows no registered memory
  *registered = 0;
  return 0;
}

static void pool_dismiss(void *state, const void *base, size_t bytes, uint64_t *registered) {
  (void)state, (void)base, (void)bytes;
  *registered = 0;
}

const fg_io_backend fg_io_threads = {
    .name = "threads",
    .create = pool_create,
    .destroy = pool_destroy,
    .submit = pool_submit,
    .kick = pool_kick,
    .poll = pool_poll,
    .wait = pool_wait,
    .enroll = pool_enroll,
    .dismiss = pool_dismiss,
};
