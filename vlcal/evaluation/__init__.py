"""How good the confidences in a file are: metrics, readers, post-hoc calibrators, report; no model."""
