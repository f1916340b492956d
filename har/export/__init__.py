"""LiteRT, ONNX and StableHLO files of trained stages, and the benchmark of what was exported."""
