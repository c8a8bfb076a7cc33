//! Receivers: webhook and file.
