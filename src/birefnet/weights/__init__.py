"""Released and own weights: where they are, what their entries are called, and how they become a model.

`zoo` (which models there are), `download` (fetch one) and `names` (foreign <-> ours) need no torch;
`infer` and `checkpoint` (weights -> model -> file) do.
"""
