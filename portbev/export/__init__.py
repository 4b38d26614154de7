"""Trained models as files that compute without the code they were trained by, and what answers a request with boxes.

``interface`` says what an export and a predictor are; everything else is one way to make or to use them. Nothing is
imported here.
"""
