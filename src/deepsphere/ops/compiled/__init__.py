"""Operations compiled from C for the CPU, the fastest if a C compiler is available.

The C sources are compiled on first use, in a few seconds, and cached with the graphs
(`deepsphere.ops.compiled.build`). The portable implementations in `deepsphere.ops` are used if
compilation fails and for everything the C code does not support: devices other than the CPU,
double precision, and models exported to other runtimes. `walk.c` implements filters and products,
`tile.c` their inner loops, `rows.c` bias, activation and normalization, `threads.c` the threads,
and `call.c` the interface for the backends, each of which has a file of its name.
"""
