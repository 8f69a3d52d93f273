"""Operations composed of a backend's own operations, with one module per backend."""
