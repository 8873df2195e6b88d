"""Statistics that reports and labels share: pure numpy and scipy, nothing of this project but its errors.

intervals     estimates with intervals: Wilson's, and the bootstrap of clusters
agreement     agreement, kappa, alpha, precision and recall, all as functions of counts
folding       preferences that know nothing of the responses' places
calibration   log loss, Brier score, reliability; calibration_error: debiased, with its own interval
calibrators   symmetric ones, and their held-out preferences
regression    logistic regression with errors that allow for clusters
sampling      strata: how many of each to look at, and what that says of all
tests         McNemar's test and the correction for many tests
"""
