"""Meta-thoughts: where they come from, which may enter the pool, and their priors."""
