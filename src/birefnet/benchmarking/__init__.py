"""One model in every runtime of this machine: how long, how much memory, and how far from the network as written."""
