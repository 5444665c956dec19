"""What has been paid for, in an SQLite file: runs, and replies to single requests, so that a kill loses neither."""
