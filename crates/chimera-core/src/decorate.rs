//! Decorators: wrap, do not edit.
