"""From Inspect's logs to a page of figures and tables."""
