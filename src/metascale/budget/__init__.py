"""What a run may still spend, and when it ends."""
