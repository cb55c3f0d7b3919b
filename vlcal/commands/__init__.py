"""The commands beside `fit`, `validate`, `test` and `predict`: one file and one function each."""
