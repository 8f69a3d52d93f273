"""Operations made of a backend's own, which run wherever the backend does; a module for each."""
