"""Parts of a round alone: pulls, uploads, a round's close, unary calls beside uploads, growth with the projector."""
