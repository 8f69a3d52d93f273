"""Operations compiled from C for the CPU, the fastest if a C compiler is available.

The C sources in `csrc` are compiled on first use, in a few seconds, and cached with the graphs
(`deepsphere.ops.compiled.build`). `deepsphere.ops.portable` is used if compilation fails and for
everything the C code does not support: devices other than the CPU, double precision, and models
exported to other runtimes. `walk.c` implements filters and products, `tile.c` their inner loops,
`rows.c` bias, activation and normalization, `pool.c` pooling, `attention.c` attention to neighbors,
and `threads.c` the threads. `call.c` is the interface for the backends. TensorFlow and JAX have a C
file and a module of their name; PyTorch needs only a module.
"""
