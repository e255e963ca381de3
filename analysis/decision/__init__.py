"""The decision rule: constraints, score, comparisons and the verdict."""
