//! The cloud API: wire types, signing, client, errors and their disposition, credentials.

pub mod sign;
pub mod wire;
