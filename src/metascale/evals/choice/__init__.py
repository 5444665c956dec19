"""`metascale bench choice`: rules of the final choice on recorded answers and verdicts."""
