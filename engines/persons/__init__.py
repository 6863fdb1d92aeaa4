"""A person's photo read: where the body and the face are, and whether it can be dressed. Nothing here keeps a photo."""
