"""Runtimes: a normalised picture batch goes in, logits come out; each imports its library when it is made."""
