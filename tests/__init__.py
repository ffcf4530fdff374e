"""A package, since an installed library may bring a `tests` of its own (Avalanche does): workers import this one."""
