//! The one choice of a cryptography library for TLS.

/// Makes *ring* the provider of TLS for this process.
///
/// The HTTP client comes without one, because its default brings a second C library and a longer
/// build. Whoever builds a client calls this first; calls after the first change nothing.
pub fn install_provider() {
    // It fails only where a provider is installed already, which is what was wanted.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
