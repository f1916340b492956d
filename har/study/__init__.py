"""Several experiments on the same folds as one table and one picture."""
