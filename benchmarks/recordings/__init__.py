"""Recordings of a real model on GSM8K: samples, P(True), verdicts and composed meta-thoughts; see README.md."""
