"""Makes a page of figures and tables from Inspect's logs."""
