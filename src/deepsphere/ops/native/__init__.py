"""The hot operation compiled for the processor: fastest, where a C compiler is at hand.

The C sources here are compiled on first use, in a few seconds, and kept with the graphs
(`deepsphere.ops.native.build`); where that cannot be done, or for what they do not do (other
devices than the processor, double precision, models exported for other runtimes), the portable
forms in `deepsphere.ops` take their place. `walk.c` is the operation, `tile.c` its inner loops,
`rows.c` bias, activation and normalization, `threads.c` who works; `call.c` is what the backends
call, each by a file of its name here.
"""
