"""Code generated from protos/isthmus/v1 by `make proto`; nothing here is written by hand."""
