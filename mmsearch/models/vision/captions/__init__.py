"""Captions of pictures by a vision-language model: a local model or a server.

`answers` extracts the caption from a model's answer. To add a captioner: an adapter beside this
file and a line in `mmsearch.models.wiring`.
"""
