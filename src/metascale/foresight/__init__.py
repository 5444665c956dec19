"""Before a run: the model predicts its pass rate, the length of its answers and the notions that they need."""
