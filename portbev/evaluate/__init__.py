"""Inference over a split, and its score by the benchmark that the data set names.

``benchmark`` says what a benchmark is and finds them, ``inference`` runs the model, ``checkpoints`` evaluates what a
run left. Nothing is imported here: a file of results is scored without torch.
"""
