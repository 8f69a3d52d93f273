#define _GNU_SOURCE
#include "threads.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#define MAX_THREADS 256
#define MAX_KEPT ((size_t)64 << 20) /* bytes of workspace that are kept for the next call */
#define SPINS 4000                  /* checks before a waiting thread yields */
#define HUGE_PAGE ((size_t)2 << 20) /* bytes; fewer page faults in a large workspace */

struct Team {
  int size;
  atomic_int arrived;
  atomic_int turn;
};

static struct {
  pthread_mutex_t taken; /* held by the call that uses the pool */
  pthread_mutex_t lock;  /* protects the following fields */
  pthread_cond_t wake, done;
  int started;           /* threads, excluding callers */
  unsigned long number;  /* number of the call */
  int wanted, finished;
  void (*work)(void *, Team *, int, char *);
  void *argument;
  Team team;
  char *workspace;
  size_t kept;
} pool = {.taken = PTHREAD_MUTEX_INITIALIZER,
          .lock = PTHREAD_MUTEX_INITIALIZER,
          .wake = PTHREAD_COND_INITIALIZER,
          .done = PTHREAD_COND_INITIALIZER};

static inline void pause_briefly(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

int team_limit(int64_t threads) {
  return threads < 1 ? 1 : threads > MAX_THREADS ? MAX_THREADS : (int)threads;
}

int team_size(const Team *team) { return team->size; }

void team_barrier(Team *team) {
  if (team->size == 1) return;
  const int turn = atomic_load_explicit(&team->turn, memory_order_relaxed);
  if (atomic_fetch_add(&team->arrived, 1) == team->size - 1) {
    atomic_store_explicit(&team->arrived, 0, memory_order_relaxed);
    atomic_fetch_add(&team->turn, 1);
    return;
  }
  for (int spins = 0; atomic_load_explicit(&team->turn, memory_order_acquire) == turn; spins++) {
    if (spins < SPINS)
      pause_briefly();
    else
      sched_yield();
  }
}

static void *serve(void *number) {
  const int thread = (int)(intptr_t)number;
  unsigned long seen = 0;
  pthread_mutex_lock(&pool.lock);
  for (;;) {
    while (pool.number == seen) pthread_cond_wait(&pool.wake, &pool.lock);
    seen = pool.number;
    if (thread > pool.wanted) continue;
    pthread_mutex_unlock(&pool.lock);
    pool.work(pool.argument, &pool.team, thread, pool.workspace);
    pthread_mutex_lock(&pool.lock);
    if (++pool.finished == pool.wanted) pthread_cond_signal(&pool.done);
  }
  return NULL;
}

/* A forked child has the pool's memory but none of its threads. */
static void reset_in_child(void) {
  pthread_mutex_init(&pool.taken, NULL);
  pthread_mutex_init(&pool.lock, NULL);
  pthread_cond_init(&pool.wake, NULL);
  pthread_cond_init(&pool.done, NULL);
  pool.started = 0;
  pool.number = 0;
}

static void start_threads(int wanted) {
  static int registered = 0;
  if (!registered) registered = pthread_atfork(NULL, NULL, reset_in_child) == 0;
  while (pool.started < wanted) {
    pthread_t thread;
    /* The new thread waits for the lock, held until this call is numbered, and so takes part. */
    if (pthread_create(&thread, NULL, serve, (void *)(intptr_t)(pool.started + 1))) return;
    pthread_detach(thread);
    pool.started++;
  }
}

static char *allocate(size_t memory) {
  void *block = NULL;
  const size_t alignment = memory >= HUGE_PAGE ? HUGE_PAGE : 64;
  if (posix_memalign(&block, alignment, memory)) return NULL;
#ifdef MADV_HUGEPAGE
  if (memory >= HUGE_PAGE) madvise(block, memory, MADV_HUGEPAGE);
#endif
  return block;
}

int run_team(int threads, size_t memory, void (*work)(void *, Team *, int, char *),
             void *argument) {
  pthread_mutex_lock(&pool.taken);
  if (memory > pool.kept) {
    free(pool.workspace);
    pool.workspace = allocate(memory);
    pool.kept = pool.workspace ? memory : 0;
    if (!pool.workspace) {
      pthread_mutex_unlock(&pool.taken);
      return 0;
    }
  }
  threads = team_limit(threads);
  pthread_mutex_lock(&pool.lock);
  start_threads(threads - 1);
  pool.wanted = threads - 1 < pool.started ? threads - 1 : pool.started;
  pool.finished = 0;
  pool.work = work;
  pool.argument = argument;
  pool.team.size = pool.wanted + 1;
  atomic_store(&pool.team.arrived, 0);
  if (pool.wanted) {
    pool.number++;
    pthread_cond_broadcast(&pool.wake);
  }
  pthread_mutex_unlock(&pool.lock);
  work(argument, &pool.team, 0, pool.workspace);
  if (pool.wanted) {
    pthread_mutex_lock(&pool.lock);
    while (pool.finished < pool.wanted) pthread_cond_wait(&pool.done, &pool.lock);
    pthread_mutex_unlock(&pool.lock);
  }
  if (pool.kept > MAX_KEPT) {
    free(pool.workspace);
    pool.workspace = NULL;
    pool.kept = 0;
  }
  pthread_mutex_unlock(&pool.taken);
  return 1;
}
