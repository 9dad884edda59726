"""Numbers about a trained model, one file per question; figures are made of them elsewhere."""
