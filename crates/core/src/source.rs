//! The source handle: what a bridge pushes into.
