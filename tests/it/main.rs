//! Tests of behaviour through the public doors of the crate and of the binary.
