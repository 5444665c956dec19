"""Meta-thoughts that ship with the package: the two fixed arms, and those that fill a pool the model left short."""
