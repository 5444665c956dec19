"""What a run needs from the machine: a bridge from sync to async, deadlines, random seeds and databases."""
