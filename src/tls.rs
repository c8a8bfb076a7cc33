//! TLS: which cryptography the process uses.

/// Makes ring the cryptography of every TLS connection of this process.
///
/// To be called before an HTTP client is built: `reqwest` is compiled without a default. A provider
/// that is installed already stays, so it may be called any number of times.
pub fn install_provider() {
    // The only error is that one is installed already, and then that one serves.
    drop(rustls::crypto::ring::default_provider().install_default());
}
