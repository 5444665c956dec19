"""Trials of judges on labelled answers, and better rubrics."""
