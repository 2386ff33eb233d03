"""An opam repository of binary packages that plain opam installs from, and its pages."""
