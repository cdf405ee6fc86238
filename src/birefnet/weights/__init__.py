"""Released and own weights: where they are, what their entries are called, and how they become a model.

`zoo` (which models there are), `download` (fetch one), `names` and `layouts` (foreign <-> ours) need no torch;
`infer` and `checkpoint` (weights -> model -> file) and `backbones` (a backbone alone, as its authors publish it) do.
"""
