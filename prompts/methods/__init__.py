"""The catalogue of reasoning methods: one Markdown file each, read by `metascale.pool.methods`."""
