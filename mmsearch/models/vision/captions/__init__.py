"""Descriptions of pictures by a vision-language model: on this machine, or asked of a server.

`answers` says what of a model's answer is taken for a caption. To add a captioner: an adapter
beside this file and a line in `mmsearch.build`.
"""
