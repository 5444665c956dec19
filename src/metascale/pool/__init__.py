"""Meta-thoughts: where they come from, what may enter the pool, and what is believed of them."""
