/* One pool of threads per process, which concurrent calls share. */

#ifndef DEEPSPHERE_THREADS_H
#define DEEPSPHERE_THREADS_H

#include <stddef.h>
#include <stdint.h>

typedef struct Team Team;

/* Call work(argument, team, thread, workspace) on up to `threads` threads, numbered from 0 and
   including the caller, and return when all are done. If another call uses the pool, wait for it:
   consecutive calls finish sooner than concurrent ones that share the processors. The workspace has
   `memory` bytes, is shared by all threads, and is not cleared. Returns 0 if it cannot be
   allocated. */
int run_team(int threads, size_t memory,
             void (*work)(void *argument, Team *team, int thread, char *workspace),
             void *argument);

#define UNALLOCATED ((char *)64) /* a dummy address: only the size of the arrays is asked */

/* Cut a 64-byte aligned array off a workspace. */
static inline void *take_array(char **memory, size_t count, size_t size) {
  void *array = *memory;
  *memory += (count * size + 63) / 64 * 64;
  return array;
}

/* `threads`, limited to the range from one to the maximum of the pool. */
int team_limit(int64_t threads);

/* The number of threads in the team. */
int team_size(const Team *team);

/* Wait until all threads of the team have reached this barrier. */
void team_barrier(Team *team);

#endif
