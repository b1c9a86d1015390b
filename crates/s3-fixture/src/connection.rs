//! What a client needs to know of a server.

/// Where a bucket is and how to get in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connection {
    /// The server's address, `http://127.0.0.1:PORT`; buckets are the first segment of paths.
    pub endpoint: String,
    /// The bucket.
    pub bucket: String,
    /// The region to sign for.
    pub region: String,
    /// The key's name.
    pub access_key_id: String,
    /// The key; it guards nothing but a test's bucket.
    pub secret_access_key: String,
}
