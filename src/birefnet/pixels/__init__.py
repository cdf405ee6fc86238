"""Pixels in, alpha out: reading, preparing, finishing, composing and writing, with numpy and Pillow only.

The one definition shared by every runtime, server and browser page. Letters: H, W the picture's rows and
columns; h, w those of the network; arrays are sRGB in the order red, green, blue.
"""
