"""The pages of a published repository, for people: static files that need no server and nobody else's."""
