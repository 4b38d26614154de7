"""Serving a predictor (:mod:`portbev.export.interface`) over HTTP.

``schema`` is the form of a request and of an answer; ``body``, ``content`` and ``inputs`` read a request within limits;
``batching`` and ``sessions`` bound what waits and what is remembered; ``app`` puts them together, and ``running`` runs
it until it is told to stop. ``check`` compares a running server with the model, by ``client``. Of the extra ``serve``
only ``app``, ``metrics``, ``running`` and ``body`` take anything.
"""
