"""Before a run: the model predicts how its own answers will turn out."""
