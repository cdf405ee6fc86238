"""Judging alphas against truths: the metrics of the field, each a pure function of a `Pair`, and `measure` over them.

Letters of the whole room: H, W the picture's rows and columns; a prediction and a truth are uint8 (H, W).
"""
