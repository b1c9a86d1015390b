//! HTTP clients of the program itself.

/// A builder of clients. TLS is that of ring, as everywhere in the program.
pub(crate) fn builder() -> reqwest::ClientBuilder {
    // Fails only where one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
}
