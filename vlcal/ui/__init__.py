"""A page in the browser at which a trained model is asked and its image spoiled."""
