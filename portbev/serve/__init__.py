"""Serving a model over HTTP.

``engine`` predicts, ``intake`` says how a request becomes a sample of a kind of data (data sets bring theirs, see
:class:`portbev.data.kinds.DataKind`), and ``fields`` and ``content`` hold what their requests have in common.
``body`` reads a request within limits, ``batching`` and ``sessions`` bound what waits and what is remembered, ``app``
puts them together, and ``running`` runs it until it is told to stop. ``check`` compares a running server with the model.
"""
