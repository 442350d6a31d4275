"""How a model is run: token ids in, numbers out, on one device.

A module here may import its own library only (torch or onnxruntime), and only when it is used.
"""
