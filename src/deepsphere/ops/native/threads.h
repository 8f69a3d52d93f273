/* One pool of threads for the process: calls from several threads never start more. */

#ifndef DEEPSPHERE_THREADS_H
#define DEEPSPHERE_THREADS_H

#include <stddef.h>
#include <stdint.h>

typedef struct Team Team;

/* Call work(argument, team, thread) on up to `threads` threads, numbered from 0, one of them the
   caller; return when all are done. Where the pool is taken by another call, this one waits for
   it: one after the other they finish sooner than each with a part of the processors. `memory`
   bytes, the same for all and not cleared, are passed on as `workspace`; returns 0 where there are
   none to be had. */
int run_team(int threads, size_t memory,
             void (*work)(void *argument, Team *team, int thread, char *workspace),
             void *argument);

/* How many of so many threads there can be: one at least. */
int team_limit(int64_t threads);

/* How many threads work together. */
int team_size(const Team *team);

/* Wait until all threads of the team have come here. */
void team_barrier(Team *team);

#endif
