"""What a run needs of the machine: a bridge from sync to async, deadlines, random seeds, databases."""
