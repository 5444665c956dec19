"""Whether a judge can judge: trials on labelled answers, and better rubrics."""
