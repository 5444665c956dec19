"""Models in GGUF files on this machine: their names, their files, and the llama.cpp server that runs them."""
