//! The cloud API: wire types, signing, client, errors and their disposition, credentials.
//!
//! [`client`] asks, and uses the rest: [`credentials`] says as whom, [`endpoint`] where, [`sign`]
//! proves it, [`wire`] is the format, and [`error`] and [`refusal`] say what an answer without
//! rows means. [`sign`] and [`wire`] serve both sides: whoever answers for the API uses them too.

pub mod client;
pub mod credentials;
pub mod endpoint;
pub mod error;
pub mod refusal;
pub mod sign;
pub mod wire;
